"""`--mode=plan`: what a config takes on TPUs that are not there.

Compiles the real train step and the real sampler for a topology with libtpu, on a
machine without a TPU, and reads memory, FLOPs, collectives and memory traffic from the
compiled programs. The bounds divide them by data-sheet figures (`chips`): no step can
be faster than the largest of them, and real ones are slower.
"""

import dataclasses
import pathlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from cdcd_jax.config.switches import with_attention, with_switches
from cdcd_jax.networks.attention import resolve
from cdcd_jax.planning import chips, flops, hlo, plan_report
from cdcd_jax.planning.topology import open_topology, use_cpu
from cdcd_jax.reporting import files
from cdcd_jax.runtime import sharding
from cdcd_jax.runtime.memory import bytes_of
from cdcd_jax.tasks import Task, make_task
from cdcd_jax.training.program import (
    abstract_batch,
    abstract_state,
    build,
    check_groups,
    jit_step,
    model_flops,
)


def plan(
    config: Mapping[str, Any],
    topology: str,
    price: float | None = None,
    workdir: pathlib.Path | None = None,
    programs: Sequence[str] = ("train", "sample"),
) -> dict[str, Any]:
    """Prints the report. Call it before anything else uses JAX: see `use_cpu`.

    A task that has no `sampling`, such as a tokenizer, is planned without a sampler.

    Args:
        config: a whole experiment; its mesh is laid over the topology's chips.
        topology: '<family>:<shape>', such as 'v5e:4x4' or 'v5p:2x2x2'.
        price: of a chip for an hour, in any currency; None leaves costs away.
        workdir: where `plan-<topology>.json` goes; None for nowhere.
        programs: which to compile.

    Returns:
        the figures: of the mesh, and under each program's name those of `measure`.

    Raises:
        UsageError: unknown topology, libtpu missing, or a mesh that does not fit.
    """
    use_cpu()
    chip, devices = open_topology(topology)
    config = with_switches(config, attention=lambda name: resolve(name, "tpu"))
    task, optimizer = build(config)
    rows = config["data"]["batch_size"] // config["optim"]["accumulate"]
    mesh = sharding.make_mesh(config["mesh"], rows, devices)
    check_groups(config, task, mesh)
    params = jax.eval_shape(task.init, jax.random.key(0))[0]
    figures: dict[str, Any] = dict(
        topology=topology,
        chip=chip.name,
        chips=mesh.size,
        chips_idle=len(devices) - mesh.size,
        mesh=dict(mesh.shape),
        parameters=sum(a.size for a in jax.tree.leaves(params)),
        settings=_settings(config, task, mesh),
        versions=dict(jax=jax.__version__, libtpu=_version("libtpu")),
    )
    jobs = dict(train=lambda: _train_job(config, task, optimizer, mesh))
    if hasattr(task, "sampling"):
        jobs["sample"] = lambda: _sample_job(config, task, mesh)
    for name in [name for name in programs if name in jobs]:
        print(f"compiling {name} for {topology}: minutes", file=sys.stderr)
        figures[name] = measure(jobs[name](), mesh, chip, price)
    figures["advice"] = advise(figures, chip.memory)
    print(plan_report.render(figures))
    if workdir is not None:
        workdir.mkdir(parents=True, exist_ok=True)
        name = topology.replace(":", "-")
        files.write_json(workdir / f"plan-{name}.json", figures)
    return figures


@dataclasses.dataclass(frozen=True)
class Job:
    """A program to compile, and what one call of it does."""

    lower: Callable[[], jax.stages.Lowered]
    arguments: Any  # tree of jax.ShapeDtypeStruct with shardings
    model_flops: float  # by the convention of `flops`, all chips together
    tokens: int  # all chips together


def _train_job(config: Mapping[str, Any], task: Any, optimizer: Any, mesh: Mesh) -> Job:
    state = abstract_state(task, optimizer, mesh)
    batch = abstract_batch(config, task, mesh)
    step = jit_step(task, optimizer, config, mesh)
    rows = config["data"]["batch_size"]
    return Job(
        lambda: step.lower(state, batch),
        (state, batch),
        model_flops(config) * rows,
        rows * task.describe()["units"],
    )


def _sample_job(config: Mapping[str, Any], task: Any, mesh: Mesh) -> Job:
    """One batch of samples, all its steps."""
    rows = config["sampling"]["batch_size"]
    options = task.options({**config["sampling"], "grid": "uniform"})
    draw, abstract = task.sampling(rows, options)
    params, condition, _ = abstract
    places = (
        sharding.state_shardings(params, mesh),
        sharding.batch_shardings(condition, mesh),
        sharding.replicated(mesh),
    )
    arguments = jax.tree.map(
        lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
        abstract,
        places,
    )
    plain, _ = make_task(with_attention(config, "xla")).sampling(rows, options)
    return Job(
        lambda: draw.lower(*arguments),
        arguments,
        flops.matmul_flops(plain, *abstract),
        rows * task.describe()["units"],
    )


def measure(
    job: Job, mesh: Mesh, chip: chips.Chip, price: float | None
) -> dict[str, Any]:
    """Compiles a job and reads its figures; bytes and FLOPs are those of one chip."""
    figures: dict[str, Any] = dict(
        memory=dict(arguments=bytes_of(job.arguments)),
        memory_available=chip.memory,
    )
    with sharding.use(mesh):
        lowered = job.lower()
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            needed = out_of_memory(str(error))
            if needed is None:
                raise
            figures["memory"]["total"] = needed
            return {**figures, "fits": False}
    found = compiled.memory_analysis()
    memory = dict(
        arguments=found.argument_size_in_bytes,
        outputs=found.output_size_in_bytes,
        aliased=found.alias_size_in_bytes,
        temporaries=found.temp_size_in_bytes,
        code=found.generated_code_size_in_bytes,
    )
    memory["total"] = sum(memory.values()) - 2 * memory["aliased"]
    program = hlo.analyse(compiled.as_text())
    return {
        **figures,
        "memory": memory,
        "fits": memory["total"] <= chip.memory,
        "model_flops": job.model_flops / mesh.size,
        "flops": program.flops,
        "kernels": dict(program.kernels),
        "bytes": program.bytes,
        "collectives": program.by_kind(),
        "network_bytes": program.network_bytes,
        "host_transfers": program.host_transfers,
        "unknown_loops": program.unknown_loops,
        "xla_flops": (compiled.cost_analysis() or {}).get("flops"),
        **bounds(program, job, mesh.size, chip, price),
    }


def bounds(
    program: hlo.Program, job: Job, number: int, chip: chips.Chip, price: float | None
) -> dict[str, Any]:
    """The least time by compute, memory and network, and what follows from it."""
    # a fused kernel's FLOPs are not in the text; the model's are a lower bound
    executed = max(program.flops, job.model_flops / number)
    seconds = dict(
        compute=executed / chip.peak_flops,
        memory=program.bytes / chip.memory_bytes,
        network=program.network_bytes / chip.network_bytes,
    )
    bound = max(seconds, key=seconds.__getitem__)
    least = seconds[bound]
    out = dict(
        seconds=seconds,
        bound=bound,
        step_seconds=least,
        tokens_per_second=job.tokens / least,
        mfu=job.model_flops / number / least / chip.peak_flops,
        intensity=program.flops / max(program.bytes, 1.0),
        intensity_of_chip=chip.peak_flops / chip.memory_bytes,
    )
    if price is not None:
        cost = price * number * least / 3600
        out["cost_per_1000_steps"] = 1000 * cost
        out["cost_per_million_tokens"] = 1e6 * cost / job.tokens
    return out


def out_of_memory(message: str) -> int | None:
    """The bytes that XLA wanted of a chip's memory; None for any other error."""
    units = dict(K=2**10, M=2**20, G=2**30, T=2**40)
    amount = r"([\d.]+)([KMGT]?)"
    forms = (rf"\({amount}\) exceeds available HBM", rf"Used {amount} of \S+ hbm")
    found = next(filter(None, (re.search(f, message) for f in forms)), None)
    if found is None:
        return None
    return int(float(found.group(1)) * units.get(found.group(2), 1))


def _settings(config: Mapping[str, Any], task: Task, mesh: Mesh) -> dict[str, Any]:
    """What the advice may change; None for what this config does not have."""
    model, shards = config["model"], sharding.batch_shards(mesh)
    size, accumulate = config["data"]["batch_size"], config["optim"]["accumulate"]
    return dict(
        batch_size=size,
        accumulate=accumulate,
        rows_per_chip=size // accumulate // shards,
        **{name: model.get(name) for name in ("remat", "head_chunk", "attention")},
        length=task.describe()["units"],
        sample_rows=config.get("sampling", {}).get("batch_size"),
        batch_shards=shards,
    )


def advise(figures: Mapping[str, Any], capacity: int) -> list[str]:
    """What to change where a program does not fit, the most useful first."""
    out = []
    settings, fsdp = figures["settings"], figures["mesh"]["fsdp"]
    fits = lambda name: figures.get(name, {}).get("fits", True)
    if not fits("train"):
        memory = figures["train"]["memory"]
        rest = memory["total"] - memory["arguments"]
        state = f"mesh.fsdp={_next_fsdp(fsdp, memory['arguments'], capacity)}"
        activations = _against_activations(settings)
        # fsdp also shards the gradients, which are temporaries
        first = memory["arguments"] > min(rest, capacity / 3)
        out += [state, *activations] if first else [*activations, state]
        out.append("more chips")
    if not fits("sample"):
        out.append(f"sampling.batch_size={max(settings['sample_rows'] // 2, 1)}")
    if (settings["sample_rows"] or 0) % settings["batch_shards"]:
        out.append(
            f"sampling.batch_size a multiple of {settings['batch_shards']}, or chips "
            "draw the same rows"
        )
    return out


def _next_fsdp(fsdp: int, arguments: int, capacity: int) -> int:
    """The least power of two times fsdp that leaves two thirds to the rest."""
    factor = 2
    while arguments / factor > capacity / 3:
        factor *= 2
    return fsdp * factor


def _against_activations(settings: Mapping[str, Any]) -> list[str]:
    out = []
    if settings["remat"] not in (None, "full"):
        out.append("model.remat=full")
    chunk, length = settings["head_chunk"], settings["length"]
    if chunk is not None and (not chunk or chunk > 64):
        out.append(f"model.head_chunk={min(64, length)}")
    if settings["rows_per_chip"] > 1:
        out.append(f"optim.accumulate={2 * settings['accumulate']}")
        out.append(f"data.batch_size={settings['batch_size'] // 2}")
    else:
        out.append("mesh.tensor=2")
    return out


def _version(package: str) -> str:
    from importlib import metadata

    return metadata.version(package)
