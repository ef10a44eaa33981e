"""The one training loop, for every task.

Initialisation, in this order: the work directory's newest sound checkpoint; else
`init_from`; else from scratch. The key of step n is fold_in(seed, n), microbatches fold
in their number, and the input stream's position is the step, so that a resumed run
equals an unbroken one.
"""

import contextlib
import json
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from cdcd_jax import report
from cdcd_jax.checkpoint import Checkpoints
from cdcd_jax.config import differences
from cdcd_jax.errors import InputError, Stopped, UsageError
from cdcd_jax.tasks import make_task


class TrainState(flax.struct.PyTreeNode):
    """All that changes during training."""

    step: jax.Array  # int32 [], updates done
    params: Any
    ema_params: Any
    opt_state: Any
    extra: Any  # the task's state that is not trained


def learning_rate(optim: Mapping[str, Any]) -> optax.Schedule:
    """Linear warm-up, then cosine to 0, or constant (also under a plateau rule).

    Raises:
        UsageError: unknown `optim.schedule`.
    """
    peak, warmup = optim["learning_rate"], optim["warmup_steps"]
    if optim["schedule"] == "cosine":
        decay = optax.cosine_decay_schedule(peak, max(optim["num_steps"] - warmup, 1))
    elif optim["schedule"] in ("constant", "plateau"):
        decay = optax.constant_schedule(peak)
    else:
        raise UsageError(
            f"optim.schedule = {optim['schedule']!r} is unknown: choose one of cosine, "
            "plateau, constant"
        )
    rise = optax.linear_schedule(0.0, peak, max(warmup, 1))
    return optax.join_schedules([rise, decay], [warmup])


def make_optimizer(
    optim: Mapping[str, Any], labels: Any
) -> optax.GradientTransformationExtraArgs:
    """AdamW with clipping for what is labelled 'train'; 'frozen' stays as it is."""
    parts = [
        optax.clip_by_global_norm(optim["clip_norm"]),
        optax.adamw(
            learning_rate(optim),
            *optim["betas"],
            weight_decay=optim["weight_decay"],
            mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params),
        ),
    ]
    if optim["schedule"] == "plateau":
        plateau = optim["plateau"]
        rule = optax.contrib.reduce_on_plateau(
            factor=plateau["factor"],
            patience=plateau["patience"],
            rtol=plateau["threshold"],
        )
        parts.append(rule)
    return optax.with_extra_args_support(
        optax.multi_transform(
            {"train": optax.chain(*parts), "frozen": optax.set_to_zero()}, labels
        )
    )


def init_state(task: Any, optimizer: Any, seed: int) -> TrainState:
    """A fresh state; the parameters depend on the seed alone."""
    params, extra = task.init(jax.random.key(seed))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        ema_params=jax.tree.map(jnp.copy, params),
        opt_state=optimizer.init(params),
        extra=extra,
    )


def split_microbatches(batch: Any, number: int) -> Any:
    """[B, ...] -> [number, B / number, ...], strided: microbatch i holds i, i + n, ...

    A contiguous split of a batch that is sharded over devices would gather it.
    """
    return jax.tree.map(
        lambda a: a.reshape(a.shape[0] // number, number, *a.shape[1:]).swapaxes(0, 1),
        batch,
    )


def make_train_step(
    task: Any, optimizer: Any, config: Mapping[str, Any]
) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]:
    """One update, (state, batch) -> (state, metrics), for `jax.jit` with donation."""
    optim, seed = config["optim"], config["seed"]
    number = optim["accumulate"]
    rate = learning_rate(optim)
    value_and_grad = jax.value_and_grad(
        lambda *args: _with_aux(task.loss(*args)), has_aux=True
    )

    def train_step(state: TrainState, batch: Any):
        # a stream of its own, apart from that of the initialisation
        base = jax.random.fold_in(jax.random.key(seed), 1)
        key = jax.random.fold_in(base, state.step)

        def accumulate(extra, inputs):
            microbatch, i = inputs
            (_, (metrics, extra)), grads = value_and_grad(
                state.params, extra, microbatch, jax.random.fold_in(key, i), state.step
            )
            return extra, (grads, metrics)

        inputs = (split_microbatches(batch, number), jnp.arange(number))
        if number == 1:
            one = jax.tree.map(lambda a: a[0], inputs)
            extra, (grads, metrics) = accumulate(state.extra, one)
        else:
            grads, metrics, extra = _scan_mean(accumulate, state.extra, inputs, number)
        watched = optim["plateau"]["metric"]
        if watched not in metrics:
            raise UsageError(
                f"optim.plateau.metric = {watched!r} is unknown: choose one of "
                f"{', '.join(metrics)}"
            )
        value = metrics[watched]
        updates, opt_state = optimizer.update(
            grads, state.opt_state, state.params, value=value
        )
        params = optax.apply_updates(state.params, updates)
        # averages over the run so far until that is longer than the decay's memory
        step = state.step + 1
        decay = jnp.minimum(optim["ema_decay"], (1 + step) / (10 + step))
        ema_params = optax.incremental_update(params, state.ema_params, 1 - decay)
        metrics = {
            **metrics,
            "learning_rate": rate(state.step),
            "grad_norm": optax.tree.norm(grads),
            "param_norm": optax.tree.norm(params),
            "update_norm": optax.tree.norm(updates),
        }
        return TrainState(step, params, ema_params, opt_state, extra), metrics

    return train_step


def _with_aux(result: tuple) -> tuple:
    loss, metrics, extra = result
    return loss, ({"loss": loss, **metrics}, extra)


def _scan_mean(accumulate: Callable, extra: Any, inputs: Any, number: int) -> tuple:
    """Runs the microbatches in a scan and averages gradients and metrics."""
    first = jax.tree.map(lambda a: a[0], inputs)
    shapes = jax.eval_shape(accumulate, extra, first)[1]
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def body(carry, xs):
        extra, total = carry
        extra, new = accumulate(extra, xs)
        return (extra, jax.tree.map(jnp.add, total, new)), None

    (extra, total), _ = jax.lax.scan(body, (extra, zeros), inputs)
    grads, metrics = jax.tree.map(lambda a: a / number, total)
    return grads, metrics, extra


def abstract_state(task: Any, optimizer: Any) -> TrainState:
    """Shapes and types of the state, without computing it."""
    return jax.eval_shape(lambda: init_state(task, optimizer, 0))


def build(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """The task and the optimizer that a config describes.

    Raises:
        UsageError: settings that contradict each other or that do not exist.
    """
    size, number = config["data"]["batch_size"], config["optim"]["accumulate"]
    if size < 1 or number < 1 or size % number:
        raise UsageError(
            f"data.batch_size = {size} must be a positive multiple of optim.accumulate "
            f"= {number}: change one of both"
        )
    task = make_task(config)
    shapes = jax.eval_shape(task.init, jax.random.key(0))[0]
    return task, make_optimizer(config["optim"], task.labels(shapes))


def claim_workdir(config: Mapping[str, Any], workdir: pathlib.Path) -> None:
    """Writes `config.json`, or checks that the run there is this one.

    Raises:
        UsageError: the directory holds the run of another config.
    """
    path = workdir / "config.json"
    if path.exists():
        old = json.loads(path.read_text())
        # as json has it: tuples are lists there
        found = differences(old, json.loads(json.dumps(config)))
        if found:
            raise UsageError(
                f"{workdir} holds a run of another config, which differs in "
                f"{'; '.join(found)}. Choose another --workdir, or the same settings "
                "to continue that run; nothing was changed"
            )
    workdir.mkdir(parents=True, exist_ok=True)
    report.write_json(path, config)


def start(
    config: Mapping[str, Any], task: Any, optimizer: Any, checkpoints: Checkpoints
) -> TrainState:
    """The state to go on from, in the order of the file's head."""
    abstract = abstract_state(task, optimizer)
    restored = checkpoints.restore(abstract)
    if restored is not None:
        return restored[1]
    state = jax.jit(lambda: init_state(task, optimizer, config["seed"]))()
    if config["init_from"]:
        params = load_params(config["init_from"], abstract)[1]
        state = state.replace(params=params, ema_params=jax.tree.map(jnp.copy, params))
    return state


def load_params(
    workdir: str | pathlib.Path, abstract: TrainState
) -> tuple[int, Any, Any]:
    """Step, averaged parameters and extra of a work directory's newest checkpoint.

    Raises:
        InputError: there is none.
    """
    with Checkpoints(pathlib.Path(workdir) / "checkpoints") as checkpoints:
        restored = checkpoints.restore(abstract)
    if restored is None:
        raise InputError(
            f"no checkpoint in {workdir}: a directory that a training run wrote was "
            "expected; train first, or name another --workdir"
        )
    step, state = restored
    return step, state.ema_params, state.extra


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT instead of dying of them."""
    received: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    old = [signal.signal(n, lambda number, _: received.append(number)) for n in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)


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
    batches: Callable[[int], Iterator[Any]],
    on_sample: Callable[[int, Any, TrainState], Mapping[str, np.ndarray]],
) -> float:
    """Trains to `optim.num_steps`, from wherever the work directory stands.

    Args:
        config: a whole experiment.
        workdir: gets metrics.jsonl, tensorboard/ and checkpoints/.
        batches: start step -> the stream of batches from there on.
        on_sample: (step, task, state) -> pictures uint8 [H, W, C] by name, called every
            `report.sample_every` steps.

    Returns:
        seconds of training in this call, compilation included; 0 if nothing was left.

    Raises:
        Stopped: a stop signal came; the state was saved.
        InputError: unusable data or checkpoints, or a loss that is not finite.
    """
    began = time.perf_counter()
    task, optimizer = build(config)
    settings, total = config["report"], config["optim"]["num_steps"]
    checkpoints = Checkpoints(workdir / "checkpoints", settings["keep_checkpoints"])
    with contextlib.closing(checkpoints), stop_signals() as received:
        state = start(config, task, optimizer, checkpoints)
        step = first = int(state.step)
        if step > total:
            raise UsageError(
                f"{workdir} holds a run of {step} steps, more than optim.num_steps = "
                f"{total}: choose another --workdir, or as many steps or more"
            )
        if step == total:
            return 0.0
        update = jax.jit(make_train_step(task, optimizer, config), donate_argnums=0)
        stream = batches(step)
        writer = report.MetricsWriter(workdir, resume_step=step)
        progress = report.Progress(total, step)
        pending: list[tuple[int, dict]] = []
        clock, clock_step = None, step
        with contextlib.closing(writer), contextlib.closing(progress):
            while step < total:
                try:
                    batch = next(stream)
                except InputError:  # a damaged record; what was computed is kept
                    check_finite(pending)
                    checkpoints.save(step, state)
                    raise
                state, metrics = update(state, batch)
                step += 1
                pending.append((step, metrics))
                last = step == total
                stop = bool(received)
                if due(settings["log_every"], step, total) or step == first + 1 or stop:
                    row = jax.tree.map(float, check_finite(pending)[-1][1])
                    pending.clear()
                    now = time.perf_counter()
                    if clock is not None:
                        rate = (step - clock_step) / (now - clock)
                        row["steps_per_second"] = rate
                        row["examples_per_second"] = rate * config["data"]["batch_size"]
                    clock, clock_step = now, step
                    writer.write(step, row)
                    progress.update(step, row)
                if due(settings["checkpoint_every"], step, total) or last or stop:
                    check_finite(pending)
                    pending.clear()
                    checkpoints.save(step, state)
                if stop:
                    checkpoints.wait()
                    progress.close()
                    raise Stopped(
                        f"stopped by {signal.Signals(received[0]).name} after step "
                        f"{step}; saved. The same command goes on from there"
                    )
                if due(settings["sample_every"], step, total) and not last:
                    for name, picture in on_sample(step, task, state).items():
                        writer.image(step, name, picture)
                    clock = None
            checkpoints.wait()
    print(f"trained steps {first + 1}..{total} in {workdir}", file=sys.stderr)
    return time.perf_counter() - began
