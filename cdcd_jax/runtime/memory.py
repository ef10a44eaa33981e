"""Memory: what there is, what arrays take, and what to do when it runs out."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from cdcd_jax.errors import InputError

_CGROUP = Path("/sys/fs/cgroup")


def bytes_of(tree: Any) -> int:
    """Bytes that shapes take on one device: of those with a place, a part."""

    def own(leaf: Any) -> int:
        place = getattr(leaf, "sharding", None)
        shape = leaf.shape if place is None else place.shard_shape(leaf.shape)
        size = 4 if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended) else 0
        return math.prod(shape) * (size or leaf.dtype.itemsize)

    return sum(map(own, jax.tree.leaves(tree)))


def of_a_device(device: Any) -> int:
    """Bytes that one device may hold: on a CPU a share of the host's; 0 if unknown."""
    if limit := (device.memory_stats() or {}).get("bytes_limit", 0):
        return limit
    if device.platform != "cpu":
        return 0
    return of_the_host() // jax.local_device_count()


def of_the_host() -> int:
    """Bytes that this process may still take; 0 if unknown.

    Of the machine's memory what is free or can be freed, of a container's what is left.
    """
    known = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().split("\n")
        (line,) = (line for line in lines if line.startswith("MemAvailable:"))
        known.append(int(line.split()[1]) * 1024)
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        limit = int((_CGROUP / "memory.max").read_text())
        known.append(limit - int((_CGROUP / "memory.current").read_text()))
    return max(min(known), 1) if known else 0


@contextlib.contextmanager
def explained(*keys: str) -> Iterator[None]:
    """Makes an InputError of memory that runs out, which says what to change.

    Args:
        keys: of the config, each with how it is to be changed.
    """
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        said = " ".join(str(error).split())
        ended = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in said
        if not ended and "out of memory" not in said.lower():
            raise
        raise InputError(
            f"Memory ran out ({said[:160] or 'of the host'}). What was saved stays. "
            f"Change one of these and run it again: {', '.join(keys)}."
        ) from error
