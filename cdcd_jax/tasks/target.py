"""What of a batch a model of tokens learns to draw, and what it sees beside it."""

from collections.abc import Mapping
from typing import Any

from cdcd_jax.data.fields import condition_of
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.conditioners import content
from cdcd_jax.networks.prompt_conditioners import KIND

TOKENS = "tokens"  # of the records


def target_of(batch: Mapping[str, Any]) -> Any:
    """x_0 of the examples of a batch as a model sees it, int32 [B, L]."""
    return batch[TOKENS]


def seen_by(
    batch: Mapping[str, Any], target: str, specs: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any]:
    """A batch of records as a model sees it: x_0 as `tokens`, conditions by name.

    Args:
        batch: tokens [B, L], and condition {name: [B, ...]}.
        target: 'tokens', or the condition that is drawn.
        specs: of the model's conditions.
    """
    drawn = batch[TOKENS] if target == TOKENS else batch["condition"][target]
    return {**batch, TOKENS: drawn, "condition": condition_of(batch, specs)}


def check_target(target: str, specs: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises UsageError for a condition that is what is to be drawn.

    Of prompts it may be one: a vector is all that the model gets of it.
    """
    for name, spec in specs.items():
        if spec.get("field", name) == target and spec["kind"] != KIND:
            raise UsageError(
                f"Found model.conditions.{name} of the field {target!r}, which "
                "model.target says is drawn; expected another, so that the model is "
                "not given what it is asked for; leave the condition out, or make it "
                f"one of kind {KIND!r}."
            )


def stream_of(specs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The records' tokens as a field of the batch, where a condition is made of them.

    {} where none is.
    """
    for spec in specs.values():
        if spec.get("field") == TOKENS:
            held = content(spec)
            high = held.get("levels") or held.get("num_codes")
            field = dict(shape=held["shape"], dtype="int32", low=0, high=high)
            return {**field, "grid": tuple(held["grid"])}
    return {}
