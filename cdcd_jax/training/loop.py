"""The one training loop, for every task.

Initialisation, in this order: the work directory's newest sound checkpoint; else
`init_from`; else from scratch. The key of step n is fold_in(seed, n), microbatches fold
in their number, and the input stream's position is the step, so that a resumed run
equals an unbroken one.
"""

import contextlib
import itertools
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from cdcd_jax.config import differences, merge, with_defaults
from cdcd_jax.data.synthetic import synthetic_batches
from cdcd_jax.errors import InputError, Stopped, UsageError
from cdcd_jax.planning import flops
from cdcd_jax.reporting import report
from cdcd_jax.runtime import hosts, sharding
from cdcd_jax.runtime.checkpoint import Checkpoints, load_parts
from cdcd_jax.tasks import make_task
from cdcd_jax.training import observe
from cdcd_jax.training.optimizer import make_optimizer
from cdcd_jax.training.step import TrainState, init_state, make_train_step


def abstract_state(task: Any, optimizer: Any, mesh: Mesh | None = None) -> TrainState:
    """Shapes, types and (given a mesh) places of the state, without computing it."""
    state = jax.eval_shape(lambda: init_state(task, optimizer, 0))
    return state if mesh is None else _placed(state, sharding.state_shardings, mesh)


def abstract_batch(config: Mapping[str, Any], task: Any, mesh: Mesh | None = None):
    """The same of a batch."""
    size = config["data"]["batch_size"]
    row = next(synthetic_batches(task.describe(), np.arange(1)))
    batch = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct((size, *a.shape[1:]), a.dtype), row
    )
    return batch if mesh is None else _placed(batch, sharding.batch_shardings, mesh)


def _placed(abstract: Any, shardings: Callable, mesh: Mesh) -> Any:
    return jax.tree.map(
        lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
        abstract,
        shardings(abstract, mesh),
    )


def new_state(task: Any, optimizer: Any, seed: int, mesh: Mesh) -> TrainState:
    """A fresh state, every array made where it is to lie."""
    shardings = sharding.state_shardings(abstract_state(task, optimizer), mesh)
    with sharding.use(mesh):
        return jax.jit(
            lambda: init_state(task, optimizer, seed), out_shardings=shardings
        )()


def jit_step(
    task: Any, optimizer: Any, config: Mapping[str, Any], mesh: Mesh
) -> jax.stages.Wrapped:
    """`make_train_step` for a mesh; call it inside `sharding.use(mesh)`.

    The old state is donated: its memory becomes the new one's.
    """
    shardings = sharding.state_shardings(abstract_state(task, optimizer), mesh)
    return jax.jit(
        make_train_step(task, optimizer, config),
        donate_argnums=0,
        out_shardings=(shardings, sharding.replicated(mesh)),
    )


def model_flops(config: Mapping[str, Any]) -> float:
    """FLOPs of the matrix products of one example's training: see `flops`."""
    if "attention" in config["model"]:  # fused kernels are opaque to the count
        config = merge(config, {"model": {"attention": "xla"}})
    task = make_task(config)
    size = config["data"]["batch_size"] // config["optim"]["accumulate"]
    small = merge(config, {"data": {"batch_size": size}})
    params, extra = jax.eval_shape(task.init, jax.random.key(0))
    batch = abstract_batch(small, task)
    forward = flops.matmul_flops(
        task.loss, params, extra, batch, jax.random.key(0), jnp.int32(0)
    )
    return 3.0 * forward / size


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


def place(config: Mapping[str, Any], task: Any) -> Mesh:
    """The mesh of the config, on all devices.

    Raises:
        UsageError: it does not fit the devices or the batch, or parts rows that a
            contrast needs together.
    """
    rows = config["data"]["batch_size"] // config["optim"]["accumulate"]
    mesh = sharding.make_mesh(config["mesh"], rows)
    check_groups(config, task, mesh)
    return mesh


def check_groups(config: Mapping[str, Any], task: Any, mesh: Mesh) -> None:
    """Raises UsageError where a device would hold a part of a group of negatives."""
    rows = config["data"]["batch_size"] // config["optim"]["accumulate"]
    group, shards = task.describe()["group"], sharding.batch_shards(mesh)
    if rows // shards % group:
        raise UsageError(
            f"contrastive.group = {group} examples do not stay together: mesh data x "
            f"fsdp = {shards} devices hold {rows // shards} examples each. Set "
            "contrastive.group to a divisor of that, raise data.batch_size, or set "
            "mesh.data=1"
        )


def input_stream(
    config: Mapping[str, Any],
) -> Callable[[int, np.ndarray], Iterator[Any]]:
    """(start step, rows) -> batches of the config's data, or of random numbers.

    Raises:
        InputError: missing, damaged or unlike data.
    """
    data, seed = config["data"], config["seed"]
    description = make_task(config).describe()
    if data["synthetic"]:

        def batches(step: int, rows: np.ndarray) -> Iterator[Any]:
            return synthetic_batches(description, rows, seed, step)
    else:
        # here, so that random batches need no grain
        from cdcd_jax.data import pipeline

        examples = pipeline.open_training(config, description)

        def batches(step: int, rows: np.ndarray) -> Iterator[Any]:
            return pipeline.training_batches(
                examples,
                batch_size=data["batch_size"],
                seed=seed,
                start_step=step,
                threads=data["threads"],
                rows=rows,
            )

    if not data["reuse_batch"]:
        return batches
    return lambda step, rows: (b for b in itertools.repeat(next(batches(0, rows))))


def claim_workdir(config: Mapping[str, Any], workdir: pathlib.Path) -> None:
    """Writes `config.json`, or checks that the run there is this one.

    Raises:
        UsageError: the directory holds the run of another config.
    """
    path = workdir / "config.json"
    if path.exists():
        try:
            old = dict(json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"Found a bad {path} ({error}); expected the settings of that run; "
                "bring back a copy, or choose another --workdir."
            ) from error
        # as json has it: tuples are lists there
        found = differences(with_defaults(old), json.loads(json.dumps(config)))
        if found:
            raise UsageError(
                f"{workdir} holds a run of another config, which differs in "
                f"{'; '.join(found)}. Choose another --workdir, or the same settings "
                "to continue that run; nothing was changed"
            )
    hosts.wait_for_all("config")
    if hosts.is_main():
        workdir.mkdir(parents=True, exist_ok=True)
        report.write_json(path, config)


def start(
    config: Mapping[str, Any],
    task: Any,
    optimizer: Any,
    checkpoints: Checkpoints,
    mesh: Mesh,
) -> TrainState:
    """The state to go on from, in the order of the file's head."""
    abstract = abstract_state(task, optimizer, mesh)
    restored = checkpoints.restore(abstract)
    if restored is not None:
        return restored[1]
    needed = set(task.describe()["given"]) - set(config["init_parts"])
    if needed and not config["init_from"]:
        raise UsageError(
            f"{', '.join(sorted(needed))} must come from other weights, which this "
            "config does not name: set init_parts or init_from, or do without "
            "(losses.perceptual = 0, quantizer.remap = 0)"
        )
    state = new_state(task, optimizer, config["seed"], mesh)
    params = state.params
    if config["init_from"]:
        kept = {k: abstract.extra[k] for k in task.describe()["kept"]}
        _, params, extra = load_parts(config["init_from"], abstract.params, kept)
        state = state.replace(extra={**state.extra, **extra})
    for name, source in config["init_parts"].items():
        params = _with_part(params, abstract.params, name, source)
    if params is state.params:
        return state
    return state.replace(params=params, ema_params=jax.tree.map(jnp.copy, params))


def _with_part(params: Any, abstract: Any, name: str, source: str) -> Any:
    """`params` with the part `name` of a work directory; see config.init_parts.

    Raises:
        UsageError: no such part of this model.
        InputError: no such part there, or one of other shapes.
    """
    first, _, rest = name.partition("/")
    if first not in params:
        raise UsageError(
            f"config.init_parts names {first!r}, which is no part of this model: "
            f"expected some of {', '.join(params)}"
        )
    if not rest:
        return {**params, **load_parts(source, {name: abstract[name]}, {})[1]}
    if "/" not in rest and rest in params[first]:  # the source is that part alone
        loaded = load_parts(source, abstract[first][rest], {})[1]
        return {**params, first: {**params[first], rest: loaded}}
    return {**params, first: _with_part(params[first], abstract[first], rest, source)}


def load_params(
    workdir: str | pathlib.Path, abstract: TrainState
) -> tuple[int, Any, Any]:
    """Step, averaged parameters and extra of a work directory's newest checkpoint.

    Raises:
        InputError: there is none.
    """
    return load_parts(workdir, abstract.ema_params, abstract.extra)


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
        stack.enter_context(contextlib.closing(checkpoints))
        stop = stack.enter_context(hosts.stop_signals())
        stack.enter_context(sharding.use(mesh))
        state = start(config, task, optimizer, checkpoints, mesh)
        step = first = int(state.step)
        if step > total:
            raise UsageError(
                f"{workdir} holds a run of {step} steps, more than optim.num_steps = "
                f"{total}: choose another --workdir, or as many steps or more"
            )
        if step == total:
            return 0.0
        update = jit_step(task, optimizer, config, mesh)
        size = config["data"]["batch_size"]
        stream = batches(step, sharding.process_rows(mesh, size))
        stack.callback(stream.close)
        clock = observe.Clock(config, task, mesh, model_flops(config))
        reports = report.Reports(workdir, total, step, enabled=hosts.is_main())
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
            with trace.step(step + 1), clock.running():
                state, metrics = update(state, batch)
            step += 1
            pending.append((step, metrics))
            clock.keep_near(metrics["loss"])
            last, stopped = step == total, stop.after(step)
            if due(settings["log_every"], step, total) or step == first + 1 or stopped:
                row = jax.tree.map(float, check_finite(pending)[-1][1])
                pending.clear()
                reports.write(step, {**row, **clock.row(step)})
            if due(settings["checkpoint_every"], step, total) or last or stopped:
                check_finite(pending)
                pending.clear()
                checkpoints.save(step, state)
            if stopped:
                checkpoints.wait()
                raise Stopped(
                    f"stopped by {stop.reason} after step {step}; saved. The same "
                    "command goes on from there"
                )
            if due(settings["sample_every"], step, total) and not last:
                for name, picture in on_sample(step, task, state).items():
                    reports.image(step, name, picture)
                clock.restart()
        checkpoints.wait()
    if hosts.is_main():
        print(f"trained steps {first + 1}..{total} in {workdir}", file=sys.stderr)
    return time.perf_counter() - began
