"""Sheets of samples that are drawn while a model is trained."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cdcd_jax.config import merge
from cdcd_jax.errors import UsageError
from cdcd_jax.generation.canvases import draw_samples
from cdcd_jax.generation.generate import held_out
from cdcd_jax.generation.rows import draw_key, standing_for_all, told
from cdcd_jax.models.model import Trained
from cdcd_jax.reporting.samples import compare, write_samples

NUMBER = 100  # samples of a sheet

# (step, task, state) -> pictures uint8 [H, W, C] by name
Show = Callable[[int, Any, Any], dict[str, np.ndarray]]


def draw_step_samples(config: Mapping[str, Any], workdir: Any) -> Show:
    """What the loop calls every `report.sample_every` steps: a sheet of samples.

    Of a tokenizer, these are reconstructions of held-out examples.

    Args:
        config: a whole experiment, its stages resolved.

    Raises:
        UsageError: sheets of a task that draws nothing.
        InputError: no such tokenizer, or unusable data.
    """
    if not config["report"]["sample_every"]:
        return lambda step, task, state: {}
    model = Trained(config, workdir)
    if "media" in model.description:
        return _reconstructions(model)
    if not model.description["outputs"]:
        raise UsageError(
            f"Found report.sample_every = {config['report']['sample_every']} with task "
            f"= {config['task']!r}, which draws no samples; expected 0; set it."
        )
    return _samples(model)


def _reconstructions(model: Trained) -> Show:
    shown = held_out(model.config, model.task, model.config["eval"]["shown"])
    rate = model.description["media"].get("sample_rate")

    def show(step: int, task: Any, state: Any) -> dict[str, np.ndarray]:
        outputs = task.sample(state.ema_params, state.extra, shown, None, None)
        directory = model.workdir / "samples" / f"step_{step}"
        return {"reconstructions": compare(directory, shown, outputs, rate)}

    return show


def _samples(model: Trained) -> Show:
    config, decoders = model.config, model.decoders
    if config["sampling"]["grid"] == "optimised":  # which nothing is known for yet
        config = merge(config, {"sampling": {"grid": "uniform"}})

    def show(step: int, task: Any, state: Any) -> dict[str, np.ndarray]:
        name = f"step_{step}"
        rows = told(model, standing_for_all(model, NUMBER))
        outputs, _ = draw_samples(
            *(config, task, decoders, (state.ema_params, state.extra), rows.condition),
            *(draw_key(config, name), NUMBER),
        )
        sheet = write_samples(
            model.workdir / "samples" / name,
            outputs,
            rows.condition | rows.texts,
            decoders.media,
            single_files=False,
            titles=rows.titles,
        )
        return {} if sheet is None else {"samples": sheet}

    return show
