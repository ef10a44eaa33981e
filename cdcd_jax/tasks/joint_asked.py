"""What cannot be asked of a model of several modalities: options, what is given, edits.

Nothing that is given is passed over: what would change no sample is refused.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.diffusion.samplers.options import GaussianOptions
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.presence import PRESENT
from cdcd_jax.tasks.drawing import Edit
from cdcd_jax.tasks.joint_drawing import KNOWN
from cdcd_jax.tasks.joint_values import known_subsets
from cdcd_jax.tasks.modalities import Modality
from cdcd_jax.tasks.settings import check_null, choose


def check_options(
    model: Mapping[str, Any], options: GaussianOptions, scaled: bool = False
) -> None:
    """Raises UsageError for a scale of nothing, or of what was never trained.

    Args:
        model: the section of a config.
        options: of a draw.
        scaled: it has scales by modality too.
    """
    choose("sampling", "known", options.known, KNOWN)
    if options.guidance_scale == 1.0 and not scaled:
        return
    asked = f"sampling.guidance_scale = {options.guidance_scale}"
    asked = "scales by modality" if scaled else asked
    if options.known == "context" or model["conditions"]:
        check_null(model, asked)
    elif options.known == "substitution":
        raise UsageError(
            f"Found {asked} with sampling.known = 'substitution'; expected 'context' "
            "or 'guidance', since a code that takes a place in a sum knows no scale; "
            "set one of them, or draw without guidance."
        )


def check_asked(
    model: Mapping[str, Any],
    modalities: Mapping[str, Modality],
    options: GaussianOptions,
    condition: Mapping[str, Any],
    edit: Edit,
) -> None:
    """Raises UsageError for what is given if it cannot be, or would change nothing.

    Args:
        model: the section of a config.
        modalities, options: of a draw.
        condition: {name: [N, ...]}.
        edit: see `Edit`.
    """
    if edit.scales is not None:
        check_options(model, options, scaled=True)
    given = {n: np.asarray(condition[n]) for n in modalities if n in condition}
    for name, x in given.items():
        _check_values(modalities[name], x)
        if f"{name}{PRESENT}" in condition:
            raise UsageError(
                f"Found {name}{PRESENT} beside the modality {name!r}; expected it in "
                "all rows or in none; draw those rows apart."
            )
    if given and options.known == "context" and not model["known"]:
        raise UsageError(
            f"Found {', '.join(given)} given under sampling.known = 'context' to a "
            "model of model.known = 0, which was never shown what is known; expected "
            "sampling.known = 'guidance' or 'substitution'; set one, or train with "
            "model.known = 0.5."
        )
    shown = options.known == "context" and (given or edit.known is not None)
    if model["known"] == 1 and known_subsets(modalities)[1] > 1 and not shown:
        raise UsageError(
            f"Found nothing given under sampling.known = {options.known!r} to a model "
            "of model.known = 1, which was never trained without; expected one or more "
            f"of {', '.join(known_subsets(modalities)[0])} under 'context'; give it, "
            "or train with model.known = 0.5."
        )
    toward = [n for n in modalities if edit.toward and n in edit.toward[0]]
    if toward and options.known != "context":
        raise UsageError(
            f"Found {', '.join(toward)} as the end of an interpolation under "
            f"sampling.known = {options.known!r}; expected 'context', in which the "
            "network sees both ends; set it."
        )
    whole = [one for one in modalities.values() if one.is_stream]
    if (edit.known is not None or edit.start is not None) and not whole:
        raise UsageError(
            "Found a picture to edit, and no modality of it that is drawn; expected "
            "one whose field is 'tokens'; give what is known as a condition."
        )


def _check_values(one: Modality, x: np.ndarray) -> None:
    """What is given must be an array of the modality."""
    field = one.batch_field
    low = -1 if one.kind == "masked_image" else field.get("low", -np.inf)
    high = field.get("high", np.inf)
    fits = np.can_cast(x.dtype, field["dtype"], "same_kind")
    fits = fits and x.shape[1:] == one.shape
    if not fits or not np.all((x >= low) & (x < high)):
        ends = [x.min(), x.max()] if x.size and fits else "other numbers"
        raise UsageError(
            f"Found {one.name} as {x.dtype}{list(x.shape)} of {ends}; expected "
            f"{field['dtype']} [N, {', '.join(map(str, one.shape))}] from {low} to "
            f"below {high}; correct it."
        )
