"""What the benchmarks share: taking turns, the machine, peaks, tables and reports."""

import importlib.metadata
import json
import os
import pathlib
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

MIB = 2.0**20


def interleaved(
    calls: Mapping[str, Callable[[], Any]], runs: int, inner: int = 1
) -> dict[str, np.ndarray]:
    """Seconds of each call, arrays [runs], in turns.

    An untimed call goes before each timed one: after a form that takes and returns
    hundreds of MiB, the first call of the other pays for their page faults. `inner`
    calls are timed together, so that the host runs ahead of an accelerator.
    """
    seconds = {name: np.zeros(runs) for name in calls}
    for run in range(runs):
        for name, call in calls.items():
            jax.block_until_ready(call())
            began = time.perf_counter()
            for _ in range(inner):
                result = call()
            jax.block_until_ready(result)
            seconds[name][run] = (time.perf_counter() - began) / inner
    return seconds


def overhead(without: np.ndarray, added: np.ndarray) -> float:
    """Median over pairs of the share that the second adds to the first."""
    return float(np.median(added / without)) - 1.0


def summary(seconds: np.ndarray) -> dict[str, float]:
    """Median, least and greatest in ms."""
    ms = 1e3 * np.asarray(seconds)
    return {
        "ms": float(np.median(ms)),
        "ms_min": float(np.min(ms)),
        "ms_max": float(np.max(ms)),
    }


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return {
        "device": jax.devices()[0].device_kind,
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "flax": importlib.metadata.version("flax"),
    }


def peak_memory() -> int | None:
    """Most bytes on the device since the process began; None where it does not say."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("peak_bytes_in_use")


def command() -> str:
    """This process's command line."""
    return " ".join(["python", *sys.argv])


def print_table(rows: Sequence[Sequence[Any]]) -> None:
    """Prints rows of cells, the first of which is the header; None is '-'."""

    def text(cell: Any) -> str:
        if isinstance(cell, float):
            return f"{cell:.4g}" if abs(cell) < 100 else f"{cell:.1f}"
        return "-" if cell is None else str(cell)

    cells = [[text(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for first, *rest in cells:
        right = [c.rjust(w) for c, w in zip(rest, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *right]).rstrip(), flush=True)


def write_json(path: pathlib.Path | None, figures: Mapping[str, Any]) -> None:
    """Writes a report where a path was given."""
    if path:
        path.write_text(json.dumps(figures, indent=2) + "\n")
