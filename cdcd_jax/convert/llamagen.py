"""LlamaGen's VQ (vq_ds16_c2i.pt and its kin) -> an image tokenizer.

A VQGAN as of `taming.py` under other names (FoundationVision/LlamaGen,
tokenizer/tokenizer_image/vq_model.py), whose codes and vectors have length 1. That they
have leaves no trace in a file and is taken as published.
"""

import re
from collections.abc import Mapping
from typing import Any

from cdcd_jax.convert import taming
from cdcd_jax.convert.files import Converted, Tensors, read_tensors

OPTIONS = taming.OPTIONS
_MIDDLE = ("block_1", "attn_1", "block_2")


def convert(path: str, options: Mapping[str, Any]) -> Converted:
    """Tensors in 'ema', else 'model', else 'state_dict', or bare.

    Args:
        path: of the file.
        options: as OPTIONS.

    Raises:
        InputError: the file cannot be read, or is not exactly such a model.
    """
    state = read_tensors(path, ("ema", "model", "state_dict"))
    state = taming_names(state)
    return taming.from_tensors(state, options["resolution"], path, normalize=True)


def taming_names(state: Mapping[str, Any]) -> Tensors:
    """Tensors by taming's names, without the buffer of the codes' use."""
    ups = re.findall(r"^decoder\.conv_blocks\.(\d+)\.", "\n".join(state), re.MULTILINE)
    last = max(map(int, ups), default=0)
    found: Tensors = {}
    for name, value in state.items():
        if name == "quantize.codebook_used":
            continue
        new = re.sub(r"^encoder\.conv_blocks\.", "encoder.down.", name)
        # taming counts the decoder's levels like the encoder's, the finest first
        flip = lambda match: f"decoder.up.{last - int(match[1])}."
        new = re.sub(r"^decoder\.conv_blocks\.(\d+)\.", flip, new)
        new = re.sub(r"(\.(?:down|up)\.\d+)\.res\.", r"\1.block.", new)
        middle = lambda match: f".mid.{_MIDDLE[int(match[1])]}."
        found[re.sub(r"\.mid\.([0-2])\.", middle, new)] = value
    return found
