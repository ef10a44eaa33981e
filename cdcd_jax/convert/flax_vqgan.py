"""Flax VQGANs (dalle-mini/vqgan_imagenet_f16_16384) -> an image tokenizer.

taming's weights in Flax' msgpack, with arrays in our order of axes. The Flax code runs
all attention of a level after each of its blocks; taming, from whose training the
weights come, runs one after each block, and so do we. Codes may differ from the Flax
code's for that.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import serialization, traverse_util

from cdcd_jax.convert import taming
from cdcd_jax.convert.files import Converted, Tensors, as_float32
from cdcd_jax.convert.folders import find_model
from cdcd_jax.errors import InputError

OPTIONS = taming.OPTIONS
_WEIGHTS = ("kernel", "scale", "embedding")


def convert(path: str, options: Mapping[str, Any]) -> Converted:
    """`flax_model.msgpack`, or the folder of it.

    Args:
        path: of the file or the folder.
        options: as OPTIONS.

    Raises:
        InputError: the file cannot be read, or is not exactly such a model.
    """
    file, _ = find_model(path, ("flax_model.msgpack",))
    state = taming_names(read_msgpack(file))
    return taming.from_tensors(state, options["resolution"], str(file))


def read_msgpack(path: Any) -> dict[str, np.ndarray]:
    """Arrays of Flax' msgpack by dotted path, floats of any size as float32.

    Raises:
        InputError: no such file, or not of this format, or values that are not finite.
    """
    try:
        tree = serialization.msgpack_restore(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"Found no readable file {path} ({error.strerror}); expected Flax' "
            "msgpack. Correct --input."
        ) from error
    except Exception as error:  # of a damaged file it may raise any kind
        raise InputError(
            f"Found {path}, which cannot be read as Flax' msgpack "
            f"({type(error).__name__}: {error}); expected a whole file of arrays. "
            "Download it anew."
        ) from error
    if isinstance(tree, Mapping) and set(tree) == {"params"}:
        tree = tree["params"]
    flat = traverse_util.flatten_dict(tree, sep=".") if isinstance(tree, dict) else {}
    odd = [name for name, value in flat.items() if not isinstance(value, np.ndarray)]
    if not flat or odd:
        raise InputError(
            f"Found {odd[0] if odd else 'no names'} without an array in {path}; "
            "expected weights by name. Check that this is the right file."
        )
    flat = {name: as_float32(value) for name, value in flat.items()}
    for name, value in flat.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise InputError(
                f"Found values that are not finite in {name!r} of {path}; expected "
                "finite weights. Download the file anew, the data may be damaged."
            )
    return flat


def taming_names(state: Mapping[str, np.ndarray]) -> Tensors:
    """Arrays by taming's name in its order of axes, without a copy."""
    found: Tensors = {}
    for name, value in state.items():
        *path, last = name.split(".")
        if path[1:2] != ["mid"]:
            path = [re.sub(r"^(down|up|block|attn)_(\d+)$", r"\1.\2", n) for n in path]
        if last == "kernel" and value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)
        elif path[-1:] and "norm" in path[-1]:
            value = value.reshape(-1)  # [1, 1, 1, C] in old files
        found[".".join([*path, "weight" if last in _WEIGHTS else last])] = value
    return found
