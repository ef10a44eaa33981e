"""From `model.*` of a composable task to its towers and diffusers, checked."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from cdcd_jax.config import defaults, merge
from cdcd_jax.errors import UsageError
from cdcd_jax.networks import towers
from cdcd_jax.tasks.settings import check_names
from cdcd_jax.tasks.target import TOKENS

# sections of a diffuser that the whole has in their place
_WITHOUT = (
    *("data", "sampling", "optim", "mesh", "report", "stages"),
    *("init_from", "init_parts"),
)
# of `sampling`: what is the same for all diffusers
TOGETHER = (
    *("steps", "grid", "guidance_scale", "prompt_weights"),
    *("batch_size", "num_samples"),
)


def read_prompts(model: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Full descriptions of the towers, and they themselves, by modality.

    Raises:
        UsageError: none, or a name or a description that cannot be.
    """
    check_names("model.prompts", model["prompts"], {TOKENS})
    if not model["prompts"] or not model["diffusers"]:
        raise UsageError(
            "Found a composable model without model.prompts or model.diffusers; "
            "expected a tower of one modality and a diffuser of another; name them."
        )
    specs = {n: towers.full_spec(n, spec) for n, spec in model["prompts"].items()}
    made = {
        name: towers.make_tower(spec, model["features"], jnp.float32)
        for name, spec in specs.items()
    }
    return specs, made


def read_diffusers(
    config: Mapping[str, Any], make_task: Callable[[Mapping[str, Any]], Any]
) -> tuple[dict[str, Any], set[str]]:
    """The task of each diffuser by modality, and which of them draw texts.

    Raises:
        UsageError: a name or settings that cannot be.
    """
    diffusers = config["model"]["diffusers"]
    check_names("model.diffusers", diffusers, {TOKENS})
    wholes = {name: _whole(config, name, spec) for name, spec in diffusers.items()}
    drawn = {
        name: whole["model"].get("target", TOKENS) for name, whole in wholes.items()
    }
    texts = {name for name, target in drawn.items() if target != TOKENS}
    for name in texts:  # of which the diffuser sees nothing but tokens here
        wholes[name]["model"]["target"] = TOKENS
    return {name: make_task(whole) for name, whole in wholes.items()}, texts


def _whole(
    config: Mapping[str, Any], name: str, spec: Mapping[str, Any]
) -> dict[str, Any]:
    """A diffuser as an experiment, which sees vectors in the place of prompts."""
    where, model = f"model.diffusers.{name}", config["model"]
    own = [key for key in spec if key in _WITHOUT]
    if own or "task" not in spec or spec.get("model", {}).get("conditions"):
        raise UsageError(
            f"Found {where} with {', '.join(own) or 'no task, or conditions'}; "
            "expected task, model, diffusion and tokenizer alone: its prompts are "
            "those of model.prompts, its sampler that of sampling.diffusers; "
            "correct it."
        )
    whole = merge(defaults(spec["task"]), spec, f"{where}.")
    vector = dict(kind="vector", shape=(model["features"],))
    prompt = dict(kind="prompt", encoder=vector, features=model["features"])
    whole["model"]["conditions"] = dict.fromkeys(model["prompts"], prompt)
    whole["eval"] = {**whole["eval"], "figures": ""}
    together = {k: config["sampling"][k] for k in TOGETHER}
    whole["sampling"] = {**whole["sampling"], **together}
    return whole
