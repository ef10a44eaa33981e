"""Saving NumPy arrays with little memory beside them, as converters do.

Their arrays are views of a mapped file: pages of it come and go as they are read, and
nothing else holds the values.
"""

import mmap
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

_AT_A_TIME = 2**24  # bytes; orbax copies them, and compresses the copy in memory


class _InTurn(ocp.type_handlers.NumpyHandler):
    """Writes some arrays after the others, where orbax would write all at once."""

    async def serialize(
        self, values: Sequence[np.ndarray], infos: Sequence, args: Any = None
    ) -> list:
        """Returns when all are written; so there is nothing to wait for."""
        rows = list(zip(values, infos, args or [None] * len(values), strict=True))
        while rows:
            count, size = 1, rows[0][0].nbytes
            while count < len(rows) and size + rows[count][0].nbytes <= _AT_A_TIME:
                size += rows[count][0].nbytes
                count += 1
            some, rows = rows[:count], rows[count:]
            arrays, places, options = map(list, zip(*some, strict=True))
            options = options if args else None
            for written in await super().serialize(arrays, places, options):
                written.result()
            for array in arrays:
                let_go(array)
        return []


def handler() -> ocp.PyTreeCheckpointHandler:
    """Of a state of NumPy's and JAX' arrays; what it writes is read as any other."""
    registry = ocp.type_handlers.create_type_handler_registry(
        (np.ndarray, _InTurn()), (jax.Array, ocp.type_handlers.ArrayHandler())
    )
    return ocp.PyTreeCheckpointHandler(type_handler_registry=registry)


def let_go(array: Any) -> None:
    """Gives back the memory of a mapped file that an array is a view of.

    The values stay: what is read again comes from the file again. Any other array
    stays as it is.
    """
    while getattr(array, "base", None) is not None:
        array = array.base
    mapped = array.obj if isinstance(array, memoryview) else array
    if isinstance(mapped, mmap.mmap):
        mapped.madvise(mmap.MADV_DONTNEED)
