"""Which settings of the contrast contradict each other, train nothing, or cannot be.

All is asked before anything is built; what a term or a negative is, `contrast` knows.
"""

from collections.abc import Mapping
from typing import Any

from cdcd_jax.diffusion import contrastive, negatives, objective
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.positions import grid_of, plane_of
from cdcd_jax.tasks.settings import choose, missing_null

# Where inter negatives come from.
SOURCES = ("batch", "records")


def come_with_records(settings: Mapping[str, Any]) -> bool:
    """Whether each example of a batch must bring its inter negatives.

    Args:
        settings: the section `contrastive`.
    """
    asked = settings["inter_from"] == "records" and settings["negatives"] != "intra"
    return bool(asked and settings["weight"])


def checked_number(config: Mapping[str, Any]) -> int:
    """How many negatives of each kind an example has, after all checks.

    0 where they are only reported, and cannot be.

    Args:
        config: a whole experiment.

    Raises:
        UsageError, ValueError: settings that contradict each other.
    """
    settings = config["contrastive"]
    for key, choices in (
        ("level", contrastive.LEVELS),
        ("path", contrastive.PATHS),
        ("form", contrastive.FORMS),
        ("critic", contrastive.CRITICS),
        ("negatives", contrastive.NEGATIVES),
        ("ramp", objective.RAMPS),
        ("inter_from", SOURCES),
    ):
        choose("contrastive", key, settings[key], choices)
    if settings["weight"]:
        _check_terms(settings, config["model"])
        _check_negatives(config)
    elif settings["num_negatives"]:
        try:
            _check_negatives(config)
        except (UsageError, ValueError):
            return 0
    return settings["num_negatives"]


def _check_terms(settings: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """What of the settings contradict each other or train nothing."""
    if settings["critic"] == "ratio":
        if settings["form"] != "infonce":
            raise UsageError(
                "contrastive.critic = 'ratio' scores infonce only, not form "
                f"{settings['form']!r}: set contrastive.form = 'infonce' or "
                "contrastive.critic = 'conditional'"
            )
        if fault := missing_null(model):
            raise UsageError(
                "contrastive.critic = 'ratio' compares with the null, but "
                f"{fault}: set model.condition_dropout = 0.1 or "
                "contrastive.critic = 'conditional'"
            )
    if not settings["num_negatives"]:
        raise UsageError(
            f"contrastive.weight = {settings['weight']} needs negatives, but "
            "contrastive.num_negatives = 0: set one of both"
        )
    if model["conditions"] and model["condition_dropout"] == 1:
        raise UsageError(
            f"contrastive.weight = {settings['weight']} trains nothing where no "
            "example keeps its condition: lower model.condition_dropout = 1, or "
            "set contrastive.weight = 0"
        )


def _check_negatives(config: Mapping[str, Any]) -> None:
    """Where negatives come from and how many there can be."""
    settings, model = config["contrastive"], config["model"]
    conditions, grid = model["conditions"], grid_of(model["grid"])
    if settings["negatives"] != "intra" and not come_with_records(settings):
        if not conditions:
            raise UsageError(
                "a model without model.conditions has no negatives under another "
                "condition: set contrastive.weight = 0 or "
                "contrastive.negatives = 'intra'"
            )
        microbatch = config["data"]["batch_size"] // config["optim"]["accumulate"]
        number = settings["num_negatives"]
        negatives.check_group(settings["group"], microbatch, number)
        key = settings["key"]
        choose("contrastive", "key", key, conditions)
        if conditions[key].get("num_classes") == 1:
            raise UsageError(
                f"Found one class of contrastive.key = {key!r}; expected two or "
                "more, since a negative is an example of another: set "
                "contrastive.weight = 0, or take another contrastive.key or "
                "contrastive.negatives = 'intra'"
            )
    if settings["negatives"] != "inter":
        if plane_of(grid) is None:
            raise UsageError(
                f"Found contrastive.negatives = {settings['negatives']!r} on "
                f"model.grid = {grid}; expected a grid (H, W), whose pieces are put "
                "in another order; take negatives 'inter'."
            )
        negatives.chunk_layout(grid, tuple(settings["chunks"]))
