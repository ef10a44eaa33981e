"""Time, FLOP/s and memory of a training step of any config.

    python benchmarks/train_step.py --config=configs/aist.py:synthetic
        [--config.section.key=value ...] [--batches=8,16,32] [--negatives] [--input]
        [--json=FILE]

One random batch lies on the devices and is taken again and again: no input.
`--batches` tries each size (one that does not fit is reported) and names the fastest an
example; `--negatives` compares the step without and with ten negatives, in turns. FLOPs
are those of matrix products and convolutions, three times the forward loss: no
recomputation. `--input` times the reading of records, made on the fly, and compares it
with the step.
"""

import argparse
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import measure
import numpy as np

from cdcd_jax.config import merge
from cdcd_jax.data.synthetic import synthetic_batches
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.modes import flags
from cdcd_jax.planning import chips
from cdcd_jax.runtime import sharding
from cdcd_jax.training.program import (
    abstract_batch,
    abstract_state,
    build,
    jit_step,
    model_flops,
    new_state,
    place,
)

INPUT_RATIO = 3.0  # how much faster than the step the input should be
RECORD_BYTES = 64 * 2**20  # about so many are written to time the input


class Step(NamedTuple):
    """A compiled training step and what is known of it before it runs."""

    call: Callable[[], Any]
    facts: dict[str, Any]


def prepare(config: Mapping[str, Any]) -> Step:
    """Compiles the step of a config and lays one batch on the devices."""
    task, optimizer = build(config)
    mesh, size = place(config, task), config["data"]["batch_size"]
    began = time.perf_counter()
    with sharding.use(mesh):
        step = jit_step(task, optimizer, config, mesh)
        abstract = abstract_state(task, optimizer, mesh)
        compiled = step.lower(abstract, abstract_batch(config, task, mesh)).compile()
    seconds = time.perf_counter() - began
    memory = compiled.memory_analysis()
    needed = memory.temp_size_in_bytes + memory.argument_size_in_bytes
    needed += memory.output_size_in_bytes - memory.alias_size_in_bytes
    rows = sharding.process_rows(mesh, size)
    batch = next(synthetic_batches(task.describe(), rows))
    batch = sharding.put_batch(batch, mesh, size)
    state = new_state(task, optimizer, config["seed"], mesh)

    def call() -> Any:
        nonlocal state
        state, metrics = compiled(state, batch)
        return metrics

    facts = {
        "batch": size,
        "negatives": config["contrastive"]["num_negatives"],
        "length": task.length,
        "devices": mesh.size,
        "mesh": dict(mesh.shape),
        "parameters": sum(p.size for p in jax.tree.leaves(abstract.params)),
        "flops_per_example": model_flops(config),
        "program_mib": needed / measure.MIB,
        "compile_seconds": seconds,
    }
    return Step(call, facts)


def out_of_memory(error: Exception) -> bool:
    """Whether the devices have too little memory."""
    return any(s in str(error) for s in ("RESOURCE_EXHAUSTED", "ut of memory"))


def figures(facts: Mapping[str, Any], seconds: np.ndarray) -> dict[str, Any]:
    """What follows of the times of one step; rates are of all devices together."""
    size, median = facts["batch"], float(np.median(seconds))
    flops = facts["flops_per_example"] * size / median / facts["devices"]
    found = {
        **facts,
        **measure.summary(seconds),
        "examples_per_second": size / median,
        "tokens_per_second": size * facts["length"] / median,
        "tflops_per_device": flops / 1e12,
        "peak_memory_mib": (measure.peak_memory() or 0) / measure.MIB or None,
    }
    chip = chips.find(jax.devices()[0].device_kind)
    if chip:
        found["mfu"] = flops / chip.peak_flops
        if chip.measured_flops:
            found["mfu_of_measured"] = flops / chip.measured_flops
    return found


def variants(config: Mapping[str, Any], negatives: bool) -> dict[str, Any]:
    """Name -> config: as it is, or without and with ten negatives."""
    if not negatives:
        return {"as configured": config}
    weight = config["contrastive"]["weight"] or 0.1
    of = lambda n, w: merge(config, dict(contrastive=dict(num_negatives=n, weight=w)))
    return {"no negatives": of(0, 0.0), "10 negatives": of(10, weight)}


def measure_batch(
    config: Mapping[str, Any], size: int, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row for each variant at one batch size."""
    config = merge(config, dict(data=dict(batch_size=size)))
    steps: dict[str, Step] = {}
    try:
        for name, settings in variants(config, args.negatives).items():
            steps[name] = prepare(settings)
        calls = {name: step.call for name, step in steps.items()}
        seconds = measure.interleaved(calls, args.runs, args.inner)
    except jax.errors.JaxRuntimeError as error:
        if not out_of_memory(error):
            raise
        return [{"variant": "out of memory", "batch": size}]
    rows = [
        {"variant": name, **figures(steps[name].facts, values)}
        for name, values in seconds.items()
    ]
    if len(rows) == 2:
        rows[1]["added"] = measure.overhead(*seconds.values())
    return rows


# -- input -----------------------------------------------------------------------------


def write_records(folder: pathlib.Path, config: Mapping[str, Any], task: Any) -> Any:
    """Random records of the config's shape; returns their card."""
    from cdcd_jax.data import card, shards

    described = task.describe()
    row = next(synthetic_batches(described, np.arange(1)))
    size = sum(a.nbytes for a in jax.tree.leaves(row))
    number = int(np.clip(RECORD_BYTES // size, 64, 4096))

    def examples() -> Iterator[dict[str, Any]]:
        for i in range(number):
            drawn = next(synthetic_batches(described, np.array([i])))
            condition = {k: v[0] for k, v in drawn["condition"].items()}
            yield dict(key=str(i), tokens=drawn["tokens"][0], condition=condition)

    conditions = {}
    for name, spec in described["conditions"].items():
        value = row["condition"][name][0]
        conditions[name] = dict(shape=list(value.shape), dtype=str(value.dtype))
        if spec["kind"] == "label":
            conditions[name]["num_classes"] = spec["num_classes"]
    model = config["model"]
    layout = dict(
        num_codes=model["num_codes"], grid=tuple(model["grid"]), conditions=conditions
    )
    split = shards.write_split(
        folder, "train", examples(), shards.Layout(**layout), number
    )
    made = card.Card(
        directory=folder,
        name="random",
        tokenizer=dict(kind="none", fingerprint=""),
        splits=dict(train=split),
        config={},
        **layout,
    )
    card.write_card(made)
    return made


def measure_input(config: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Tokens a second that this process reads, shuffles and batches.

    The records were just written: they come from memory rather than from a disk.
    """
    from cdcd_jax.data.pipeline import RecordExamples, training_batches

    task, _ = build(config)
    data = config["data"]
    with tempfile.TemporaryDirectory() as folder:
        made = write_records(pathlib.Path(folder), config, task)
        stream = training_batches(
            RecordExamples(made, "train"),
            batch_size=data["batch_size"],
            seed=0,
            threads=data["threads"],
        )
        next(stream)
        number, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds or number < 3:
            next(stream)
            number += 1
        stream.close()
    examples = number * data["batch_size"] / passed
    return {
        "threads": data["threads"],
        "records": made.splits["train"].num_records,
        "examples_per_second": examples,
        "tokens_per_second": examples * task.length,
    }


# -- report ----------------------------------------------------------------------------

COLUMNS = {
    "batch": "batch",
    "ms": "ms",
    "min": "ms_min",
    "max": "ms_max",
    "examples/s": "examples_per_second",
    "tokens/s": "tokens_per_second",
    "TFLOP/s a device": "tflops_per_device",
    "MFU": "mfu",
    "of measured": "mfu_of_measured",
    "program MiB": "program_mib",
    "peak MiB": "peak_memory_mib",
    "compile s": "compile_seconds",
}


def show(rows: list[dict[str, Any]]) -> None:
    """The table, what negatives add, and the best batch."""
    columns = {t: k for t, k in COLUMNS.items() if any(row.get(k) for row in rows)}
    table = [["step", *columns]]
    for row in rows:
        table.append([row["variant"], *(row.get(k) for k in columns.values())])
    measure.print_table(table)
    for row in rows:
        if "added" in row:
            print(f"batch {row['batch']}: 10 negatives add {row['added']:+.1%}")
    found = [row for row in rows if "ms" in row]
    if found:
        best = max(found, key=lambda row: row["examples_per_second"])
        print(
            f"best: batch {best['batch']}, {best['examples_per_second']:.1f} examples/s"
            f"; {found[0]['flops_per_example'] / 1e9:.2f} GFLOP an example, "
            f"{found[0]['parameters']:,} parameters"
        )


def parse(argv: list[str] | None) -> tuple[argparse.Namespace, Mapping[str, Any]]:
    """Options and config; what argparse does not know goes to the program's flags."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    integers = lambda text: [int(t) for t in text.split(",")]
    parser.add_argument("--batches", type=integers, help="sizes; default: the config's")
    parser.add_argument("--negatives", action="store_true", help="without and with ten")
    parser.add_argument("--runs", type=int, default=11, help="turns")
    parser.add_argument(
        "--inner", type=int, default=0, help="steps timed together; 0: by the device"
    )
    parser.add_argument("--input", action="store_true", help="time the input, too")
    parser.add_argument("--input-seconds", type=float, default=5.0)
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures here")
    parser.add_argument(
        "--quick", action="store_true", help="two turns, to see that it runs"
    )
    args, rest = parser.parse_known_args(argv)
    config = flags.parse(["", *rest]).config
    args.inner = args.inner or (1 if jax.default_backend() == "cpu" else 5)
    if args.quick:
        args.runs, args.input_seconds = 2, 0.2
    args.batches = args.batches or [config["data"]["batch_size"]]
    return args, config


def run(args: argparse.Namespace, config: Mapping[str, Any]) -> None:
    """Measures, prints and writes."""
    found = {**measure.machine(), "devices": jax.device_count()}
    print(", ".join(f"{k} {v}" for k, v in found.items()), flush=True)
    rows: list[dict[str, Any]] = []
    for size in args.batches:
        rows += measure_batch(config, size, args)
    show(rows)
    report = dict(command=measure.command(), machine=found, config=config, rows=rows)
    if args.input:
        report["input"] = measure_input(config, args.input_seconds)
        read = report["input"]["tokens_per_second"]
        text = f"input: {read:,.0f} tokens/s with {config['data']['threads']} threads"
        fastest = max((r.get("tokens_per_second", 0.0) for r in rows), default=0.0)
        if fastest:
            report["input"]["ratio"] = read / fastest
            text += f", {read / fastest:.1f} x the fastest step"
            text += f" (wanted: {INPUT_RATIO:g} or more)"
        print(text)
    measure.write_json(args.json, report)


def main(argv: list[str] | None = None) -> int:
    """Returns 1 or 2 after an error, else 0."""
    try:
        run(*parse(argv))
    except (UsageError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
