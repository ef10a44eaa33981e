"""What a file of PyTorch holds, read without running any code in it."""

import contextlib
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cdcd_jax.errors import InputError

AGAIN = "Copy or download the file anew"


@contextlib.contextmanager
def torch_content(path: Path, head: bytes) -> Iterator[tuple[Any, Any]]:
    """PyTorch and the object in a file; what the body raises is of the file too.

    Args:
        path: of the file.
        head: its first 9 bytes.

    Raises:
        InputError: another format, a broken file, or PyTorch is not installed.
    """
    if not _is_torch(path, head):
        raise InputError(
            f"Found {path}, which is neither a PyTorch nor a safetensors file; "
            f"expected one of these. {AGAIN}, or correct --input."
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
        yield torch, content


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
            f" {AGAIN}, or save its weights as .safetensors."
        ) from error
