"""Figures of tasks that draw nothing new: what they say of held-out examples.

A tokenizer's reconstructions of raw ones, and what a task that gives vectors makes of
records.
"""

import time
from typing import Any

from cdcd_jax.data.card import Card
from cdcd_jax.data.pipeline import spread_records
from cdcd_jax.data.raw_examples import raw_pass
from cdcd_jax.generation.generate import reconstruct
from cdcd_jax.generation.rows import draw_key
from cdcd_jax.models.model import Trained
from cdcd_jax.reporting.samples import check_place


def reconstructed(model: Trained, source: Any) -> tuple[dict[str, float], str]:
    """The figures of a tokenizer, and what they took."""
    began, settings = time.perf_counter(), model.config["eval"]
    directory = model.workdir / "samples" / "reconstructions"
    check_place(directory)
    kind = model.description["media"]["kind"]
    split = source.split(settings["split"])
    size = model.config["data"]["batch_size"]
    batches = {"test": raw_pass(split, kind, settings["num_samples"], size)}
    if settings["figures"]:  # which a classifier of real examples judges
        real = source.split("train")
        batches["train"] = raw_pass(real, kind, len(real), size)
    figures = model.task.evaluate(*model.weights[1:], batches, None)
    reconstruct(model).save(directory)
    return figures, f"evaluation {time.perf_counter() - began:.1f} s"


def found(model: Trained, card: Card) -> tuple[dict[str, float], str]:
    """The figures of a task without outputs, and what they took."""
    began, settings = time.perf_counter(), model.config["eval"]

    def batch(split: str) -> Any:
        number = min(card.splits[split].num_records, settings["num_samples"])
        return spread_records(card, split, number)

    batches = {"train": batch("train"), "test": batch(settings["split"])}
    key = draw_key(model.config, "evaluate")
    figures = model.task.evaluate(*model.weights[1:], batches, key)
    return figures, f"evaluation {time.perf_counter() - began:.1f} s"
