"""The fields of a batch as a task describes them: walked, compared with a batch, named.

A field is a dict with a `shape` (of one example) and a `dtype`, and fields may lie in
dicts by name: see `Description` in `cdcd_jax.tasks`. Needs numpy only.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cdcd_jax.errors import InputError


def is_field(spec: Mapping[str, Any]) -> bool:
    """Whether this describes an array rather than a dict of them."""
    return isinstance(spec.get("dtype"), str)


def map_fields(function: Callable[[Mapping[str, Any]], Any], fields: Any) -> Any:
    """The dicts with `function(field)` for each field, in their order."""
    if is_field(fields):
        return function(fields)
    return {name: map_fields(function, spec) for name, spec in fields.items()}


def check_batch(batch: Any, fields: Mapping[str, Any], path: str = "") -> None:
    """Checks that a batch has the fields, by shape and type; it may have more.

    Args:
        batch: arrays [B, ...] in dicts, of which no value is read.
        fields: `describe()["batch"]`.

    Raises:
        InputError: a field that lacks, or whose shape or kind of numbers differs.
    """
    for name, spec in fields.items():
        where = f"{path}{name}"
        if spec.get("optional") and isinstance(batch, Mapping) and name not in batch:
            continue
        if not isinstance(batch, Mapping) or name not in batch:
            found = ", ".join(batch) if isinstance(batch, Mapping) else "one array"
            raise InputError(
                f"Found a batch without {where!r} (there: {found or 'nothing'}); "
                "expected what the task's describe() says; make records that hold it, "
                "or take a model that does without."
            )
        if is_field(spec):
            _check_array(where, batch[name], spec)
        else:
            check_batch(batch[name], spec, f"{where}/")


def condition_of(
    batch: Mapping[str, Any], specs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The conditions of records {name: [B, ...]}, with those that are made of a field.

    Args:
        batch: tokens [B, L] and condition {name: [B, ...]}, as records have them.
        specs: what a model takes; where one says `field`, it is made of the condition
            of that name, or of the tokens.
    """
    fields = {**batch["condition"], "tokens": batch["tokens"]}
    of = {name: spec["field"] for name, spec in specs.items() if "field" in spec}
    made = {name: fields[field] for name, field in of.items() if field in fields}
    return {**batch["condition"], **made}


def _check_array(where: str, array: Any, spec: Mapping[str, Any]) -> None:
    shape, dtype = tuple(spec["shape"]), np.dtype(spec["dtype"])
    # other widths of the same numbers serve: records keep the smallest
    fits = np.can_cast(array.dtype, dtype, "same_kind")
    if tuple(array.shape[1:]) == shape and fits:
        return
    raise InputError(
        f"Found {where!r} as {array.dtype}{list(array.shape)} in a batch; expected "
        f"{spec['dtype']}{['B', *shape]}, as the task's describe() says; make records "
        "that fit the model, or set the model to fit them.".replace("'B'", "B")
    )
