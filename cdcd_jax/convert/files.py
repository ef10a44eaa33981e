"""Files of tensors by PyTorch name, and what a converter makes of one.

`.safetensors` needs no PyTorch; its own formats (zip, TorchScript and the one before
1.6) do, and are read without running what they hold. A file is read whole, checked
whole, and only then written anew (`__main__.py`).
"""

import contextlib
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.errors import InputError

Tensors = dict[str, np.ndarray]

_AGAIN = "Copy or download the file anew"


@dataclass(frozen=True)
class Converted:
    """A checkpoint of ours that is not written yet.

    Attributes:
        config: sections that differ from the defaults of the task.
        params: arrays, as `task.init` has them.
        extra: further state of the task: codebooks, remap tables.
        tokenizer: of a model of tokens, what made them; None where the file has none.
    """

    config: dict[str, Any]
    params: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)
    tokenizer: "Converted | None" = None


def read_tensors(
    path: str | Path,
    inside: Sequence[str] = (),
    together: Sequence[str] = (),
    drop: str = "",
) -> Tensors:
    """All tensors of a file by name; floats of any size as float32.

    Args:
        path: `.safetensors`, or what `torch.save` or `torch.jit.save` wrote.
        inside: names of dicts that may stand around the tensors, such as 'state_dict';
            the first that is there is entered.
        together: names of dicts that are all entered, such as 'model' and 'ema'; what
            they hold is then called 'model.<name>', as it must be in safetensors.
        drop: a pattern; tensors in whose names it is found are left out unseen.

    Returns:
        Name -> array; a file of one bare tensor gives it the name "".

    Raises:
        InputError: no such file, another format, a broken file, a value that is not
            finite, or a PyTorch file where PyTorch is not installed.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise InputError(
            f"Found no readable file {path} ({error.strerror}); expected a checkpoint "
            "as PyTorch or safetensors writes it. Correct --input."
        ) from error
    if path.suffix == ".safetensors" or head[8:] == b"{":
        tensors = _read_safetensors(path)
    else:
        tensors = _read_torch(path, head, inside, together)
    if drop:
        tensors = {n: v for n, v in tensors.items() if not re.search(drop, n)}
    if not tensors:
        raise InputError(
            f"Found no tensors in {path}; expected weights by name"
            + (f", maybe inside of {' or '.join(inside)}" if inside else "")
            + ". Check that this is the right file."
        )
    for name, value in tensors.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise InputError(
                f"Found values that are not finite in {name!r} of {path}; expected "
                f"finite weights. {_AGAIN}, the data may be damaged."
            )
    return tensors


def check_tensors(
    found: Mapping[str, Any],
    expected: Mapping[str, Sequence[int]],
    what: str,
    floats: bool = True,
) -> None:
    """Raises InputError unless both have the same names and shapes.

    Args:
        found: arrays.
        expected: shapes.
        what: of the error's text, such as "file.ckpt as a VQGAN".
        floats: whether all must be numbers with a point.
    """
    missing = [name for name in expected if name not in found]
    odd = [name for name in found if name not in expected]
    wrong = [
        f"{name} {list(found[name].shape)} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name].shape) != tuple(shape)
    ]
    whole = [name for name in found if floats and found[name].dtype.kind != "f"]
    parts = [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' * (len(names) > 3)})"
        for kind, names in (
            ("missing", missing),
            ("unexpected", odd),
            ("of another shape", wrong),
            ("not of floats", whole),
        )
        if names
    ]
    if parts:
        raise InputError(
            f"Found {what}, with tensors {'; '.join(parts)}; expected exactly the "
            f"{len(expected)} tensors of this model. Check --family, or get the "
            "complete file."
        )


def shape_of(
    state: Mapping[str, np.ndarray], name: str, rank: int, path: str, expected: str
) -> tuple[int, ...]:
    """The shape of a tensor that tells sizes.

    Args:
        state: arrays by name.
        rank: how many axes it has.
        path: of the error's text.
        expected: what the file should be, and what to do if it is not.

    Raises:
        InputError: it is missing, has another number of axes, or no elements.
    """
    found = state.get(name)
    if found is None or found.ndim != rank or not found.size:
        what = "no" if found is None else f"the shape {list(found.shape)} of"
        raise InputError(f"Found {what} {name!r} in {path}; expected {expected}")
    return found.shape


def as_float32(value: np.ndarray) -> np.ndarray:
    """Floats of another size as float32; all else as it is."""
    is_float = value.dtype.kind == "f" or value.dtype.name == "bfloat16"
    return value.astype(np.float32) if is_float else value


def _read_safetensors(path: Path) -> Tensors:
    import ml_dtypes
    import safetensors

    types = {
        **{f"F{n}": np.dtype(f"f{n // 8}") for n in (16, 32, 64)},
        **{f"I{n}": np.dtype(f"i{n // 8}") for n in (8, 16, 32, 64)},
        **{f"U{n}": np.dtype(f"u{n // 8}") for n in (8, 16, 32, 64)},
        "BF16": np.dtype(ml_dtypes.bfloat16),
        "BOOL": np.dtype(bool),
    }
    try:
        entries = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise InputError(
            f"Found a broken {path} ({error}); expected a whole safetensors file. "
            f"{_AGAIN}."
        ) from error
    tensors = {}
    for name, entry in entries:
        if entry["dtype"] not in types:
            raise InputError(
                f"Found the type {entry['dtype']} of {name!r} in {path}; expected one "
                f"of {', '.join(types)}. Store the weights as floats."
            )
        data = np.frombuffer(entry["data"], types[entry["dtype"]])
        tensors[name] = as_float32(data.reshape(entry["shape"]))
    return tensors


def _read_torch(
    path: Path, head: bytes, inside: Sequence[str], together: Sequence[str]
) -> Tensors:
    if not _is_torch(path, head):
        raise InputError(
            f"Found {path}, which is neither a PyTorch nor a safetensors file; "
            f"expected one of these. {_AGAIN}, or correct --input."
        )
    try:
        import torch
    except ImportError:
        raise InputError(
            f"Found the PyTorch file {path}, but no PyTorch; expected one of them to "
            "be otherwise. Install it with `pip install 'cdcd_jax[convert]'`, or bring "
            "the weights as .safetensors."
        ) from None
    with _clean_errors(path):
        if head.startswith(b"PK"):
            content = _load_zip(torch, path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
        for name in inside:
            if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
                content = content[name]
                break
        if isinstance(content, Mapping):
            parts = {k: content.get(k) for k in together}
            parts = {k: v for k, v in parts.items() if isinstance(v, Mapping)}
            flat = {f"{k}.{name}": v for k, p in parts.items() for name, v in p.items()}
            content = flat or content
        if isinstance(content, torch.Tensor):
            content = {"": content}
        if not isinstance(content, Mapping):
            return {}
        return {
            str(name): as_float32(_to_numpy(torch, value))
            for name, value in content.items()
            if isinstance(value, torch.Tensor)
        }


def _is_torch(path: Path, head: bytes) -> bool:
    """By how a file begins, and by the names in a zip; a damaged zip may be one."""
    if not head.startswith(b"PK\x03\x04"):
        return head.startswith(b"\x80")
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except Exception:  # damaged ones raise nearly anything
        return True


def _load_zip(torch: Any, path: Path) -> Any:
    """What a zip of PyTorch holds, after its checksums, which PyTorch does not read."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
        if damaged:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        names = {name.split("/")[-1] for name in archive.namelist()}
    if "constants.pkl" in names:  # TorchScript, as OpenAI's CLIP
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            return torch.jit.load(str(path), map_location="cpu").state_dict()
    # What stands beside the weights (settings, callbacks) may be of classes that are
    # not here: they become empty ones, and no code of theirs runs.
    serialization = torch.serialization
    unknown = serialization.get_unsafe_globals_in_checkpoint(path)
    empty = [(type("Absent", (_Absent,), {}), name) for name in unknown]
    # mapped: what is not asked for, an optimizer's state, is not read
    with serialization.safe_globals(empty):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


class _Absent:
    """Takes the place of any object that is not a tensor."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Drops everything."""

    def __setstate__(self, state: Any) -> None:
        """Drops everything."""


def _to_numpy(torch: Any, value: Any) -> np.ndarray:
    value = value.detach()
    return (value.float() if value.is_floating_point() else value).cpu().numpy()


@contextlib.contextmanager
def _clean_errors(path: Path) -> Iterator[None]:
    """Whatever PyTorch says of a file that it cannot read, as one InputError."""
    try:
        yield
    except (MemoryError, InputError):
        raise
    except Exception as error:  # of a damaged file it may raise any kind
        text = " ".join(str(error).split())
        reason = re.search(r"WeightsUnpickler error: (.+?)( Check the docu|$)", text)
        text = (reason.group(1) if reason else text)[:200]
        raise InputError(
            f"Found {path}, which cannot be read as a PyTorch file "
            f"({type(error).__name__}: {text}); expected a whole checkpoint of tensors."
            f" {_AGAIN}, or save its weights as .safetensors."
        ) from error
