"""diffusers' VQModel -> an image tokenizer.

A VQGAN as of `taming.py` under other names: the autoencoders of CompVis' latent
diffusion, of amused and meissonic, and `vqvae` in a folder of VQ-Diffusion.
"""

import re
from collections.abc import Mapping

from cdcd_jax.convert.files import Tensors

# Of attention, the spelling since 2023 and the one before it -> taming's.
_ATTENTION = {
    "group_norm": "norm",
    **{"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"},
    **{"query": "q", "key": "k", "value": "v", "proj_attn": "proj_out"},
}
_PARTS = {
    r"\.down_blocks\.": ".down.",
    r"\.up_blocks\.": ".up.",
    r"\.mid_block\.resnets\.0\.": ".mid.block_1.",
    r"\.mid_block\.resnets\.1\.": ".mid.block_2.",
    r"\.mid_block\.attentions\.0\.": ".mid.attn_1.",
    r"\.resnets\.": ".block.",
    r"\.attentions\.": ".attn.",
    r"\.(down|up)samplers\.0\.": r".\1sample.",
    r"\.conv_shortcut\.": ".nin_shortcut.",
    r"\.conv_norm_out\.": ".norm_out.",
}


def vqmodel_names(state: Mapping) -> Tensors:
    """Tensors of a VQModel under taming's names, products of attention as 1 x 1.

    Args:
        state: arrays by diffusers' name; a name that it does not have stays.
    """
    ups = re.findall(r"^decoder\.up_blocks\.(\d+)\.", "\n".join(state), re.MULTILINE)
    last = max(map(int, ups), default=0)
    found: Tensors = {}
    for name, value in state.items():
        new = name
        part = re.search(r"\.attentions\.\d+\.(.+)\.(?:weight|bias)$", name)
        if part and part[1] in _ATTENTION:
            new = name[: part.start(1)] + _ATTENTION[part[1]] + name[part.end(1) :]
            if value.ndim == 2:
                value = value.reshape(*value.shape, 1, 1)
        for pattern, taming in _PARTS.items():
            new = re.sub(pattern, taming, new)
        # taming counts the decoder's levels like the encoder's, the finest first
        flip = lambda match: f"decoder.up.{last - int(match[1])}."
        found[re.sub(r"^decoder\.up\.(\d+)\.", flip, new)] = value
    return found
