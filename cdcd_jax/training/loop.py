"""The one training loop, for every task.

The key of step n is fold_in(seed, n), microbatches fold in their number, and the input
stream's position is the step, so that a resumed run equals an unbroken one. Where a run
starts from is said in `start`.
"""

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from cdcd_jax.config import joined
from cdcd_jax.errors import InputError, Stopped, UsageError
from cdcd_jax.reporting import metrics_log
from cdcd_jax.runtime import hosts, lock, sharding
from cdcd_jax.runtime.checkpoint import Checkpoints
from cdcd_jax.runtime.memory import explained
from cdcd_jax.training import observe
from cdcd_jax.training.inputs import check_first, checked
from cdcd_jax.training.memory import needs, remedies
from cdcd_jax.training.program import (
    abstract_state,
    build,
    jit_step,
    model_flops,
    place,
)
from cdcd_jax.training.start import starting_state
from cdcd_jax.training.step import TrainState
from cdcd_jax.training.telling import tell_start


def due(every: int, step: int, total: int) -> bool:
    """Whether something done every so many steps, 0 for never, is due after `step`."""
    return bool(every) and (step % every == 0 or step == total)


def check_finite(pending: list[tuple[int, dict]]) -> list[tuple[int, dict]]:
    """Fetches metrics of past steps.

    Raises:
        InputError: the first step whose loss or gradient is not finite.
    """
    fetched = jax.device_get(pending)
    for step, metrics in fetched:
        bad = [k for k in ("loss", "grad_norm") if not np.isfinite(metrics[k])]
        if bad:
            raise InputError(
                f"{bad[0]} became {metrics[bad[0]]} in step {step}; the newest "
                "checkpoint is from before it. Start again in another --workdir with a "
                "lower optim.learning_rate, contrastive.weight or optim.clip_norm; "
                "init_from=<this work directory> takes its parameters along"
            )
    return fetched


def train(
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    batches: Callable[[int, np.ndarray], Iterator[Any]],
    on_sample: Callable[[int, Any, TrainState], Mapping[str, np.ndarray]],
    profile: tuple[int, int] | None = None,
) -> float:
    """Trains to `optim.num_steps`, from wherever the work directory stands.

    Args:
        config: a whole experiment.
        workdir: gets metrics.jsonl, tensorboard/ and checkpoints/.
        batches: start step, rows -> the stream of batches from there on, of which this
            process gets the rows of these numbers.
        on_sample: (step, task, state) -> pictures uint8 [H, W, C] by name, called every
            `report.sample_every` steps.
        profile: the steps (from, to) of which to write a trace.

    Returns:
        seconds of training in this call, compilation included; 0 if nothing was left.

    Raises:
        Stopped: a stop signal came; the state was saved.
        InputError: unusable data or checkpoints, or a loss that is not finite.
    """
    began = time.perf_counter()
    task, optimizer = build(config)
    mesh = place(config, task)
    settings, total = config["report"], config["optim"]["num_steps"]
    checkpoints = Checkpoints(workdir / "checkpoints", settings["keep_checkpoints"])
    with contextlib.ExitStack() as stack:
        stack.enter_context(explained(*remedies(config)))
        stack.enter_context(contextlib.closing(checkpoints))
        stop = stack.enter_context(hosts.stop_signals())
        stack.enter_context(sharding.use(mesh))
        state = starting_state(config, task, optimizer, checkpoints, mesh)
        step = first = int(state.step)
        if step > total:
            raise UsageError(
                f"{workdir} holds a run of {step} steps, more than optim.num_steps = "
                f"{total}: choose another --workdir, or as many steps or more"
            )
        if step == total:
            if not step:  # of no steps: what it starts from
                checkpoints.save(step, state, anew=joined(config))
                checkpoints.wait()
            return 0.0
        checkpoints.check_room(abstract_state(task, optimizer))
        tell_start(state, mesh, first, total)
        hosts.say(needs(config, task, optimizer, mesh).told())
        update = jit_step(task, optimizer, config, mesh)
        size = config["data"]["batch_size"]
        stream = batches(step, sharding.process_rows(mesh, size))
        stack.callback(stream.close)
        stream = checked(stream, task.describe()["batch"])
        clock = observe.Clock(config, task, mesh, model_flops(config))
        reports = metrics_log.Reports(
            workdir, total, step, enabled=hosts.is_main(), now=clock.watch.seconds
        )
        stack.enter_context(contextlib.closing(reports))
        trace = stack.enter_context(observe.Trace(workdir, profile))
        pending: list[tuple[int, dict]] = []
        while step < total:
            try:
                with clock.waiting():
                    batch = sharding.put_batch(next(stream), mesh, size)
            except InputError:  # a damaged record; what was computed is kept
                check_finite(pending)
                if jax.process_count() == 1:  # alone; saving takes all processes
                    checkpoints.save(step, state)
                raise
            if step == first:
                if not step:  # what trained so far goes on
                    check_first(task, state.params, batch)
                hosts.say("compiling the step (a large model takes minutes) ...")
            with trace.step(step + 1), clock.running():
                state, metrics = update(state, batch)
            if step == first:
                hosts.say(f"compiled in {clock.compile_seconds:.1f} s")
            step += 1
            pending.append((step, metrics))
            clock.keep_near(metrics["loss"])
            last, stopped = step == total, stop.after(step)
            if due(settings["log_every"], step, total) or step == first + 1 or stopped:
                row = jax.tree.map(float, check_finite(pending)[-1][1])
                pending.clear()
                lock.check_held(workdir)
                reports.write(step, {**row, **clock.row(step)})
            if due(settings["checkpoint_every"], step, total) or last or stopped:
                check_finite(pending)
                pending.clear()
                lock.check_held(workdir)
                with clock.paused():
                    checkpoints.save(step, state)
            if stopped:
                checkpoints.wait()
                raise Stopped(
                    f"stopped by {stop.reason} after step {step}; saved. The same "
                    "command goes on from there",
                    stop.exit_code,
                )
            if due(settings["sample_every"], step, total) and not last:
                with clock.paused():
                    for name, picture in on_sample(step, task, state).items():
                        reports.image(step, name, picture)
        checkpoints.wait()
    hosts.say(f"trained steps {first + 1}..{total} in {workdir}")
    return time.perf_counter() - began
