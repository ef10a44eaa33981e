"""Jukebox's VQ-VAE (openai/jukebox, 5b/vqvae.pth.tar) -> our tokenizer of waveforms.

Every size is read off the arrays' shapes, and the names and shapes of all arrays are
checked against what those sizes demand. The growth of the dilations (3) and their order
in decoders (largest first) leave no trace in a file and are taken as published.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdcd_jax.convert.files import Converted, Tensors, check_tensors, read_tensors
from cdcd_jax.convert.folders import find_model
from cdcd_jax.errors import InputError
from cdcd_jax.networks.quantizer import init_ema

OPTIONS = dict(
    length=44032,  # samples of a waveform: 2 s at 22,050 Hz, in whole codes
    sample_rate=22050,  # Hz; CDCD's, while Jukebox was trained at 44,100
)
DILATION_GROWTH = 3
# What transformers' config.json may say otherwise, and no array tells.
_PUBLISHED = dict(
    act_fn="relu",
    res_dilation_growth_rate=DILATION_GROWTH,
    res_dilation_cycle=None,
    conv_res_scale=False,
    res_convolution_multiplier=1,
)
# Its lists of convolutions and stacks -> the number of their first pair.
_FIRST = dict(downsample_block=0, upsample_block=1)


@dataclass(frozen=True)
class Sizes:
    """What the shapes of a checkpoint tell; of each level where there are several."""

    downs: tuple[int, ...]
    strides: tuple[int, ...]
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    code_dim: int
    num_codes: int

    @property
    def model(self) -> dict[str, Any]:
        """Of the task config: the model's sizes."""
        width, depth = min(self.widths), min(self.depths)
        return dict(
            downs=self.downs,
            strides=self.strides,
            width=width,
            depth=depth,
            multipliers=tuple(w // width for w in self.widths),
            dilation_growth=DILATION_GROWTH,
        )


def convert(path: str, options: Mapping[str, Any]) -> Converted:
    """vqvae.pth.tar, CDCD's vqvae.pt, or transformers' JukeboxVQVAE.

    Args:
        path: of the file, or of transformers' folder; names may begin with 'module.',
            and with 'vqvae.' beside the priors of a whole JukeboxModel.
        options: as OPTIONS.

    Raises:
        InputError: the file cannot be read, or is not exactly such a model.
    """
    file, config = find_model(path, ("model.safetensors", "pytorch_model.bin"))
    _check_config(config, file)
    state = read_tensors(file, ("model", "state_dict"), drop=r"^priors\.")
    short = lambda name: name.removeprefix("module.").removeprefix("vqvae.")
    state = {short(name): value for name, value in state.items()}
    return from_tensors(original_names(state), options, str(file))


def _check_config(config: Mapping[str, Any], path: Any) -> None:
    """Refuses what no array tells and transformers' config.json may say."""
    config = config.get("vqvae_config") or config
    for name, value in _PUBLISHED.items():
        if (config.get(name) or value) != value:
            raise InputError(
                f"Found {name} = {config[name]!r} in the config.json of {path}; "
                f"expected {value!r}, as published. This model is not converted."
            )


def original_names(state: Mapping[str, Any]) -> Tensors:
    """Tensors of transformers' JukeboxVQVAE under Jukebox's own names.

    Convolutions and stacks stand one after the other there, and in pairs here.

    Args:
        state: arrays by name; a name that transformers does not have stays.
    """
    return {_original_name(name, state): value for name, value in state.items()}


def _original_name(name: str, state: Mapping[str, Any]) -> str:
    name = re.sub(r"\.resnet_block\.(\d+)\.conv1d_1\.", r".model.\1.model.1.", name)
    name = re.sub(r"\.resnet_block\.(\d+)\.conv1d_2\.", r".model.\1.model.3.", name)
    name = re.sub(r"^(bottleneck\.level_blocks\.\d+)\.codebook$", r"\1.k", name)
    name = name.replace(".proj_in.", ".model.0.")
    place = re.match(r"(.+\.level_blocks\.\d+)\.(\w+?)(?:\.(\d+))?\.(.+)", name)
    if not place:
        return name
    block, part, number, rest = place.groups()
    if part == "proj_out":
        downs = 0
        while f"{block}.downsample_block.{2 * downs}.weight" in state:
            downs += 1
        return f"{block}.model.{downs}.{rest}"
    if part in _FIRST and number:
        pair, second = divmod(int(number), 2)
        return f"{block}.model.{pair + _FIRST[part]}.{second}.{rest}"
    return name


def from_tensors(state: Tensors, options: Mapping[str, Any], path: str) -> Converted:
    """The same of tensors by name without 'module.'; path: of the errors' texts."""
    sizes = find_sizes({name: value.shape for name, value in state.items()})
    check_tensors(state, shapes(sizes), f"{path} as Jukebox's VQ-VAE")
    books = [init_ema(state[name]) for name in codebook_names(sizes)]
    model = dict(kind="vqvae1d", **sizes.model)
    model |= {name: options[name] for name in ("length", "sample_rate")}
    codes = dict(num_codes=sizes.num_codes, dim=sizes.code_dim)
    return Converted(
        dict(
            task="tokenizer",
            model=model,
            quantizer=dict(kind="nearest", update="ema", **codes),
        ),
        {"autoencoder": autoencoder_params(state, sizes)},
        {"codebooks": {str(level): book for level, book in enumerate(books)}},
    )


def find_sizes(found: Mapping[str, tuple[int, ...]]) -> Sizes:
    """Reads sizes off shapes by name.

    Raises:
        InputError: a name that tells a size is missing, or widths and depths of the
            levels are not the same multiples of the least ones.
    """
    levels = _count(found, r"encoders\.(\d+)\.")
    if not levels:
        some = ", ".join(sorted(found)[:3]) or "no array"
        raise InputError(
            f"Found {some} ...; expected the arrays of Jukebox's VQ-VAE "
            "('encoders.0.level_blocks.0.model.0.0.weight' and so on); give the file "
            "vqvae.pth.tar or a state dict of the same names."
        )
    top, widths, depths, downs, strides = levels - 1, [], [], [], []
    for level in range(levels):
        first = f"encoders.{level}.level_blocks.0.model.0"
        widths.append(_shape(found, f"{first}.0.weight")[0])
        depths.append(_count(found, re.escape(f"{first}.1.model.") + r"(\d+)\."))
        stage = f"encoders.{top}.level_blocks.{level}.model"
        downs.append(_count(found, re.escape(stage) + r"\.(\d+)\.0\.weight"))
        strides.append(_shape(found, f"{stage}.0.0.weight")[2] // 2)
    num_codes, code_dim = _shape(found, "bottleneck.level_blocks.0.k")
    ratios = [
        (w / min(widths), d / max(min(depths), 1))
        for w, d in zip(widths, depths, strict=True)
    ]
    if any(a != b or a % 1 for a, b in ratios):
        raise InputError(
            f"Found widths {widths} and depths {depths} of the levels; expected the "
            "same whole multiples of the least ones; this is not a VQ-VAE that "
            "Jukebox's code makes."
        )
    return Sizes(
        *map(tuple, (downs, strides, widths, depths)),
        code_dim=code_dim,
        num_codes=num_codes,
    )


def _count(found: Mapping[str, tuple[int, ...]], pattern: str) -> int:
    """How many numbers the pattern finds in the names."""
    matches = (re.match(pattern, name) for name in found)
    return len({match[1] for match in matches if match})


def _shape(found: Mapping[str, tuple[int, ...]], name: str) -> tuple[int, ...]:
    rank = 2 if name.endswith(".k") else 3
    shape = tuple(found.get(name, ()))
    if len(shape) != rank or 0 in shape:
        what = f"shape {list(shape)}" if name in found else "nothing"
        raise InputError(
            f"Found {what} under {name!r}; expected an array of {rank} axes, as "
            "Jukebox's VQ-VAE has; the file is partial or foreign: fetch it again."
        )
    return shape


@dataclass(frozen=True)
class Array:
    """An array of the checkpoint and where it goes."""

    name: str
    shape: tuple[int, ...]
    path: tuple[str, ...]
    axes: tuple[int, ...] = (0,)  # of ours in theirs; fewer than theirs drop the last


def _conv(
    name: str, path: tuple[str, ...], width: int, inputs: int, taps: int
) -> Iterator[Array]:
    """A convolution, or a product where it has one tap."""
    axes = (1, 0) if taps == 1 else (2, 1, 0)
    yield Array(f"{name}.weight", (width, inputs, taps), (*path, "kernel"), axes)
    yield Array(f"{name}.bias", (width,), (*path, "bias"))


def _stack(name: str, path: tuple[str, ...], width: int, depth: int) -> Iterator[Array]:
    for d in range(depth):
        block = f"{name}.model.{d}.model"
        yield from _conv(f"{block}.1", (*path, f"hidden_{d}"), width, width, 3)
        yield from _conv(f"{block}.3", (*path, f"out_{d}"), width, width, 1)


def _encoder(sizes: Sizes, level: int) -> Iterator[Array]:
    width, depth = sizes.widths[level], sizes.depths[level]
    for j in range(level + 1):
        name = f"encoders.{level}.level_blocks.{j}.model"
        path = (f"encoder_{level}_{j}",)
        inputs = 1 if j == 0 else sizes.code_dim
        for i in range(sizes.downs[j]):
            taps = 2 * sizes.strides[j]
            yield from _conv(f"{name}.{i}.0", (*path, f"down_{i}"), width, inputs, taps)
            yield from _stack(f"{name}.{i}.1", (*path, f"stack_{i}"), width, depth)
            inputs = width
        yield from _conv(
            f"{name}.{sizes.downs[j]}", (*path, "out"), sizes.code_dim, inputs, 3
        )


def _decoder(sizes: Sizes, level: int) -> Iterator[Array]:
    width, depth, dim = sizes.widths[level], sizes.depths[level], sizes.code_dim
    for j in range(level + 1):
        name = f"decoders.{level}.level_blocks.{j}.model"
        path = (f"decoder_{level}_{j}",)
        yield from _conv(f"{name}.0", (*path, "in"), width, dim, 3)
        for i in range(sizes.downs[j]):
            part, up = f"{name}.{i + 1}", (*path, f"up_{i}")
            out = dim if i == sizes.downs[j] - 1 else width
            shape = (width, out, 2 * sizes.strides[j])
            yield from _stack(f"{part}.0", (*path, f"stack_{i}"), width, depth)
            yield Array(f"{part}.1.weight", shape, (*up, "kernel"), (2, 0, 1))
            yield Array(f"{part}.1.bias", (out,), (*up, "bias"))
    yield from _conv(f"decoders.{level}.out", (f"wave_{level}",), 1, dim, 3)


def layout(sizes: Sizes) -> list[Array]:
    """All arrays of a checkpoint of these sizes, codebooks aside."""
    levels = range(len(sizes.downs))
    return [
        array
        for part in (_encoder, _decoder)
        for level in levels
        for array in part(sizes, level)
    ]


def codebook_names(sizes: Sizes) -> list[str]:
    """The codebooks' names, the finest level first."""
    return [f"bottleneck.level_blocks.{n}.k" for n in range(len(sizes.downs))]


def shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Shapes by name of all arrays of a checkpoint of these sizes."""
    codebook = (sizes.num_codes, sizes.code_dim)
    return {
        **{array.name: array.shape for array in layout(sizes)},
        **dict.fromkeys(codebook_names(sizes), codebook),
    }


def autoencoder_params(state: Mapping[str, np.ndarray], sizes: Sizes) -> dict[str, Any]:
    """Parameters of a `networks.vqvae1d.WaveAutoencoder`, float32.

    Args:
        state: arrays by PyTorch name, of the shapes of `shapes`.
        sizes: as `find_sizes` tells.
    """
    params: dict[str, Any] = {}
    for array in layout(sizes):
        value = np.asarray(state[array.name], np.float32)
        value = value.reshape(array.shape[: len(array.axes)])
        *path, last = array.path
        node = params
        for part in path:
            node = node.setdefault(part, {})
        node[last] = np.ascontiguousarray(value.transpose(array.axes))
    return params
