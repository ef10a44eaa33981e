"""diffusers' VQModel -> an image tokenizer.

A VQGAN as of `taming.py` under other names: the autoencoders of CompVis' latent
diffusion, of amused and meissonic, and `vqvae` in a folder of VQ-Diffusion.
"""

import re
from collections.abc import Mapping
from typing import Any

from cdcd_jax.convert import taming
from cdcd_jax.convert.files import Converted, Tensors, read_tensors
from cdcd_jax.convert.folders import find_model
from cdcd_jax.errors import InputError

OPTIONS = taming.OPTIONS

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


_FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


def convert(path: str, options: Mapping[str, Any]) -> Converted:
    """A VQModel, its folder, or a pipeline's folder with `vqvae` in it.

    Args:
        path: of the folder or the file; a config.json beside the file is read too.
        options: as OPTIONS; `sample_size` of the config.json says nothing reliable.

    Raises:
        InputError: the file cannot be read, or is not exactly such a model.
    """
    file, config = find_model(path, _FILES, ("vqvae", "movq", "vae"))
    state = vqmodel_names(read_tensors(file))
    groups = _groups(config, file)
    return taming.from_tensors(state, options["resolution"], str(file), groups)


def _groups(config: Mapping[str, Any], path: Any) -> int:
    """Groups of each norm, after what no tensor tells was checked."""
    kind = config.get("_class_name", "VQModel")
    if kind.startswith("AutoencoderKL"):
        raise InputError(
            f"Found {path}, an AutoencoderKL; expected a VQModel. AutoencoderKL is "
            "continuous; not converted yet. Take a model that has codes."
        )
    expected = dict(
        _class_name=("VQModel",), act_fn=("silu", "swish"), norm_type=("group",)
    )
    for name, values in expected.items():
        if config.get(name, values[0]) not in values:
            raise InputError(
                f"Found {name} = {config[name]!r} in the config.json of {path}; "
                f"expected {' or '.join(values)}. Take another model: MoVQ "
                "('spatial'), for one, is not converted."
            )
    groups = config.get("norm_num_groups", 32)
    if not isinstance(groups, int) or groups < 1:
        raise InputError(
            f"Found norm_num_groups = {groups!r} in the config.json of {path}; "
            "expected a whole number from 1. Get the file anew."
        )
    return groups


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
        for pattern, text in _PARTS.items():
            new = re.sub(pattern, text, new)
        # taming counts the decoder's levels like the encoder's, the finest first
        flip = lambda match: f"decoder.up.{last - int(match[1])}."
        found[re.sub(r"^decoder\.up\.(\d+)\.", flip, new)] = value
    return found
