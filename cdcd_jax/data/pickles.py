"""Pickles of plain containers and numpy arrays, read without running what is in them.

A pickle may name any function and have it called. Here only what numpy needs to build
an array or a number is looked up; everything else is refused.
"""

import io
import pickle
from typing import Any

from cdcd_jax.data.sources import Unreadable

_NUMPY = ("numpy.core", "numpy._core")  # before and since numpy 2
ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # bytes in pickles of protocol 2
    *((f"{core}.multiarray", "_reconstruct") for core in _NUMPY),
    *((f"{core}.multiarray", "scalar") for core in _NUMPY),
    *((f"{core}.numeric", "_frombuffer") for core in _NUMPY),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def loads(data: bytes, name: str) -> Any:
    """The object in `data`: numbers, texts, lists, dicts and arrays.

    Texts of Python 2 come as str (latin-1).

    Args:
        data: bytes of the file.
        name: the file's, for the error.

    Raises:
        Unreadable: no pickle, a truncated one, or one of other objects.
    """
    try:
        return _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except MemoryError as error:  # a damaged length
        raise Unreadable(name, "not a sound pickle") from error
    except Exception as error:  # damaged pickles raise nearly anything
        raise Unreadable(name, f"not a pickle of plain data ({error})") from error
