"""Random batches of the shape that a task takes: to time a step without records.

Needs numpy only.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cdcd_jax.data.fields import map_fields


def synthetic_batches(
    description: Mapping[str, Any],
    rows: np.ndarray,
    seed: int = 0,
    start_step: int = 0,
) -> Iterator[dict[str, Any]]:
    """Endless batches; each row depends on seed, step and its number alone.

    Args:
        description: the task's `describe()`, of which `batch` says what is drawn.
        rows: numbers of this process's rows in the global batch.
        seed: of the random numbers.
        start_step: the first batch's step.

    Yields:
        arrays [B, ...] in dicts as `batch` has them, with B = len(rows).
    """
    step = start_step
    while True:
        drawn = [_row(description["batch"], (seed, step, int(row))) for row in rows]
        yield _stacked(drawn)
        step += 1


def _row(fields: Mapping[str, Any], seed: tuple[int, ...]) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return map_fields(lambda field: _drawn(field, rng), fields)


def _drawn(field: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Whole numbers of [low, high), numbers between them, or normal ones."""
    shape, dtype = tuple(field["shape"]), np.dtype(field["dtype"])
    if dtype.kind in "iu":
        drawn = rng.integers(field["low"], field["high"], shape, dtype=dtype)
        return np.asarray(drawn)
    if "low" in field:
        return rng.uniform(field["low"], field["high"], shape).astype(dtype)
    return rng.standard_normal(shape, dtype=np.float32).astype(dtype)


def _stacked(rows: list[Any]) -> Any:
    """[{name: array}, ...] -> {name: [B, ...]}, through all dicts."""
    if isinstance(rows[0], Mapping):
        return {name: _stacked([row[name] for row in rows]) for name in rows[0]}
    return np.stack(rows)
