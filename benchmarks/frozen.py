"""What a frozen tower saves of a training step: time, FLOPs and memory.

    python benchmarks/frozen.py [--config=configs/captioned_digits.py:synthetic]
        [--config.section.key=value ...] [--runs=11] [--inner=1] [--json=FILE]

Three steps in turns, on one random batch: `trained`, as the config says; `unsplit`, its
towers frozen, but their gradients and averages computed and left unused, as any
differentiation by the whole tree does; `frozen`, split before it. FLOPs are those of
matrix products and convolutions of an example: what MFU counts, and what the compiled
step holds.
"""

import argparse
import copy
import pathlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import measure
import numpy as np

from cdcd_jax.data.synthetic import synthetic_batches
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.modes import flags
from cdcd_jax.networks.conditioners import KINDS
from cdcd_jax.planning import hlo
from cdcd_jax.runtime import sharding
from cdcd_jax.training import program


class Unsplit:
    """A task that hides from the step, not from the optimizer, what is frozen."""

    def __init__(self, task: Any) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def labels(self, params: Any) -> Any:
        """Everything is differentiated and averaged."""
        return jax.tree.map(lambda _: "train", params)


class Step(NamedTuple):
    """A compiled training step and what is known of it before it runs."""

    call: Callable[[], Any]
    facts: dict[str, Any]


def with_frozen_towers(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with every tower of its conditions frozen.

    Raises:
        UsageError: it has none.
    """
    config = copy.deepcopy(dict(config))
    conditions = config["model"].get("conditions", {}).values()
    towers = [spec for spec in conditions if KINDS[spec["kind"]].tower]
    if not towers:
        raise UsageError(
            "this config has no condition with a tower: give one that has, such as "
            "configs/captioned_digits.py:synthetic"
        )
    for spec in towers:
        spec["frozen"] = True
    return config


def make_step(config: Mapping[str, Any], split: bool = True) -> Step:
    """Compiles the step of a config; `split`: frozen parts before differentiation."""
    task, optimizer = program.build(config)
    mesh = program.place(config, task)
    size = config["data"]["batch_size"]
    abstract = program.abstract_state(task, optimizer, mesh)
    began = time.perf_counter()
    with sharding.use(mesh):
        own = task if split else Unsplit(task)
        step = program.jit_step(own, optimizer, config, mesh)
        batch = program.abstract_batch(config, task, mesh)
        compiled = step.lower(abstract, batch).compile()
    seconds = time.perf_counter() - began
    rows = sharding.process_rows(mesh, size)
    batch = next(synthetic_batches(task.describe(), rows))
    batch = sharding.put_batch(batch, mesh, size)
    state = program.new_state(task, optimizer, config["seed"], mesh)

    def call() -> Any:
        nonlocal state
        state, metrics = compiled(state, batch)
        return metrics

    labels = jax.tree.leaves(task.labels(abstract.params))
    sizes = [leaf.size for leaf in jax.tree.leaves(abstract.params)]
    frozen = [n for n, label in zip(sizes, labels, strict=True) if label == "frozen"]
    facts = {
        "batch": size,
        "devices": mesh.size,
        "parameters": sum(sizes),
        "parameters_frozen": sum(frozen),
        "mflop": program.model_flops(config) / 1e6,
        "mflop_compiled": hlo.analyse(compiled.as_text()).flops
        * mesh.size
        / size
        / 1e6,
        "temporaries_mib": compiled.memory_analysis().temp_size_in_bytes / measure.MIB,
        "compile_seconds": seconds,
    }
    return Step(call, facts)


COLUMNS = {
    "ms": "ms",
    "min": "ms_min",
    "max": "ms_max",
    "/ trained": "of_trained",
    "/ unsplit": "of_unsplit",
    "MFLOP": "mflop",
    "MFLOP compiled": "mflop_compiled",
    "temporaries MiB": "temporaries_mib",
    "compile s": "compile_seconds",
}


def parse(argv: list[str] | None) -> tuple[argparse.Namespace, Mapping[str, Any]]:
    """Options and config; what argparse does not know goes to the program's flags."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=11, help="turns")
    parser.add_argument("--inner", type=int, default=1, help="steps timed together")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures here")
    parser.add_argument(
        "--quick", action="store_true", help="two turns, to see that it runs"
    )
    args, rest = parser.parse_known_args(argv)
    if args.quick:
        args.runs = 2
    if not any(flag.partition("=")[0] == "--config" for flag in rest):
        rest.insert(0, "--config=configs/captioned_digits.py:synthetic")
    return args, flags.parse(["", *rest]).config


def run(args: argparse.Namespace, config: Mapping[str, Any]) -> None:
    """Measures, prints and writes."""
    found = {**measure.machine(), "devices": jax.device_count()}
    print(", ".join(f"{k} {v}" for k, v in found.items()), flush=True)
    frozen = with_frozen_towers(config)
    steps = {
        "trained": make_step(config),
        "unsplit": make_step(frozen, split=False),
        "frozen": make_step(frozen),
    }
    calls = {name: step.call for name, step in steps.items()}
    seconds = measure.interleaved(calls, args.runs, args.inner)
    # medians over turns, so that what slows all of them down leaves the ratio
    ratio = lambda name, other: float(np.median(seconds[name] / seconds[other]))
    rows = [
        {
            "variant": name,
            **step.facts,
            **measure.summary(seconds[name]),
            "of_trained": ratio(name, "trained"),
            "of_unsplit": ratio(name, "unsplit"),
        }
        for name, step in steps.items()
    ]
    table = [["step", *COLUMNS]]
    table += [[row["variant"], *(row[key] for key in COLUMNS.values())] for row in rows]
    measure.print_table(table)
    last = rows[-1]
    print(
        f"{last['parameters_frozen']:,} of {last['parameters']:,} parameters frozen, "
        f"batch {last['batch']}; FLOPs of an example"
    )
    report = dict(command=measure.command(), machine=found, config=config, rows=rows)
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
