"""Runs stages, and one training with its samples and its evaluation."""

import sys
from collections.abc import Mapping
from typing import Any

from cdcd_jax.config import resolve_stages
from cdcd_jax.generation.progress import draw_step_samples
from cdcd_jax.models.model import Trained
from cdcd_jax.models.vocabularies import keep_vocabulary
from cdcd_jax.runtime import hosts, lock
from cdcd_jax.stages import order
from cdcd_jax.training.inputs import input_stream
from cdcd_jax.training.loop import train
from cdcd_jax.training.workdir import claim_workdir


def run_stages(
    config: Mapping[str, Any],
    workdir: Any,
    mode: str,
    given: str = "",
    stage: str = "",
    views: int = 0,
    profile: tuple[int, int] | None = None,
) -> None:
    """Makes what must exist before a mode; of bad settings nothing is made.

    Args:
        config: a whole experiment.
        workdir: of the run; each stage lies in a folder of its own.
        mode: train or pretokenize.
        given: what --config named, for advice.
        stage: only this one and what it needs.
        views: of each training example in records; 0 for what the config says.
        profile: the steps (from, to) of which each training writes a trace.

    Raises:
        UsageError: settings of a stage, or of the config itself, that cannot be.
    """
    todo = order.todo(config, mode, workdir, given, stage)
    hosts.start()
    own = () if mode == "pretokenize" else (config,)
    for settings in (*own, *todo.values()):
        order.check(settings)
    for name, settings in todo.items():
        if settings["mode"] == "train":
            with lock.held(workdir / name):
                run_training(settings, workdir / name, workdir, profile)
        else:
            from cdcd_jax.stages.pretokenize import pretokenize

            made = order.settings(settings, workdir, views)
            with lock.held(workdir / name):
                pretokenize(made, workdir / name)


def run_training(
    config: Mapping[str, Any],
    workdir: Any,
    pipeline: Any,
    profile: tuple[int, int] | None = None,
) -> None:
    """Trains one model in its own directory, and evaluates it where the config says so.

    Args:
        pipeline: the work directory of the whole run, in which stages lie.
    """
    resolved = resolve_stages(config, pipeline)
    batches, data = input_stream(resolved), None
    if not config["data"]["synthetic"]:  # what a later part needs is missed now
        from cdcd_jax.evaluation.evaluate import open_data

        data = open_data(Trained(resolved, workdir))
    draw = draw_step_samples(resolved, workdir)
    claim_workdir(config, workdir)
    if data is not None:
        keep_vocabulary(data, workdir)
    seconds = train(resolved, workdir, batches, draw, profile)
    if hosts.is_main():
        print(f"training {seconds:.1f} s", file=sys.stderr)
    if config["eval"]["at_end"]:
        from cdcd_jax.evaluation.evaluate import evaluate

        evaluate(Trained(resolved, workdir))
