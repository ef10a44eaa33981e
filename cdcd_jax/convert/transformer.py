"""The transformers of VQ-Diffusion and CDCD -> parameters of `networks.Denoiser`.

Works on arrays by their PyTorch names; reading files is not done here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdcd_jax.convert.files import shape_of
from cdcd_jax.convert.taming import count
from cdcd_jax.errors import InputError, UsageError

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
    state: Mapping[str, np.ndarray], form: str, depth: int, heads: int, classes: int = 0
) -> dict[str, Any]:
    """Parameters of a `Denoiser` (form as given, layers not scanned).

    Args:
        state: the transformer's arrays by PyTorch name, from 'content_emb' on.
        form: 'self', 'selfcondition' or 'selfcross'.
        depth: number of blocks.
        heads: number of attention heads, which no array tells.
        classes: how many there are, if their tables may hold a null after them.

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
            if classes and len(table["embedding"]) == classes + 1:
                continue
            null = table["embedding"].mean(0, keepdims=True)
            table["embedding"] = np.concatenate([table["embedding"], null])
    return params


@dataclass(frozen=True)
class Sizes:
    """What the shapes of a transformer tell."""

    form: str
    num_codes: int
    width: int
    depth: int
    timesteps: int
    mlp: str
    mlp_ratio: int
    table: tuple[int, int]  # rows and columns of the positions
    features: int  # of the sequence that is attended to; 0 for none
    class_rows: int  # of the tables of classes; 0 for none

    @property
    def model(self) -> dict[str, Any]:
        """Of the task's config: what depends on nothing else."""
        names = ("form", "num_codes", "width", "depth", "mlp", "mlp_ratio")
        return dict({name: getattr(self, name) for name in names}, activation="gelu2")


def check_options(sizes: Sizes, options: Mapping[str, Any]) -> None:
    """Raises UsageError for options that contradict the sizes."""
    heads, classes = options["heads"], options["classes"]
    if heads < 1 or sizes.width % heads:
        raise UsageError(
            f"Found --heads={heads} for {sizes.width} features; expected a divisor of "
            "them. Set the number of heads that it was trained with."
        )
    if sizes.class_rows and sizes.class_rows not in (classes, classes + 1):
        raise UsageError(
            f"Found --classes={classes} for tables of {sizes.class_rows} classes; "
            "expected as many, or one less where the last is the null. Correct it."
        )


def find_sizes(state: Mapping[str, np.ndarray], path: str) -> Sizes:
    """Reads sizes off the tensors from 'content_emb' on.

    Args:
        state: arrays by name.
        path: of the error's text.

    Raises:
        InputError: a tensor that tells a size is missing or has no such shape.
    """

    def shape(name: str, rank: int = 2) -> tuple[int, ...]:
        expected = (
            "the transformer of VQ-Diffusion or CDCD, with learned positions and "
            "times. Check --family, or get the complete file."
        )
        return shape_of(state, name, rank, path, expected)

    cross = "blocks.0.attn2.key.weight" in state
    classes = "blocks.0.ln2.emb.weight" in state
    num_codes, width = shape("to_logits.1.weight")
    conv = "blocks.0.mlp.conv1.weight" in state
    hidden = (
        shape("blocks.0.mlp.conv1.weight", 4)
        if conv
        else shape("blocks.0.mlp.0.weight")
    )
    return Sizes(
        form="selfcross" if cross else "selfcondition" if classes else "self",
        num_codes=num_codes,
        width=width,
        depth=count(state, "blocks.{}.ln1.emb.weight"),
        timesteps=shape("blocks.0.ln1.emb.weight")[0],
        mlp="conv" if conv else "fc",
        mlp_ratio=hidden[0] // width,
        table=tuple(
            shape(f"content_emb.{n}_emb.weight")[0] for n in ("height", "width")
        ),
        features=shape("blocks.0.attn2.key.weight")[1] if cross else 0,
        class_rows=shape("blocks.0.ln2.emb.weight")[0] if classes else 0,
    )


def shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Shapes by name of all tensors, masks aside."""
    return dict(_shapes(sizes))


def _shapes(sizes: Sizes) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, rows = sizes.width, sizes.table
    yield "content_emb.emb.weight", (sizes.num_codes + 1, width)
    yield "content_emb.height_emb.weight", (rows[0], width)
    yield "content_emb.width_emb.weight", (rows[1], width)
    yield from _linear_shapes("to_logits.1", sizes.num_codes, width)
    yield from _norm_shapes("to_logits.0", width)
    hidden = sizes.mlp_ratio * width
    for i in range(sizes.depth):
        block = f"blocks.{i}"
        for old, new in _ATTENTION[sizes.form].items():
            for part in ("key", "query", "value", "proj"):
                other = new == "attn2" and part in ("key", "value")
                into = sizes.features if other else width
                yield from _linear_shapes(f"{block}.{old}.{part}", width, into)
        yield from _norm_shapes(f"{block}.ln1", width, sizes.timesteps)
        if sizes.form == "selfcross":
            yield from _norm_shapes(f"{block}.ln1_1", width, sizes.timesteps)
        yield from _norm_shapes(f"{block}.ln2", width, sizes.class_rows)
        taps = (3, 3) if sizes.mlp == "conv" else ()
        names = ("conv1", "conv2") if taps else ("0", "2")
        for name, out, into in zip(
            names, (hidden, width), (width, hidden), strict=True
        ):
            yield f"{block}.mlp.{name}.weight", (out, into, *taps)
            yield f"{block}.mlp.{name}.bias", (out,)


def _linear_shapes(name: str, out: int, into: int) -> Iterator[tuple]:
    yield f"{name}.weight", (out, into)
    yield f"{name}.bias", (out,)


def _norm_shapes(name: str, width: int, rows: int = 0) -> Iterator[tuple]:
    """Of a plain norm, or of one whose scale and shift come from a table of `rows`."""
    if rows:
        yield f"{name}.emb.weight", (rows, width)
        yield from _linear_shapes(f"{name}.linear", 2 * width, width)
    else:
        yield f"{name}.weight", (width,)
        yield f"{name}.bias", (width,)
