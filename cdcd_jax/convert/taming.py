"""VQGANs of taming-transformers -> image tokenizers.

The sizes follow from the tensors: f16 with 1,024 or 16,384 codes, Gumbel f8 with 8,192
or any other. A transformer's checkpoint that holds a VQGAN as `first_stage_model` will
do as well. Discriminator and perceptual network (`loss.`) are left out.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.config import defaults
from cdcd_jax.convert.files import (
    Converted,
    Tensors,
    check_tensors,
    read_tensors,
    shape_of,
)
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.networks.vqgan import ImageAutoencoder

_IGNORED = ("loss.",)
_PREFIX = "first_stage_model."


OPTIONS = dict(
    resolution=256,  # height in pixels of the images that it was trained on
)


def convert(path: str, options: Mapping[str, Any]) -> Converted:
    """A VQModel or GumbelVQ, bare or in `state_dict`.

    Args:
        path: of the file.
        options: as OPTIONS; no tensor tells the resolution.

    Raises:
        InputError: the file cannot be read, or is not exactly such a model.
    """
    state = without(read_tensors(path, ("state_dict",)), _IGNORED)
    if any(name.startswith(_PREFIX) for name in state):
        n = len(_PREFIX)
        state = {k[n:]: v for k, v in state.items() if k.startswith(_PREFIX)}
        state = without(state, _IGNORED)
    return from_tensors(state, options["resolution"], path)


def from_tensors(
    state: Tensors,
    resolution: int,
    path: str,
    groups: int = 32,
    **quantizer: Any,
) -> Converted:
    """The same of tensors whose names begin with 'encoder.', 'decoder.', 'quant'.

    Args:
        state: arrays by name.
        resolution: as OPTIONS.
        path: of the errors' texts.
        groups: of each norm.
        quantizer: further keys of the config's section.
    """
    coded = any(name.startswith("quantize.") for name in state)
    if "encoder.conv_in.weight" in state and not coded:
        raise InputError(
            f"Found {path} without a codebook, which is an AutoencoderKL; expected "
            "codes. AutoencoderKL is continuous; not converted yet. Take a VQ model."
        )
    gumbel = "quantize.embed.weight" in state
    name = "quantize.embed.weight" if gumbel else "quantize.embedding.weight"
    sizes = read_sizes(state, name, resolution, path, groups)
    codes = len(state[name])
    net = ImageAutoencoder(**sizes, gumbel_codes=codes if gumbel else 0)
    params = autoencoder_params(net, state, {name: (codes, net.code_dim)}, path)
    kind = "gumbel" if gumbel else "nearest"
    quantizer = dict(kind=kind, update="gradient", **quantizer)
    return Converted(
        make_config(net, codes, quantizer),
        {"autoencoder": params, "codebooks": {"0": state[name]}},
        {"counts": {"0": np.zeros(codes, np.float32)}},
    )


def without(state: Tensors, prefixes: tuple[str, ...]) -> Tensors:
    """The tensors whose names begin with none of `prefixes`."""
    return {name: v for name, v in state.items() if not name.startswith(prefixes)}


def make_config(
    net: ImageAutoencoder, codes: int, quantizer: Mapping[str, Any]
) -> dict[str, Any]:
    """Sections of a tokenizer's config."""
    names = (
        "resolution",
        "image_channels",
        "channels",
        "channel_mult",
        "num_res_blocks",
        "attention_resolutions",
        "latent_channels",
    )
    model = {name: getattr(net, name) for name in names}
    for name, usual in dict(mid_attention=True, groups=32).items():
        if getattr(net, name) != usual:
            model[name] = getattr(net, name)
    return dict(
        task="tokenizer",
        model=dict(kind="vqgan", **model),
        quantizer={
            **defaults("tokenizer")["quantizer"],
            **dict(num_codes=codes, dim=net.code_dim),
            **quantizer,
        },
    )


def read_sizes(
    state: Tensors, codebook: str, resolution: int, path: str, groups: int = 32
) -> dict[str, Any]:
    """Arguments of `ImageAutoencoder`, from names and shapes alone.

    Args:
        state: tensors by name.
        codebook: name of the tensor [K, D].
        resolution: height of the images in pixels.
        path: of the error's text.
        groups: of each norm.

    Raises:
        InputError: a tensor that tells a size is missing or has no such shape.
        UsageError: images of this resolution cannot be halved as often.
    """

    def shape(name: str, rank: int = 4) -> tuple[int, ...]:
        expected = (
            "the weights of a VQGAN of this family. Check --family and --input, or get "
            "the complete file."
        )
        return shape_of(state, name, rank, path, expected)

    channels, image_channels = shape("encoder.conv_in.weight")[:2]
    shape(codebook, 2)
    # one after the other: a number in a name says nothing about the rest
    levels = count(state, "encoder.down.{}.block.0.conv1.weight")
    wide = [shape(f"encoder.down.{i}.block.0.conv1.weight")[0] for i in range(levels)]
    if not levels or channels % groups or any(n % channels or not n for n in wide):
        raise InputError(
            f"Found {path} with {channels} channels at first and {wide} at the levels; "
            f"expected multiples of {groups} at first, and of these at one level or "
            "more. "
            "Check --family and --input."
        )
    smallest = 2 ** (levels - 1)
    if resolution < smallest or resolution % smallest:
        raise UsageError(
            f"Found --resolution={resolution} for {levels} levels; expected a multiple "
            f"of {smallest} pixels. Set the size of the images that it was trained on."
        )
    has_attention = lambda i: f"encoder.down.{i}.attn.0.norm.weight" in state
    return dict(
        resolution=resolution,
        image_channels=image_channels,
        channels=channels,
        channel_mult=tuple(n // channels for n in wide),
        num_res_blocks=count(state, "encoder.down.0.block.{}.conv1.weight"),
        attention_resolutions=tuple(
            resolution // 2**i for i in range(levels) if has_attention(i)
        ),
        mid_attention="encoder.mid.attn_1.norm.weight" in state,
        groups=groups,
        latent_channels=shape("quant_conv.weight")[1],
        code_dim=shape("quant_conv.weight")[0],
    )


def count(state: Mapping[str, Any], name: str) -> int:
    """How many of `name` with 0, 1, ... in its braces there are without a gap."""
    number = 0
    while name.format(number) in state:
        number += 1
    return number


def autoencoder_params(
    net: ImageAutoencoder,
    state: Tensors,
    others: Mapping[str, tuple[int, ...]],
    path: str,
) -> dict[str, Any]:
    """Linen parameters of `net`; the state has just these tensors and `others`.

    Raises:
        InputError: a tensor is missing, unexpected or of another shape.
    """
    x = jax.ShapeDtypeStruct(
        (1, net.resolution, net.resolution, net.image_channels), jnp.float32
    )
    tree = jax.eval_shape(net.init, jax.random.key(0), x)["params"]
    leaves, treedef = jax.tree_util.tree_flatten_with_path(tree)
    paths = [tuple(key.key for key in path) for path, _ in leaves]
    names = [torch_name(p) for p in paths]
    shapes = {
        name: torch_shape(leaf.shape)
        for name, (_, leaf) in zip(names, leaves, strict=True)
    }
    check_tensors(state, {**shapes, **others}, f"{path} as a VQGAN")
    return treedef.unflatten([_ours(state[name]) for name in names])


def torch_name(path: tuple[str, ...]) -> str:
    """The name of one of our parameters: ('encoder', 'down_0_attn_1', 'q', 'bias')."""
    *modules, leaf = path
    if modules[0] == "conv_out":
        modules = ["decoder", *modules]
    if modules[0] == "proj":
        modules = ["quantize", *modules]
    if modules[1:] and modules[1].startswith(("down_", "up_")):
        modules[1] = modules[1].replace("_", ".")
        if modules[1].endswith("sample"):
            modules[1] += ".conv"
    return ".".join([*modules, "bias" if leaf == "bias" else "weight"])


def torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """[h, w, in, out] -> [out, in, h, w]; vectors stay."""
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else tuple(shape)


def _ours(value: np.ndarray) -> np.ndarray:
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
