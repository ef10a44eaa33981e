"""What a run tells at its start: what it trains, how large it is, and on what."""

import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from cdcd_jax.runtime import hosts


def tell_start(state: Any, mesh: Mesh, first: int, total: int) -> None:
    """Says the size of the model, its devices, and where the run begins.

    Args:
        state: `TrainState`, of arrays or shapes.
        mesh: that it lies on.
        first: steps that were done before.
        total: the last step.
    """
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params))
    hosts.say(f"{count_text(count)} parameters, on {devices_text(mesh)}")
    goes_on = f"goes on after step {first}" if first else "starts from step 0"
    hosts.say(f"{goes_on}, to step {total}")


def devices_text(mesh: Mesh) -> str:
    """The devices of a mesh in words: kind, number, memory of each, and axes."""
    devices = list(mesh.devices.flat)
    name = devices[0].device_kind if devices[0].platform != "cpu" else "CPU"
    text = f"{len(devices)} {name} device{'s' * (len(devices) > 1)}"
    local = [d for d in devices if d.process_index == jax.process_index()]
    limits = [(d.memory_stats() or {}).get("bytes_limit", 0) for d in local]
    if limits and min(limits):
        text += f" of {min(limits) / 2**30:.1f} GiB"
    axes = [f"{axis} {size}" for axis, size in mesh.shape.items() if size > 1]
    return text + (f" (mesh {', '.join(axes)})" if axes else "")


def examples_text(
    counts: Mapping[str, int], conditions: Mapping[str, Mapping[str, Any]]
) -> str:
    """Numbers of examples by split, and the classes that were found, in words.

    Args:
        counts: split -> examples; train is told first.
        conditions: as a card says them.
    """
    order = sorted(counts, key=lambda split: split != "train")
    parts = [f"{counts[split]} examples of {split}" for split in order]
    for name, spec in conditions.items():
        if number := spec.get("num_classes"):
            text = f"{name}: {number} classes"
            names = [str(own) for own in spec.get("names") or ()]
            shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
            parts.append(text + (f" ({shown})" if shown else ""))
    return "found " + "; ".join(parts)


def count_text(count: int) -> str:
    """A number of parameters in three digits and its unit."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)
