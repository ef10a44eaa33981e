r"""What lets outputs that are drawn together agree: alignments with one thing changed.

    python benchmarks/alignment.py --workdir=RUN[,RUN of another seed,...] \
        --out=DIR --json=FILE [--changes="model.environment.contrast=0;..."] \
        [--steps=750] [--outputs="image,text;image,sound,text"] [--number=500]

RUN is a run of configs/codi/digits.py (`cdcd_jax.config.any_to_any`) with all its
stages. For each change its stages `align_<m>` are trained anew for `--steps`, on the
same towers and diffusers; a change of `sampling` needs no training. Changes are those
of a config, several of one row joined by "+", and "" is the base that all others are
held against. Figures are those of together.py, as mean [least, greatest] over the runs.

The report at --json is written after every change: the same command goes on with those
that it lacks.
"""

import argparse
import ast
import functools
import json
import pathlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import measure
import numpy as np
import together

import cdcd_jax
from cdcd_jax.config import merge
from cdcd_jax.models.saved import saved_config

CHANGES = (
    "",
    "model.environment.contrast=0.0",
    "model.environment.contrast=2.0",
    "model.environment.slots=4",
    "model.environment.ways=('attention',)",
    "model.environment.ways=('vector',)",
    "model.environment.depth=1",
    "model.environment.width=128",
    "model.environment.prompt_dropout=0.5",
    "optim.num_steps=1500",
    "sampling.environment_scale=1.0+sampling.environment_scales={}",
    "sampling.steps=10",
    "sampling.steps=100",
)
FIGURES = ("agree", "all", "bits", "distance", "copies")


def changes_of(text: str) -> list[dict[str, Any]]:
    """Sections of a config, each with one key, of "a.b=1+c.d=2"."""
    found = []
    for one in filter(None, text.split("+")):
        path, _, value = one.partition("=")
        own: Any = ast.literal_eval(value)
        for key in reversed(path.split(".")):
            own = {key: own}
        found.append(own)
    return found


def trained(
    workdir: pathlib.Path, folder: pathlib.Path, changes: Sequence[Mapping[str, Any]]
) -> pathlib.Path:
    """A run with the stages of `workdir`, aligned anew in `folder`."""
    whole = merge(saved_config(workdir), dict(eval=dict(at_end=False)))
    for name, stage in whole["stages"].items():
        if name.startswith("align_"):
            whole["stages"][name] = functools.reduce(merge, changes, stage)
        elif not (folder / name).exists():  # whole or not at all
            shutil.rmtree(folder / f"{name}.tmp", ignore_errors=True)
            shutil.copytree(workdir / name, folder / f"{name}.tmp")
            (folder / f"{name}.tmp").rename(folder / name)
    # joined by the same model, which trains nothing itself
    of_all = [one for one in changes if "model" in one]
    whole = functools.reduce(merge, of_all, whole)
    cdcd_jax.train(whole, folder, given=str(workdir))
    return folder


def rows_of(
    workdir: pathlib.Path, change: str, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Figures of all outputs, of one run with one change."""
    own, sampling = [dict(optim=dict(num_steps=options.steps))], {}
    for one in changes_of(change):
        sampling |= one.get("sampling", {})
        own += [] if "sampling" in one else [one]
    parts = [one for one in change.split("+") if not one.startswith("sampling.")]
    name = "+".join(filter(None, parts)) or "base"
    folder = options.out / workdir.name / name
    runner = together.Runner(trained(workdir, folder, own), options.seed)
    rows = []
    for outputs in together.asked_for(options.outputs, runner.names):
        tokens, cost = runner.draw(outputs, "together", options.number, **sampling)
        told = dict(workdir=workdir.name, change=change, outputs=",".join(outputs))
        rows.append(dict(**told, rows=cost, **runner.figures(tokens)))
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def table_of(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A line for each change and outputs, mean [least, greatest] over runs."""
    shares = ("agree", "all", "copies")
    titles = [f"{key} %" if key in shares else key for key in FIGURES]
    table = [["change", "outputs", "runs", *titles]]
    kinds = dict.fromkeys((row["change"], row["outputs"]) for row in rows)
    for change, outputs in kinds:
        own = [r for r in rows if (r["change"], r["outputs"]) == (change, outputs)]
        line = [change or "base", outputs, str(len(own))]
        for key in FIGURES:
            found = np.array([row[key] for row in own])
            found, digits = (100 * found, 1) if key in shares else (found, 2)
            each = (np.mean(found), np.min(found), np.max(found))
            mean, least, greatest = (f"{x:.{digits}f}" for x in each)
            line.append(f"{mean} [{least}, {greatest}]")
        table.append(line)
    return table


def main(argv: Sequence[str] | None = None) -> None:
    """Trains, measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    places = lambda text: [pathlib.Path(p).resolve() for p in text.split(",")]
    add("--workdir", type=places, required=True)
    add("--out", type=lambda text: pathlib.Path(text).resolve(), required=True)
    add("--json", type=pathlib.Path, required=True, help="figures so far, and these")
    add("--changes", type=lambda text: text.split(";"), default=list(CHANGES))
    add("--outputs", default="")
    add("--steps", type=int, default=750)
    add("--number", type=int, default=500)
    add("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    if len({workdir.name for workdir in options.workdir}) < len(options.workdir):
        parser.error("Found two runs of one name; expected a name for each.")
    rows: list[dict[str, Any]] = []
    if options.json.exists():
        rows = json.loads(options.json.read_text())["rows"]
    settings = {k: str(v) for k, v in vars(options).items()}
    report = dict(command=measure.command(), machine=measure.machine())
    for change in options.changes:
        for workdir in options.workdir:
            there = {(row["workdir"], row["change"]) for row in rows}
            if (workdir.name, change) in there:
                continue
            rows += rows_of(workdir, change, options)
            written = dict(**report, settings=settings, rows=rows)
            measure.write_json(options.json, written)
    print(", ".join(f"{k} {v}" for k, v in report["machine"].items()))
    measure.print_table(table_of(rows))


if __name__ == "__main__":
    main()
