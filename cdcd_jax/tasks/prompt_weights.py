"""How much each prompt says where several are given: shares that sum to one."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from cdcd_jax.diffusion.samplers.options import SamplingOptions
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.prompt_conditioners import KIND, WEIGHT
from cdcd_jax.tasks.drawing import Edit

Options = TypeVar("Options", bound=SamplingOptions)
REST = -1.0  # an equal part of what the others leave


def with_prompts(
    model: Mapping[str, Any],
    specs: Mapping[str, Mapping[str, Any]],
    condition: Mapping[str, Any],
    edit: Edit,
    options: Options,
) -> tuple[dict[str, Any], Edit, Options]:
    """What is asked for with weights of prompts beside them; options without.

    Args:
        model: the section of a config.
        specs: of its conditions.
        condition, edit, options: see `ConditionalTask.sample`.

    Raises:
        UsageError: see `weighed_prompts`; or no prompt where the null is not trained.
    """
    weights = dict(options.prompt_weights)
    prompts = [name for name, spec in specs.items() if spec["kind"] == KIND]
    trained = model["condition_dropout"] > 0 or model["null_trained"]
    if prompts and not trained and not set(prompts) & set(condition):
        raise UsageError(
            "Found no prompt for a model of model.condition_dropout = 0, which was "
            f"never trained without; expected one or more of {', '.join(prompts)}; "
            "give one, or train with model.condition_dropout = 0.1."
        )
    condition = weighed_prompts(specs, condition, weights)
    if edit.toward:
        toward = weighed_prompts(specs, edit.toward[0], weights)
        edit = edit._replace(toward=(toward, edit.toward[1]))
    # they are arrays now, and no other program for other weights
    return condition, edit, dataclasses.replace(options, prompt_weights=())


def weighed_prompts(
    specs: Mapping[str, Mapping[str, Any]],
    condition: Mapping[str, Any],
    weights: Mapping[str, float],
) -> dict[str, Any]:
    """The condition with `<name>/weight`, float32 [N], of each prompt in it.

    Args:
        specs: of the model's conditions.
        condition: {name: [N, ...]}.
        weights: `sampling.prompt_weights`.

    Raises:
        UsageError: a weight of what is no prompt or not given, below 0, or weights that
            do not sum to one.
    """
    prompts = [name for name, spec in specs.items() if spec["kind"] == KIND]
    given = [name for name in prompts if name in condition]
    set_ = {name: w for name, w in weights.items() if w != REST}
    _check(prompts, given, set_)
    rest = [name for name in given if name not in set_]
    left = 1.0 - sum(set_.values())
    shares = {**set_, **dict.fromkeys(rest, left / max(len(rest), 1))}
    return dict(condition) | {
        f"{name}{WEIGHT}": np.full(len(condition[name]), shares[name], np.float32)
        for name in given
    }


def _check(prompts: list[str], given: list[str], weights: Mapping[str, float]) -> None:
    told = f"sampling.prompt_weights = {dict(weights)}"
    others = [name for name in weights if name not in prompts]
    if others:
        raise UsageError(
            f"Found {told} and no prompt {others[0]!r}; expected some of "
            f"{', '.join(prompts) or 'none, since this model takes no prompts'}; "
            "correct it."
        )
    away = [name for name in weights if name not in given and given]
    if away:
        raise UsageError(
            f"Found {told} and no --condition.{away[0]}; expected weights of what is "
            f"given, {', '.join(given)}; give that prompt, or leave its weight out."
        )
    total = sum(weights.values())
    whole = abs(total - 1) < 1e-6 if set(given) <= set(weights) else total <= 1
    if weights and given and not (whole and min(weights.values()) >= 0):
        raise UsageError(
            f"Found {told}, which sum to {total:g}; expected shares from 0 to 1 that "
            "sum to one, or less where a given prompt has none and takes what is left; "
            "correct them."
        )
