"""Random batches of the shape that a task takes: to time a step without records.

Needs numpy only.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


def synthetic_batches(
    description: Mapping[str, Any],
    rows: np.ndarray,
    seed: int = 0,
    start_step: int = 0,
) -> Iterator[dict[str, Any]]:
    """Endless batches; each row depends on seed, step and its number alone.

    Args:
        description: the task's `describe()`.
        rows: numbers of this process's rows in the global batch.
        seed: of the random numbers.
        start_step: the first batch's step.

    Yields:
        {"tokens": int32 [B, L], "condition": {name: [B, ...]}} with B = len(rows).
    """
    step = start_step
    while True:
        drawn = [_row(description, (seed, step, int(row))) for row in rows]
        condition = {
            name: np.stack([row["condition"][name] for row in drawn])
            for name in description["conditions"]
        }
        tokens = np.stack([row["tokens"] for row in drawn])
        yield {"tokens": tokens, "condition": condition}
        step += 1


def _row(description: Mapping[str, Any], seed: tuple[int, ...]) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shape = description["outputs"]["tokens"]
    tokens = rng.integers(0, description["num_codes"], shape, dtype=np.int32)
    condition = {}
    for name, spec in description["conditions"].items():
        if spec["kind"] == "label":
            condition[name] = np.int32(rng.integers(spec["num_classes"]))
        else:
            shape = tuple(spec["shape"])
            condition[name] = rng.standard_normal(shape, dtype=np.float32)
    return {"tokens": tokens, "condition": condition}
