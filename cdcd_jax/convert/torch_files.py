"""What a file of PyTorch holds, read without PyTorch and without running code in it.

`torch.save` writes a pickle that names its tensors' storages, and their bytes: since
1.6 as members of a zip (TorchScript has the same, with modules in the place of dicts),
before that one after the other behind the pickle. Tensors are views of the mapped file.
"""

import contextlib
import io
import itertools
import mmap
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  gives NumPy the name bfloat16
import numpy as np

from cdcd_jax.errors import InputError

AGAIN = "Copy or download the file anew"
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of files from before 1.6
_TYPES = {  # PyTorch's names of storages -> NumPy's of their elements
    **dict(FloatStorage="float32", DoubleStorage="float64", HalfStorage="float16"),
    **dict(LongStorage="int64", IntStorage="int32", ShortStorage="int16"),
    **dict(CharStorage="int8", ByteStorage="uint8", BoolStorage="bool"),
    **dict(BFloat16Storage="bfloat16", UntypedStorage="uint8"),
}
# Of newer types the tensor names the type: torch.uint16.
_TYPES |= {name: name for name in (*_TYPES.values(), "uint16", "uint32", "uint64")}


class CutShort(InputError):
    """A file ends before what it says to hold."""

    def __init__(self, path: Path, why: str) -> None:
        """Args: path: of the file; why: how it shows."""
        super().__init__(
            f"Found {path}, which is cut short: {why}; expected the complete file, "
            "which a broken download or copy is not. Download it again."
        )


@dataclass(frozen=True)
class Storage:
    """Elements of one type, which tensors are views of."""

    dtype: str
    elements: int
    read: Callable[[], memoryview]

    @cached_property
    def array(self) -> np.ndarray:
        """All elements, without a copy."""
        return np.frombuffer(self.read(), self.dtype, self.elements)


@dataclass(frozen=True)
class Tensor:
    """A tensor that is not read yet; sizes and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str

    def read(self) -> np.ndarray:
        """The array, read-only, a view of the file.

        Raises:
            ValueError: it reaches beyond its storage, or is of an unknown type.
        """
        if not isinstance(self.dtype, str):
            raise ValueError("a tensor of a type that is not known here")
        base = self.storage.array.view(self.dtype)
        steps = [step * base.itemsize for step in self.strides]
        start = self.offset * base.itemsize
        return np.ndarray(self.shape, self.dtype, base, start, steps)


@contextlib.contextmanager
def torch_content(path: Path, head: bytes) -> Iterator[Any]:
    """The object in a file, tensors as `Tensor`; what the body raises is of the file.

    Args:
        path: of the file.
        head: its first bytes, 4 at least.

    Raises:
        InputError: another format, or a broken file.
        CutShort: it ends too early.
    """
    is_zip = head.startswith(b"PK\x03\x04")
    try:
        if not is_zip and not head.startswith(b"\x80"):
            raise _NotTorch
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            yield _load_zip(path, data) if is_zip else _load_old(path, file, data)
    except _NotTorch:
        raise InputError(
            f"Found {path}, which is neither a PyTorch nor a safetensors file; "
            f"expected one of these. {AGAIN}, or correct --input."
        ) from None
    except (MemoryError, InputError):
        raise
    except Exception as error:  # of a damaged file it may be any kind
        text = " ".join(str(error).split())[:200]
        if isinstance(error, EOFError) or "truncated" in text:  # as pickle says it
            raise CutShort(path, "it ends within the table of its tensors") from None
        raise InputError(
            f"Found {path}, which cannot be read as a PyTorch file "
            f"({type(error).__name__}: {text}); expected a whole checkpoint of tensors."
            f" {AGAIN}, or save its weights as .safetensors."
        ) from error


class _NotTorch(Exception):
    """Another format."""


def _load_zip(path: Path, data: memoryview) -> Any:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        why = f"after {len(data):,} bytes the table that closes such a file is missing"
        raise CutShort(path, why) from None
    with archive:
        members = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in members if name.split("/")[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise _NotTorch
        root = pickles[0].removesuffix("data.pkl")

        def storage(kind: Any, key: str, place: str, elements: int) -> Storage:
            read = partial(_member, data, members[f"{root}data/{key}"])
            return Storage(kind, elements, read)

    text = io.BytesIO(_member(data, members[pickles[0]]))
    content = _unpickled(text, storage)
    return dict(_state(content)) if isinstance(content, _Module) else content


def _member(data: memoryview, info: zipfile.ZipInfo) -> memoryview:
    """A member's bytes, after its checksum."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{info.filename} is compressed, which PyTorch's never are")
    start = info.header_offset
    name, extra = struct.unpack("<HH", data[start + 26 : start + 30])
    start += 30 + name + extra
    found = data[start : start + info.file_size]
    if info.CRC and zlib.crc32(found) != info.CRC:  # 0: saved without checksums
        raise zipfile.BadZipFile(f"the checksum of {info.filename} is wrong")
    return found


def _load_old(path: Path, file: Any, data: memoryview) -> Any:
    storages: dict[str, Storage] = {}
    places: dict[str, int] = {}

    def storage(kind: Any, key: str, place: str, elements: int, view: Any) -> Storage:
        if view is not None or not isinstance(kind, str):
            raise ValueError("a storage that is a part of another, or of other types")
        size = elements * np.dtype(kind).itemsize
        read = lambda: data[places[key] : places[key] + size]
        return storages.setdefault(key, Storage(kind, elements, read))

    load = lambda: _unpickled(file, storage)
    if (load(), load()) != (_MAGIC, _PROTOCOL):
        raise _NotTorch
    load()  # of the machine that wrote it
    content = load()
    end = 0
    for key in load():
        found = storages[key]
        start = (end or file.tell()) + 8  # the number of elements comes first
        end = start + found.elements * np.dtype(found.dtype).itemsize
        places[key] = start
        if end > len(data):
            raise CutShort(path, f"it has {len(data):,} bytes of at least {end:,}")
    return content


def _unpickled(file: Any, storage: Callable[..., Storage]) -> Any:
    try:
        return _Unpickler(file, storage).load()
    except MemoryError:
        raise ValueError("a table with a size that cannot be") from None


def _state(module: Mapping, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a TorchScript module and of those within, by dotted name."""
    for name, value in module.items():
        if isinstance(value, _Module):
            yield from _state(value, f"{prefix}{name}.")
        elif isinstance(value, Tensor):
            yield f"{prefix}{name}", value


class _Unpickler(pickle.Unpickler):
    """Makes dicts, numbers and tensors; all else becomes empty, and nothing runs."""

    def __init__(self, file: Any, storage: Callable[..., Storage]) -> None:
        """Args: file: of the pickle; storage: makes one of what a pickle says of it."""
        super().__init__(file, encoding="utf-8")
        self._storage = storage

    def persistent_load(self, pid: Any) -> Any:
        """A storage."""
        kind, *about = pid
        if kind != "storage":
            raise ValueError(f"data of the kind {kind!r}")
        return self._storage(*about)

    def find_class(self, module: str, name: str) -> Any:
        """What rebuilds tensors, names of types, or a class that keeps nothing."""
        if module.startswith("__torch__"):
            return _Module
        if module in ("torch", "torch.storage") and name in _TYPES:
            return _TYPES[name]
        known = dict(
            OrderedDict=OrderedDict,
            _rebuild_tensor=_rebuilt,
            _rebuild_tensor_v2=_rebuilt,
            _rebuild_tensor_v3=_rebuilt_typed,
            _rebuild_parameter=_parameter,
            _rebuild_parameter_with_state=_parameter,
        )
        ours = module in ("torch._utils", "collections") and name in known
        return known[name] if ours else type("Absent", (_Absent,), {})


def _rebuilt(
    storage: Storage, offset: int, shape: Any, strides: Any, *rest: Any
) -> Any:
    return Tensor(storage, offset, tuple(shape), tuple(strides), storage.dtype)


def _rebuilt_typed(
    storage: Storage, offset: int, shape: Any, strides: Any, *rest: Any
) -> Any:
    dtype = next(itertools.islice(rest, 2, None))  # after gradients and hooks
    return Tensor(storage, offset, tuple(shape), tuple(strides), dtype)


def _parameter(tensor: Any, *rest: Any) -> Any:
    return tensor


class _Module(dict):
    """A module of TorchScript, of which the attributes stay."""

    def __setstate__(self, state: Mapping) -> None:
        """Keeps the attributes."""
        self.update(state)


class _Absent:
    """Takes the place of any object that is not a tensor, and drops everything."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Absent":
        """Takes anything."""
        return super().__new__(cls)

    def _drop(self, *args: Any, **kwargs: Any) -> None:
        """Takes anything."""

    __init__ = __setstate__ = __setitem__ = __call__ = _drop
    append = extend = add = update = _drop
