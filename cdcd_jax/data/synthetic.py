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
        {"tokens": int32 [B, L], "condition": {name: [B, ...]}} with B = len(rows), and
        "negatives" where the task takes them; or what the task's `media` says.
    """
    step = start_step
    while True:
        if "media" in description:
            media = description["media"]
            drawn = [_media(media, (seed, step, int(row))) for row in rows]
            yield {media["kind"]: np.stack(drawn)}
            step += 1
            continue
        drawn = [_row(description, (seed, step, int(row))) for row in rows]
        condition = {
            name: np.stack([row["condition"][name] for row in drawn])
            for name in description["conditions"]
        }
        tokens = np.stack([row["tokens"] for row in drawn])
        batch = {"tokens": tokens, "condition": condition}
        if "negatives" in drawn[0]:
            batch["negatives"] = np.stack([row["negatives"] for row in drawn])
        yield batch
        step += 1


def _row(description: Mapping[str, Any], seed: tuple[int, ...]) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shape = description["outputs"]["tokens"]
    tokens = rng.integers(0, description["num_codes"], shape, dtype=np.int32)
    condition = {}
    for name, spec in description["conditions"].items():
        condition[name] = _condition(spec, rng)
    row = {"tokens": tokens, "condition": condition}
    if description["negatives"]:
        shape = (description["negatives"], *tokens.shape)
        row["negatives"] = rng.integers(
            0, description["num_codes"], shape, dtype=np.int32
        )
    return row


def _condition(spec: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """A label, tokens of a text without padding, or normal numbers."""
    if spec["kind"] == "label":
        return np.int32(rng.integers(spec["num_classes"]))
    shape = tuple(spec["shape"])
    if spec["kind"] in ("text", "clip_text"):
        return rng.integers(1, spec["vocabulary"], shape, dtype=np.int32)
    return rng.standard_normal(shape, dtype=np.float32)


def _media(media: Mapping[str, Any], seed: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if media["kind"] == "image":
        return rng.integers(0, 256, media["shape"], dtype=np.uint8)
    return rng.uniform(-1.0, 1.0, media["shape"]).astype(np.float32)
