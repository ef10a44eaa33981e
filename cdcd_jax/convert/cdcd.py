"""Whole models of CDCD: dance to music (AIST++, TikTok); images as `vqdiffusion.py`.

The reference multiplies the features of dance, video and genre, end to end, by one
matrix (`lin1`; `lin2` without a genre) and attends to the one token that this gives.
Here each has a part of that matrix, and the three tokens are added (`model.join`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cdcd_jax.convert import jukebox, vqdiffusion
from cdcd_jax.convert.files import Converted, Tensors, check_tensors
from cdcd_jax.convert.transformer import check_options, find_sizes
from cdcd_jax.convert.vqdiffusion import under
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.networks.reference_motion import DILATIONS, PROJECTED, TAPS

OPTIONS = dict(
    **vqdiffusion.OPTIONS,
    level=2,  # of the music's codec whose codes it makes, 0 the finest
    sample_rate=22050,  # Hz
)
# In the order of the reference's one-hot vectors.
GENRES = ("BR", "PO", "LO", "MH", "LH", "HO", "WA", "KR", "JS", "JB")
_MOTION = "condition_codec_motion."
_CONV = (0, 7, 13, 19)  # places of the plain convolutions among the layers
_BLOCK = (2, 8, 14)  # of the first block of each stage
_GENRE = "transformer.condition_emb.genre_embed.weight"


def convert(path: str, options: Mapping[str, Any]) -> Converted:
    """A checkpoint of CDCD: 'model', maybe 'ema', and what training left.

    Args:
        path: of the file, as for `vqdiffusion.convert`.
        options: as OPTIONS.

    Raises:
        InputError: the file cannot be read, or is not exactly such a model.
        UsageError: options that do not fit the sizes.
    """
    state = vqdiffusion.read_model(path)
    if any(name.startswith("content_codec.") for name in state):
        return vqdiffusion.from_tensors(state, options, path)
    return from_tensors(state, options, path)


def from_tensors(state: Tensors, options: Mapping[str, Any], path: str) -> Converted:
    """A model of music and Jukebox's VQ-VAE.

    Args:
        state: as `vqdiffusion.read_model` gives it.
        options: as OPTIONS.
        path: of the errors' texts.
    """
    sizes = find_sizes(under(state, "transformer.transformer."), path)
    check_options(sizes, options)
    tokenizer, hop = _tokenizer(state, sizes.table[1], options, path)
    params, conditions = dance_parts(state, path)
    seconds = sizes.table[1] * hop / options["sample_rate"]
    conditions["motion"]["frame_rate"] = round(
        conditions["motion"]["shape"][0] / seconds
    )
    parts = ("vqvae.", _MOTION, _GENRE, "transformer.lin1.", "transformer.lin2.")
    params["network"] = vqdiffusion.network_params(
        state, sizes, options, parts, f"{path} as a model of music"
    )
    model = dict(grid=sizes.table, heads=options["heads"], join="add")
    settings = vqdiffusion.make_config(
        sizes, {**model, "conditions": conditions}, "rising", null=False
    )
    settings["tokenizer"] = dict(level=options["level"])
    settings["contrastive"]["chunks"] = (1, 8)  # as the reference's
    return Converted(settings, params, vqdiffusion.initial_extra(sizes), tokenizer)


def _tokenizer(
    state: Tensors, length: int, options: Mapping[str, Any], path: str
) -> tuple[Converted, int]:
    """The codec, for music of `length` codes, and samples of a code."""
    codec = under(state, "vqvae.")
    sizes = jukebox.find_sizes({name: value.shape for name, value in codec.items()})
    level = options["level"]
    if not 0 <= level < len(sizes.downs):
        raise UsageError(
            f"Found --level={level}; expected 0 to {len(sizes.downs) - 1}, the levels "
            f"of the codec in {path}. Correct it."
        )
    pairs = zip(sizes.strides, sizes.downs, strict=True)
    hops = np.cumprod([stride**downs for stride, downs in pairs])
    hop = int(hops[level])
    if length * hop % hops[-1]:
        raise UsageError(
            f"Found --level={level}, so that {length} codes are {length * hop} samples;"
            f" expected a multiple of {hops[-1]}. Set the level that it was trained on."
        )
    settings = dict(length=length * hop, sample_rate=options["sample_rate"])
    return jukebox.from_tensors(codec, settings, f"{path}, its codec,"), hop


def dance_parts(state: Tensors, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and descriptions of the conditions motion, video and genre.

    The reference has no null. Here it is the token that features of zeros and the mean
    genre give; guidance needs training with it.

    Raises:
        InputError: tensors are missing, unexpected or of another shape.
    """
    encoder = motion_params(under(state, _MOTION), path)
    with_genre = "transformer.lin2.weight" not in state
    name = f"transformer.lin{1 if with_genre else 2}"
    weight, bias = _matrix(state, name, path)
    split = encoder["lin2"]["bias"].size
    genres = state.get(_GENRE, np.zeros((0, 0), np.float32))
    last = weight.shape[1] - (genres.shape[1] if with_genre else 0)
    if genres.ndim != 2 or last <= split or (with_genre != bool(genres.size)):
        raise InputError(
            f"Found {path} with {name} of {list(weight.shape)}, a dance of {split} "
            f"features and genres of {list(genres.shape)}; expected dance, video and "
            "(of lin1) genre end to end. Get the complete file."
        )
    size = len(bias)
    merge = {"kernel": weight[:, :split].T, "bias": bias}
    params = {
        "motion": {
            "tower": {"encoder": encoder, "lin1": merge},
            "null": bias[None],
        },
        "video": {
            "proj": {"kernel": weight[:, split:last].T},
            "null": np.zeros((1, size), np.float32),
        },
    }
    frames = encoder["conv_0"]["kernel"].shape[1]
    channels = encoder["lin1"]["kernel"].shape[0]
    widths = tuple(encoder[f"conv_{i}"]["bias"].size for i in range(3))
    shape = dict(shape=(frames, channels), widths=widths, size=size)
    video = dict(shape=(1, last - split), size=size, positions=False, bias=False)
    conditions = dict(
        motion=dict(kind="reference_motion", **shape),
        video=dict(kind="features", **video),
    )
    if with_genre:
        table = genres @ weight[:, last:].T
        table = np.concatenate([table, table.mean(0, keepdims=True)])
        params["genre"] = {"table": {"embedding": table}}
        conditions["genre"] = dict(kind="label", num_classes=len(genres), sequence=size)
        if len(genres) == len(GENRES):
            conditions["genre"]["names"] = GENRES
    return params, conditions


def _matrix(state: Tensors, name: str, path: str) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a product."""
    found = {part: state.get(f"{name}.{part}") for part in ("weight", "bias")}
    found = {part: value for part, value in found.items() if value is not None}
    weight = found.get("weight", np.zeros((0, 0)))
    rows = weight.shape[0]
    shape = weight.shape if weight.ndim == 2 else (rows, rows)
    expected = {"weight": shape, "bias": (rows,)}
    check_tensors(found, expected, f"{path}, its {name}")
    return found["weight"], found["bias"]


def motion_params(state: Tensors, path: str) -> dict[str, Any]:
    """Parameters of a `ReferenceEncoder`; norms of weights are folded in.

    Args:
        state: the encoder's arrays by PyTorch name.
        path: of the error's text.

    Raises:
        InputError: arrays are missing, unexpected or of another shape.
    """
    check_tensors(state, _motion_shapes(state), f"{path} with CDCD's dance encoder")
    params: dict[str, Any] = {}
    for name in ("lin1", "lin2"):
        params[name] = _kernel(state, name)
    for i, place in enumerate(_CONV):
        params[f"conv_{i}"] = _kernel(state, f"model.{place}")
    for i, place in enumerate(_BLOCK):
        for j in range(len(DILATIONS)):
            parts = dict(hidden="block.2", out="block.4", shortcut="shortcut")
            params[f"block_{i}_{j}"] = {
                ours: _kernel(state, f"model.{place + j}.{theirs}")
                for ours, theirs in parts.items()
            }
    return params


def _kernel(state: Tensors, name: str) -> dict[str, np.ndarray]:
    """[out, in(, taps)] -> [(taps,) in, out]."""
    weight = state.get(f"{name}.weight")
    if weight is None:
        direction = state[f"{name}.weight_v"]
        norm = np.linalg.norm(direction.astype(np.float64), axis=(1, 2), keepdims=True)
        weight = (state[f"{name}.weight_g"] * (direction / norm)).astype(np.float32)
    return {"kernel": weight.T, "bias": state[f"{name}.bias"]}


def _motion_shapes(state: Tensors) -> dict[str, tuple[int, ...]]:
    """Of all tensors, from a few of them; 0 where one that tells a size is missing."""

    def size(name: str, axis: int) -> int:
        found = state.get(name, np.zeros(())).shape
        return found[axis] if axis < len(found) else 0

    channels, frames = size("lin1.weight", 1), size("model.0.weight", 1)
    widths = [size(f"model.{place}.weight", 0) for place in _CONV[:3]]
    return dict(motion_layout(channels, frames, widths))


def motion_layout(
    channels: int, frames: int, widths: Sequence[int]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the dance encoder's tensors; widths: of its three stages."""
    rest = PROJECTED - sum(TAPS) + len(TAPS)
    into = [frames, *widths]
    layers = [("lin1", (PROJECTED, channels)), ("lin2", (widths[-1], rest))]
    for place, out, width, taps in zip(_CONV, [*widths, 1], into, TAPS, strict=True):
        layers.append((f"model.{place}", (out, width, taps)))
    for name, shape in layers:
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]
    for place, width in zip(_BLOCK, widths, strict=True):
        for j in range(len(DILATIONS)):
            for part, taps in (("block.2", 3), ("block.4", 1), ("shortcut", 1)):
                name = f"model.{place + j}.{part}"
                yield f"{name}.weight_v", (width, width, taps)
                yield f"{name}.weight_g", (width, 1, 1)
                yield f"{name}.bias", (width,)
