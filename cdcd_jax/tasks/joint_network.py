"""From a config of several modalities to their network and process, checked."""

from collections.abc import Mapping
from typing import Any

from cdcd_jax.diffusion.aggregation import make_aggregation
from cdcd_jax.diffusion.gaussian import LOSSES, Gaussian
from cdcd_jax.diffusion.gaussian_schedule import GAUSSIAN_CURVES, make_levels
from cdcd_jax.errors import UsageError, as_usage_error
from cdcd_jax.networks.joint import VALUES, JointDenoiser, make_code, outputs_of
from cdcd_jax.networks.positions import grid_of
from cdcd_jax.networks.prompt_conditioners import check_prompts
from cdcd_jax.tasks.modalities import Modality
from cdcd_jax.tasks.settings import choose, denoiser_settings


def make_joint_network(
    config: Mapping[str, Any],
    modalities: Mapping[str, Modality],
    own: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, Mapping[str, Any]],
) -> JointDenoiser:
    """The network of a whole experiment.

    Args:
        config: a whole experiment.
        modalities: of it.
        own: full descriptions of its other conditions.
        given: those of modalities that may be given; the network sees them where it is
            trained to (`model.known`).

    Raises:
        UsageError: settings that contradict each other, modalities that do not fit.
    """
    model = config["model"]
    if model["form"] != "modern":
        raise UsageError(
            f"Found model.form = {model['form']!r}; expected 'modern', which alone "
            "takes numbers in place of tokens; set it."
        )
    height, width, channels = (*grid_of(model["grid"]), 1)[:3]
    patch = model["patch"]
    grid = height // patch, width // patch
    space = grid[0] * grid[1], model["channels"] or patch**2 * channels
    specs = {name: one.code for name, one in modalities.items()}
    for name, spec in specs.items():
        make_code(spec, space).check(name)
    seen = {**own, **(given if model["known"] else {})}
    denoiser = denoiser_settings(config, seen, grid)
    denoiser |= dict(inputs=VALUES, outputs=outputs_of(specs, space))
    absent = bool(model["modality_dropout"])
    noise = model["prompt_noise"]
    check_prompts(own, noise)
    how = model["join"], noise
    return JointDenoiser(
        denoiser, seen, *how, modalities=specs, space=space, absent=absent
    )


def make_gaussian(
    config: Mapping[str, Any], modalities: Mapping[str, Modality], primary: str
) -> Gaussian:
    """The process of z.

    Raises:
        UsageError: settings that do not exist, or weights that cannot be.
    """
    diffusion = config["diffusion"]
    choose("diffusion", "loss", diffusion["loss"], LOSSES)
    choose("diffusion", "schedule", diffusion["schedule"], GAUSSIAN_CURVES)
    if diffusion["loss"] == "bound" and modalities[primary].discrete:
        raise UsageError(
            f"Found diffusion.loss = 'bound' of modalities whose first is {primary!r}, "
            "which is read by its head alone; expected 'simple', since the bound's "
            "decoder of z is of a picture or a vector; set it."
        )
    weights = {name: one.weight for name, one in modalities.items()}
    timesteps, code = diffusion["timesteps"], modalities[primary].code
    with as_usage_error():
        levels = make_levels(diffusion["schedule"], timesteps)
        return Gaussian(
            levels,
            diffusion["prediction"],
            diffusion["variance"],
            diffusion["loss"],
            code.get("levels", 0),
            make_aggregation(weights, timesteps, diffusion["weight_ramp"]),
            primary,
        )
