"""Files of safetensors: a header that names the tensors, then their bytes in a row."""

import json
import math
import mmap
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from cdcd_jax.convert.torch_files import AGAIN, CutShort
from cdcd_jax.errors import InputError

_TYPES = {
    **{f"F{n}": np.dtype(f"f{n // 8}") for n in (16, 32, 64)},
    **{f"I{n}": np.dtype(f"i{n // 8}") for n in (8, 16, 32, 64)},
    **{f"U{n}": np.dtype(f"u{n // 8}") for n in (8, 16, 32, 64)},
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "BOOL": np.dtype(bool),
}


def read_header(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """Of each tensor `dtype`, `shape` and `data_offsets`; and where the data begins.

    Raises:
        InputError: the header is broken, or tensors do not lie end to end.
        CutShort: the file ends too early.
    """
    total = path.stat().st_size
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        text = file.read(min(start - 8, 100_000_000))
    if text.startswith(b"{") and start > total:
        raise CutShort(path, f"it has {total:,} bytes, its header alone {start:,}")
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        places = sorted((*row["data_offsets"], n) for n, row in header.items())
        end = 0
        for first, last, name in places:
            row = header[name]
            fine = isinstance(row["dtype"], str) and min(row["shape"], default=0) >= 0
            if first != end or last < first or not fine:
                raise ValueError(f"what it says of {name!r}")
            end = last
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(path, f"{type(error).__name__}: {error}") from error
    if total < start + end:
        raise CutShort(path, f"it has {total:,} bytes of {start + end:,}")
    if total > start + end:
        raise _broken(path, f"{total:,} bytes, but tensors of {start + end:,}")
    return header, start


def read_safetensors(
    path: Path, wanted: Callable[[Collection[str]], Collection[str]]
) -> dict[str, np.ndarray]:
    """The wanted tensors, read-only, as views of the mapped file.

    Raises:
        InputError: as `read_header`, or a tensor of another type or size.
    """
    header, start = read_header(path)
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    tensors = {}
    for name in wanted([*header]):
        row = header[name]
        if row["dtype"] not in _TYPES:
            raise InputError(
                f"Found the type {row['dtype']} of {name!r} in {path}; expected one "
                f"of {', '.join(_TYPES)}. Store the weights as floats."
            )
        dtype, shape = _TYPES[row["dtype"]], row["shape"]
        first, last = row["data_offsets"]
        if math.prod(shape) * dtype.itemsize != last - first:
            raise _broken(path, f"{last - first:,} bytes for {shape} of {name!r}")
        array = np.frombuffer(data, dtype, math.prod(shape), start + first)
        tensors[name] = array.reshape(shape)
    return tensors


def _broken(path: Path, why: str) -> InputError:
    return InputError(
        f"Found a broken {path} ({why}); expected a whole safetensors file. {AGAIN}."
    )
