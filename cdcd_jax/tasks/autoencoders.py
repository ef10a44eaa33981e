"""Which autoencoder a tokenizer's settings describe, and what of them cannot be."""

from collections.abc import Mapping
from typing import Any

from cdcd_jax.config import defaults, merge
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.log_mel import LogMel
from cdcd_jax.networks.patches import PatchAutoencoder
from cdcd_jax.networks.vqgan import ImageAutoencoder
from cdcd_jax.networks.vqvae1d import WaveAutoencoder
from cdcd_jax.tasks.codebooks import QUANTIZERS
from cdcd_jax.tasks.settings import choose, dtype_of

# Settings of `model` by kind; those of vqgan are the defaults of the config.
WAVE = dict(
    kind="vqvae1d",
    length=8192,  # samples of an example
    sample_rate=22050,  # Hz
    downs=(3, 2, 2),  # strided convolutions that each level adds
    strides=(2, 2, 2),  # of a level's convolutions, one number or one for each
    width=32,
    depth=4,
    multipliers=(2, 1, 1),  # of width and depth, one a level
    dilation_growth=3,
    patch=1,  # samples that are one step from the start
    bands=0,  # of a step's log-mel spectrum, which stands for its samples; 0: these
    window=256,  # samples of such a spectrum, at least 2 patch
    dtype="float32",
)
PATCHES = dict(
    kind="patches",
    resolution=32,  # pixels
    image_channels=3,
    patch=2,  # pixels a side
    width=64,  # hidden features
    dtype="float32",
)
IMAGES = ("vqgan", "patches")  # kinds that take pictures
DTYPES = ("float32", "bfloat16")


def whole_settings(config: Mapping[str, Any]) -> tuple[dict, dict]:
    """`model` and `quantizer` with every key, checked.

    A section of another kind than the default's is not filled up by `merge`.

    Raises:
        UsageError: settings that do not exist or that cannot be.
    """
    default = defaults("tokenizer")
    models = {"vqgan": default["model"], "vqvae1d": WAVE, "patches": PATCHES}
    choose("model", "kind", config["model"]["kind"], models)
    choose("quantizer", "kind", config["quantizer"]["kind"], QUANTIZERS)
    choose("eval", "figures", config["eval"]["figures"], ("", "labelled_sound"))
    fill = lambda base, part: merge({**base, "kind": part["kind"]}, part)
    model = fill(models[config["model"]["kind"]], config["model"])
    quantizer = fill(default["quantizer"], config["quantizer"])
    _check_sizes(model, quantizer, config["eval"])
    _check_kinds(model, quantizer, config)
    return model, quantizer


def _check_sizes(model: Mapping, quantizer: Mapping, evaluation: Mapping) -> None:
    names = "resolution image_channels channels latent_channels patch length"
    names += " sample_rate width depth dilation_growth groups"
    sizes = {f"model.{n}": model[n] for n in names.split() if n in model}
    sizes |= {f"quantizer.{n}": quantizer[n] for n in ("num_codes", "dim")}
    sizes |= {f"eval.{n}": evaluation[n] for n in ("num_samples", "shown")}
    for name, value in sizes.items():
        if value < 1:
            raise UsageError(f"{name} = {value}: expected 1 or more; correct it")
    for levels in ("channel_mult", "downs"):
        if levels in model and not model[levels]:
            raise UsageError(f"model.{levels} is empty: give a number for each level")
    choose("model", "dtype", model["dtype"], DTYPES)


def _check_kinds(model: Mapping, quantizer: Mapping, config: Mapping) -> None:
    """Settings that are for the other kind of model."""
    is_image = model["kind"] in IMAGES
    if model["kind"] != "vqgan" and quantizer["kind"] == "gumbel":
        raise UsageError(
            "quantizer.kind = 'gumbel' is for model.kind = 'vqgan': set 'nearest' for "
            f"{model['kind']!r}"
        )
    if quantizer["kind"] == "gumbel" and quantizer["normalize"]:
        raise UsageError(
            "quantizer.normalize = True is for quantizer.kind = 'nearest', whose codes "
            "are compared with vectors: set it to False for 'gumbel'"
        )
    of_sound, of_images = "spectral log_spectral", "pyramid perceptual adversarial"
    other = (of_sound if is_image else of_images).split()
    if model.get("bands"):
        other += of_sound.split()
    if model["kind"] == "patches":
        other += ["perceptual", "adversarial"]
    wrong = [name for name in other if config["losses"][name]]
    if wrong:
        raise UsageError(
            f"losses.{wrong[0]} = {config['losses'][wrong[0]]} does not fit model.kind "
            f"= {model['kind']!r}: set it to 0"
        )
    if is_image and config["eval"]["figures"]:
        raise UsageError(
            "eval.figures = 'labelled_sound' judges sound, but model.kind = "
            f"{model['kind']!r}: set it to ''"
        )


def patch_network(model: Mapping, quantizer: Mapping) -> PatchAutoencoder:
    """The network of patches."""
    sizes = {k: v for k, v in model.items() if k not in ("kind", "dtype")}
    dtype = dtype_of(model)
    network = PatchAutoencoder(**sizes, code_dim=quantizer["dim"], dtype=dtype)
    _check_multiple("resolution", model["resolution"], network.hops[-1])
    return network


def image_network(model: Mapping, quantizer: Mapping) -> ImageAutoencoder:
    """The network of pictures."""
    sizes = {k: v for k, v in model.items() if k not in ("kind", "dtype")}
    for name in ("channel_mult", "attention_resolutions"):
        sizes[name] = tuple(sizes[name])
    gumbel = quantizer["kind"] == "gumbel"
    network = ImageAutoencoder(
        **sizes,
        code_dim=quantizer["dim"],
        gumbel_codes=quantizer["num_codes"] if gumbel else 0,
        dtype=dtype_of(model),
    )
    _check_multiple("resolution", model["resolution"], network.hops[-1])
    return network


def wave_network(model: Mapping, quantizer: Mapping) -> WaveAutoencoder:
    """The network of sound."""
    sizes = {k: tuple(v) if isinstance(v, list) else v for k, v in model.items()}
    for name in ("kind", "length", "sample_rate", "window", "dtype"):
        del sizes[name]
    levels = {name: len(sizes[name]) for name in ("downs", "strides", "multipliers")}
    if len(set(levels.values())) > 1:
        raise UsageError(
            f"model.downs, strides and multipliers have {levels} entries: give as many "
            "of each, one a level"
        )
    for down, stride in zip(sizes["downs"], sizes["strides"], strict=True):
        if not isinstance(stride, int) and len(stride) != down:
            raise UsageError(
                f"model.strides has {tuple(stride)} for {down} convolutions of a level "
                "(model.downs): give one number, or one for each"
            )
    network = WaveAutoencoder(**sizes, code_dim=quantizer["dim"], dtype=dtype_of(model))
    _check_multiple("length", model["length"], network.hops[-1])
    return network


def spectra_of(model: Mapping[str, Any]) -> LogMel | None:
    """What the network of sound sees of it; None where that is the sound itself.

    Raises:
        UsageError: spectra that leave out samples.
    """
    if not model.get("bands"):
        return None
    bands, patch, window = (model[name] for name in ("bands", "patch", "window"))
    if bands < 0 or window < 2 * patch:
        raise UsageError(
            f"Found model.bands = {bands} of model.window = {window} samples, one "
            f"every model.patch = {patch}; expected 0 or more bands, and a window of "
            "2 patch or more; correct them."
        )
    return LogMel(bands, patch, window, model["sample_rate"])


NETWORKS = {
    "vqgan": image_network,
    "vqvae1d": wave_network,
    "patches": patch_network,
}


def _check_multiple(name: str, size: int, hop: int) -> None:
    if size % hop:
        raise UsageError(
            f"model.{name} = {size} is not a multiple of the {hop} of them that a code "
            "stands for: change it, or the number of levels"
        )
