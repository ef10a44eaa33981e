"""The transformers of VQ-Diffusion and CDCD -> parameters of `networks.Denoiser`.

Works on plain numpy arrays by their PyTorch names; reading files is not done here.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.errors import InputError

_ATTENTION = {
    "self": {"attn": "attn1"},
    "selfcondition": {"attn": "attn1"},
    "selfcross": {"attn1": "attn1", "attn2": "attn2"},
}


def _linear(state: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {"kernel": state[f"{name}.weight"].T, "bias": state[f"{name}.bias"]}


def _attention(state: Mapping[str, np.ndarray], name: str, heads: int) -> dict:
    out = {}
    for part in ("query", "key", "value"):
        weight, bias = state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"]
        out[part] = {
            "kernel": weight.T.reshape(weight.shape[1], heads, -1),
            "bias": bias.reshape(heads, -1),
        }
    out["proj"] = _linear(state, f"{name}.proj")
    return out


def _mlp(state: Mapping[str, np.ndarray], name: str) -> dict:
    if f"{name}.0.weight" in state:
        return {
            "hidden": _linear(state, f"{name}.0"),
            "out": _linear(state, f"{name}.2"),
        }
    convolution = lambda part: {
        "kernel": state[f"{name}.{part}.weight"].transpose(2, 3, 1, 0),
        "bias": state[f"{name}.{part}.bias"],
    }
    return {"hidden": convolution("conv1"), "out": convolution("conv2")}


def _norm(state: Mapping[str, np.ndarray], name: str) -> dict:
    if f"{name}.emb.weight" in state:
        return {
            "emb": {"embedding": state[f"{name}.emb.weight"]},
            "linear": _linear(state, f"{name}.linear"),
        }
    return {"scale": state[f"{name}.weight"], "bias": state[f"{name}.bias"]}


def denoiser_params(
    state: Mapping[str, np.ndarray], form: str, depth: int, heads: int
) -> dict[str, Any]:
    """Parameters of a `Denoiser` (form as given, layers not scanned).

    Args:
        state: the transformer's arrays by PyTorch name, from 'content_emb' on.
        form: 'self', 'selfcondition' or 'selfcross'.
        depth: number of blocks.
        heads: number of attention heads, which no array tells.

    A class table without a null (1,000 classes rather than 1,001) gets one that is the
    mean of all classes, which is what the reference falls back to.

    Raises:
        InputError: an array is missing.
    """
    try:
        params: dict[str, Any] = {
            "tokens": {"embedding": state["content_emb.emb.weight"]},
            "rows": state["content_emb.height_emb.weight"],
            "columns": state["content_emb.width_emb.weight"],
            "norm": _norm(state, "to_logits.0"),
            "logits": _linear(state, "to_logits.1"),
        }
        for i in range(depth):
            block = f"blocks.{i}"
            names = _ATTENTION[form].items()
            params[f"blocks_{i}"] = {
                **{
                    new: _attention(state, f"{block}.{old}", heads)
                    for old, new in names
                },
                "ln1": _norm(state, f"{block}.ln1"),
                "ln2": _norm(state, f"{block}.ln2"),
                "mlp": _mlp(state, f"{block}.mlp"),
            }
            if form == "selfcross":
                params[f"blocks_{i}"]["ln1_1"] = _norm(state, f"{block}.ln1_1")
    except KeyError as missing:
        raise InputError(
            f"the checkpoint has no array {missing}: a {form!r} transformer of {depth} "
            "layers was expected; check the form and the depth"
        ) from None
    if form == "selfcondition":
        for i in range(depth):
            table = params[f"blocks_{i}"]["ln2"]["emb"]
            null = table["embedding"].mean(0, keepdims=True)
            table["embedding"] = np.concatenate([table["embedding"], null])
    return params
