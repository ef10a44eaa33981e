"""Training step, loss and sampling against a tuned PyTorch model of the same size.

    python benchmarks/torch_peer.py --shape=fc [--what=step|loss|sample] [--json=FILE]

The peer was written for this comparison: the same layers, fused AdamW, bfloat16 on a
GPU, torch.compile; its loss is the dense posterior of public PyTorch code, with one
more for each negative. Both losses are first checked against each other, and the
networks' FLOPs and parameters are printed. Each framework has a process of its own;
they take turns, so that a busy machine disturbs both alike: read the ratios, medians
over turns.
"""

import argparse
import ast
import dataclasses
import importlib.util
import os
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import measure
import numpy as np
from peer_shapes import SHAPES, Shape
from peer_worker import Worker

LOSS_TOLERANCE = 1e-4  # relative
GRADIENT_TOLERANCE = 1e-3  # of the largest entry
FLOPS_TOLERANCE = 0.02


def check_losses(ours: Worker, theirs: Worker) -> list[float]:
    """Relative differences of loss and gradient on tiny inputs; refuses large ones."""
    found = []
    for name in ("tiny", "tiny_cross"):
        for negatives in (0, 3):
            shape = SHAPES[name]
            arrays = demand(ours.ask("random_inputs", shape, negatives))
            a = demand(ours.ask("given_loss", shape, arrays))
            b = demand(theirs.ask("given_loss", shape, arrays))
            scale = np.max(np.abs(a["gradient"]))
            found.append(
                (
                    float(abs(a["loss"] - b["loss"]) / abs(a["loss"])),
                    float(np.max(np.abs(a["gradient"] - b["gradient"])) / scale),
                )
            )
    worst = np.max(found, axis=0)
    print(f"losses differ by {worst[0]:.1e}, their gradients by {worst[1]:.1e}")
    if not (worst[0] <= LOSS_TOLERANCE and worst[1] <= GRADIENT_TOLERANCE):
        raise SystemExit("the losses are not the same: nothing is timed")
    return [float(w) for w in worst]


def check_counts(ours: Worker, theirs: Worker, shape: Shape) -> dict[str, Any]:
    """FLOPs and parameters of both networks; refuses networks of unlike size."""
    a, b = (demand(w.ask("counts", shape)) for w in (ours, theirs))
    measure.print_table(
        [
            ["network", "GFLOP an example, forward", "parameters"],
            ["jax", a["flops"] / 1e9, a["parameters"]],
            ["torch", b["flops"] / 1e9, b["parameters"]],
        ]
    )
    if abs(a["flops"] / b["flops"] - 1) > FLOPS_TOLERANCE:
        raise SystemExit("the networks are not of the same size: nothing is timed")
    return {"jax": a, "torch": b}


def demand(answer: tuple[str, Any]) -> Any:
    """The value of an answer that must not be an error."""
    if answer[0] == "error":
        raise SystemExit(answer[1])
    return answer[1]


def plan(args: argparse.Namespace, shape: Shape, cuda: bool) -> dict[str, list]:
    """Title of a comparison -> [(who, kind, arguments)]."""
    compiles = {"both": (False, True), "on": (True,), "off": (False,)}[args.compile]
    comparisons = {}
    if args.what == "sample":
        for batch in args.batches:
            common = dict(shape=shape, batch=batch, steps=args.steps)
            cases = [("jax", {**common, "changes": args.set})]
            for compile in compiles:
                graphs = (False, True) if cuda else (False,)
                for graph in graphs:
                    cases.append(
                        (
                            "torch" + " compiled" * compile + " CUDA graph" * graph,
                            {**common, "compile": compile, "graph": graph},
                        )
                    )
            comparisons[f"{args.steps} steps, batch {batch}"] = cases
        return comparisons
    for number in (0, args.negatives):
        common = dict(shape=shape, negatives=number)
        cases = [("jax", {**common, "changes": args.set})]
        for compile in compiles:
            name = "torch" + " compiled" * compile
            cases.append((name, {**common, "compile": compile}))
        comparisons[f"{number} negatives"] = cases
    return comparisons


def compare(
    title: str, cases: list, workers: dict[str, Worker], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Builds the cases of one comparison, times them in turns; a row for each."""
    rows = []
    for name, arguments in cases:
        worker = workers[name.split()[0]]
        worker.ask("peak_memory")
        state, info = worker.ask("build", name, args.what, arguments)
        row = dict(comparison=title, name=name)
        rows.append(row | (info if state == "ok" else {"error": info}))
        rows[-1]["seconds"] = []
    running = [row for row in rows if "error" not in row]
    for _ in range(args.runs):
        for row in running:
            worker = workers[row["name"].split()[0]]
            state, value = worker.ask("time", row["name"], args.inner)
            if state == "ok":
                row["seconds"].append(value)
            else:
                row["error"] = value
        running = [row for row in running if "error" not in row]
    for worker in workers.values():
        peak = demand(worker.ask("peak_memory"))
        demand(worker.ask("drop"))
        for row in running:
            if workers[row["name"].split()[0]] is worker and peak:
                row["process_peak_mib"] = peak / measure.MIB
    ours = next((row for row in running if row["name"] == "jax"), None)
    for row in running:
        row.update(measure.summary(row["seconds"]))
        if ours:
            ratio = np.divide(row["seconds"], ours["seconds"])
            row["ratio"] = float(np.median(ratio))
    return rows


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """One comparison as a table."""
    head = ["ms", "ms_min", "ms_max", "ratio", "compile_seconds", "attention"]
    table = [[title, "ms", "min", "max", "/ jax", "compile s", "attention"]]
    for row in rows:
        table.append([row["name"], *(row.get(key) for key in head)])
    measure.print_table(table)
    for row in rows:
        if "error" in row:
            print(f"{row['name']}: {row['error']}")
    print(flush=True)


def setting(text: str) -> dict[str, Any]:
    """'section.key=value' -> nested dict."""
    path, equals, value = text.partition("=")
    section, _, key = path.partition(".")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r}: expected section.key=value")
    try:
        value = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        pass  # a bare word
    return {section: {key: value}}


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    integers = lambda text: [int(t) for t in text.split(",")]
    parser.add_argument("--shape", default="fc", choices=SHAPES)
    parser.add_argument("--what", default="step", choices=("step", "loss", "sample"))
    parser.add_argument("--batch", type=int, help="examples; default: the shape's")
    parser.add_argument("--batches", type=integers, default=[64, 1], help="of samples")
    parser.add_argument("--steps", type=int, default=0, help="of sampling; 0: T")
    parser.add_argument("--negatives", type=int, default=10)
    parser.add_argument(
        "--compile", default="both", choices=("both", "on", "off"), help="of the peer"
    )
    parser.add_argument("--runs", type=int, default=11, help="turns")
    parser.add_argument("--inner", type=int, default=1, help="calls timed together")
    parser.add_argument("--threads", type=int, default=0, help="cores of each; 0: all")
    parser.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        help="of our config, e.g. model.remat=full",
    )
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures here")
    args = parser.parse_args(argv)
    changes: dict[str, Any] = {}
    for one in args.set:
        for section, values in one.items():
            changes.setdefault(section, {}).update(values)
    args.set = changes
    args.steps = args.steps or SHAPES[args.shape].timesteps
    return args


def main(argv: list[str] | None = None) -> int:
    """Returns 2 where PyTorch is missing, else 0."""
    args = parse(argv)
    if importlib.util.find_spec("torch") is None:
        print(
            "error: no PyTorch here, which this comparison needs: install it with "
            "`pip install torch`, or take another of the benchmarks",
            file=sys.stderr,
        )
        return 2
    # both share a device
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    workers = {
        "jax": Worker("peer_jax", args.threads),
        "torch": Worker("peer_torch", args.threads),
    }
    shape = SHAPES[args.shape]
    if args.batch:
        shape = dataclasses.replace(shape, batch=args.batch)
    found = {}
    for worker in workers.values():
        found.update(demand(worker.ask("machine")))
    print(", ".join(f"{k} {v}" for k, v in found.items()))
    print(f"{args.shape}: {shape}", flush=True)
    report = {
        "command": measure.command(),
        "machine": found,
        "shape": dataclasses.asdict(shape),
        "changes": args.set,
        "differences": check_losses(workers["jax"], workers["torch"]),
        "counts": check_counts(workers["jax"], workers["torch"], shape),
        "rows": [],
    }
    print(flush=True)
    comparisons = plan(args, shape, found["torch_device"] != "cpu")
    for title, cases in comparisons.items():
        rows = compare(title, cases, workers, args)
        show(title, rows)
        report["rows"] += rows
    measure.write_json(args.json, report)
    for worker in workers.values():
        worker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
