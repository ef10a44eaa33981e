"""Inception v3 of the FID -> `networks.Inception`, from the file of pytorch-fid.

pt_inception-2015-12-05-6726825d.pth, a plain state dict, which torch-fidelity uses too.
A batch norm becomes part of the convolution before it; the bias of the classes is left
out, since nothing here asks for it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.convert.files import Converted, Tensors, check_tensors, read_tensors
from cdcd_jax.errors import InputError
from cdcd_jax.networks.inception import CLASSES, FEATURES, parameter_shapes

OPTIONS: dict[str, Any] = {}
EPSILON = 1e-3  # of the batch norms
_NORM = ("weight", "bias", "running_mean", "running_var")


def convert(path: str, options: Mapping[str, Any]) -> Converted:
    """Parameters of an `Inception`; the config is {"task": "inception"}.

    Args:
        path: of the file.
        options: none.

    Raises:
        InputError: the file cannot be read, or does not hold just these weights, or
            has negative variances.
    """
    del options
    state = read_tensors(path, ("state_dict",), drop=r"\.num_batches_tracked$")
    tree = parameter_shapes()
    check_tensors(state, shapes(tree), f"{path} as Inception v3 of the FID")
    negative = [n for n, v in state.items() if n.endswith("_var") and np.min(v) < 0]
    if negative:
        raise InputError(
            f"Found negative variances under {negative[0]!r} in {path}; expected none "
            "in a batch norm. Copy or download the file anew, it may be damaged."
        )
    return Converted(dict(task="inception"), _params(state, tree))


def shapes(tree: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Of all tensors of the file, by name: ours, with the norms beside them."""
    out: dict[str, tuple[int, ...]] = {}
    for name, part in tree.items():
        name = f"{prefix}{name}"
        if name == "fc":
            out |= {"fc.weight": (CLASSES, FEATURES), "fc.bias": (CLASSES,)}
        elif "kernel" in part:
            height, width, before, after = part["kernel"].shape
            out[f"{name}.conv.weight"] = (after, before, height, width)
            out |= {f"{name}.bn.{each}": (after,) for each in _NORM}
        else:
            out |= shapes(part, f"{name}.")
    return out


def _params(
    state: Tensors, tree: Mapping[str, Any], prefix: str = ""
) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, part in tree.items():
        full = f"{prefix}{name}"
        if full == "fc":
            params[name] = {"kernel": state["fc.weight"].T}
        elif "kernel" in part:
            params[name] = _joined(state, full)
        else:
            params[name] = _params(state, part, f"{full}.")
    return params


def _joined(state: Tensors, name: str) -> dict[str, np.ndarray]:
    """A convolution and its norm: w (x * k - mean) / sqrt(var + epsilon) + b."""
    weight, bias, mean, variance = (
        state[f"{name}.bn.{each}"].astype(np.float64) for each in _NORM
    )
    scale = weight / np.sqrt(variance + EPSILON)
    kernel = state[f"{name}.conv.weight"].transpose(2, 3, 1, 0) * scale
    return {
        "kernel": kernel.astype(np.float32),
        "bias": (bias - mean * scale).astype(np.float32),
    }
