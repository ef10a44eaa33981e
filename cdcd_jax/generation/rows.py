"""What samples are drawn under: what is asked for, or else rows that stand for all.

A label goes through its classes; other conditions are taken from records that training
does not see. A model all of whose conditions are optional needs none.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from cdcd_jax.data.card import Card
from cdcd_jax.data.fields import condition_of
from cdcd_jax.errors import UsageError
from cdcd_jax.generation import prompts
from cdcd_jax.models.model import Trained


def draw_key(config: Mapping[str, Any], name: str) -> jax.Array:
    """A key for samples of this name, apart from those of training."""
    base = jax.random.fold_in(jax.random.key(config["seed"]), 2)
    return jax.random.fold_in(base, zlib.crc32(name.encode()))


def every_label(
    conditions: Mapping[str, Mapping], number: int
) -> dict[str, np.ndarray]:
    """A condition of `number` rows that goes through all classes evenly.

    Raises:
        UsageError: a modality that is not a label, of which no rows can be made up.
    """
    rows = {}
    for name, spec in conditions.items():
        if spec["kind"] != "label":
            raise UsageError(
                f"condition {name!r} is a {spec['kind']}, of which samples cannot be "
                f"made up: give one with --condition.{name}"
            )
        rows[name] = (np.arange(number) % spec["num_classes"]).astype(np.int32)
    return rows


def are_labels(conditions: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether rows of these can be made up."""
    return all(spec["kind"] == "label" for spec in conditions.values())


def standing_for_all(model: Trained, number: int) -> dict[str, np.ndarray]:
    """`number` rows of conditions to draw samples under.

    Labels go through all classes; other conditions are those of records that training
    does not see, spread evenly over the split `eval.split`, with all that the records
    say of them.

    Raises:
        InputError: unusable records.
    """
    if are_labels(model.conditions):
        return every_label(model.conditions, number)
    return held_out_records(model, model.open_records(), number)["condition"]


def held_out_records(model: Trained, card: Card, number: int) -> dict[str, Any]:
    """`number` records spread evenly over the split `eval.split`.

    Returns:
        tokens int32 [N, L], and condition {name: [N, ...]}: all that the records say,
        and what the model's conditions are made of.

    Raises:
        InputError: unusable records.
    """
    from cdcd_jax.data.pipeline import spread_records

    rows = spread_records(card, model.config["eval"]["split"], number)
    return {**rows, "condition": condition_of(rows, model.conditions)}


def asked_for(model: Trained, given: Mapping[str, Any], number: int) -> prompts.Rows:
    """`number` rows of each condition given.

    Where none is, none of a model that needs none; otherwise of every class, or of so
    many held-out records.

    Args:
        given: see `prompts.rows_of`.

    Raises:
        UsageError: conditions that the model does not take, or none and no records.
        InputError: unusable files or records.
    """
    conditions = model.conditions
    needs_none = all(spec.get("optional") for spec in conditions.values())
    if given or (conditions and needs_none):
        return prompts.rows_of(given, conditions, number, model.card, model.workdir)
    if are_labels(conditions):
        number *= 10 if conditions else 1
    elif model.card is None:
        wanted = " ".join(f"--condition.{name}=..." for name in conditions)
        raise UsageError(
            f"Found no --condition, and no records in "
            f"{model.config['data']['path']!r}; expected {wanted}, or records to take "
            "conditions from; give them, or set --config.data.path"
        )
    return told(model, standing_for_all(model, number))


def told(model: Trained, condition: Mapping[str, np.ndarray]) -> prompts.Rows:
    """Finished conditions with their titles and texts."""
    return prompts.rows_told(condition, model.conditions, model.card, model.workdir)
