"""Files that appear whole or not at all, and strict JSON.

Paths may be URLs of an object store. Importing this needs numpy only.
"""

import contextlib
import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cdcd_jax.errors import InputError, UsageError


def is_url(path: str | os.PathLike) -> bool:
    """Whether a path lies in an object store (gs://...)."""
    return "://" in os.fspath(path)


def as_path(path: str | os.PathLike) -> Any:
    """A local path, or etils' path of a URL, which has the same methods.

    Raises:
        UsageError: a URL of another kind of store.
    """
    if not is_url(path):
        return Path(path)
    from etils import epath

    try:
        return epath.Path(path)
    except KeyError as error:
        raise UsageError(
            f"Found {os.fspath(path)}, of a kind of place that is not known here; "
            "expected a directory, or a URL that begins with gs:// or s3://; name one."
        ) from error


def write_json(path: str | os.PathLike, obj: Any) -> None:
    """Writes `json_text` of an object and a newline."""
    write_text(path, json_text(obj) + "\n")


def json_text(obj: Any) -> str:
    """Indented strict JSON; numpy numbers are numbers, non-finite ones null."""
    return json.dumps(plain(obj), indent=2, ensure_ascii=False, allow_nan=False)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes text as UTF-8."""
    with atomically(path) as file:
        file.write(text.encode())


def read_json(path: Any) -> Any:
    """What a JSON file says; None if it is not there or damaged."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def write_npz(path: str | os.PathLike, /, **arrays: np.ndarray) -> None:
    """Writes a compressed .npz under exactly this name; the keywords name the arrays.

    Raises: InputError if an array could only be stored as a pickle.
    """
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        if array.dtype == object:
            raise InputError(
                f"Found array '{name}' of Python objects for {path}; expected numbers "
                "or text. Convert it, text with np.array(list_of_str)."
            )
    with atomically(path) as file:
        np.savez_compressed(file, **arrays)


@contextlib.contextmanager
def atomically(path: str | os.PathLike, sync: bool = True) -> Iterator[BinaryIO]:
    """A file that takes its name when the block ends well, and is gone otherwise.

    `sync` waits for the disk, so that a power cut does not leave an empty file either.
    """
    path = as_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_url(path):  # an object appears whole or not at all
        buffer = io.BytesIO()
        yield buffer
        path.write_bytes(buffer.getvalue())
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:  # a full disk does not say where
        if error.errno is not None:  # else its text would give way to the name
            error.filename = error.filename or os.fspath(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def plain(obj: Any) -> Any:
    """The same in JSON's own types; numbers that JSON cannot say become None."""
    if isinstance(obj, Mapping):
        return {str(key): plain(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [plain(value) for value in obj]
    if hasattr(obj, "tolist"):  # numpy and jax arrays and scalars
        return plain(obj.tolist())
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    if isinstance(obj, float) and not math.isfinite(obj):
        return None
    return obj
