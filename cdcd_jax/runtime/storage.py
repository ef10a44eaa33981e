"""What goes wrong where checkpoints are written and read: disks and object stores.

TensorStore reports its errors as ValueError with a status in front, of which some say
nothing about the checkpoint itself.
"""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from etils import epath

from cdcd_jax.errors import InputError

_STATUS = re.compile(
    r"\b(RESOURCE_EXHAUSTED|PERMISSION_DENIED|UNAUTHENTICATED|UNAVAILABLE"
    r"|DEADLINE_EXCEEDED|FAILED_PRECONDITION|ABORTED|UNKNOWN|INTERNAL|DATA_LOSS"
    r"|NOT_FOUND|OUT_OF_RANGE)\b"
)
_UNREACHABLE = re.compile(
    r"\b(PERMISSION_DENIED|UNAUTHENTICATED|UNAVAILABLE|DEADLINE_EXCEEDED)\b"
)
_OF_THE_DISK = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EIO, errno.EFBIG, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
)
_SPARE_BYTES = 4 << 20  # for metadata files and the file system's own blocks
_MOST_LETTERS = 300  # of what is passed on of an error


def check_space(
    directory: epath.Path, size: int, how_to_go_on: Callable[[], str], number: int = 1
) -> None:
    """Raises InputError unless `number` checkpoints fit on a local directory's disk.

    Args: size: bytes of each.
    """
    if "://" in str(directory):
        return
    folder = directory
    while not folder.exists():
        folder = folder.parent
    needed = number * size + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"Found {_amount(free)} free for checkpoints in {directory}; expected at "
            f"least {_amount(needed)}: {number} of {_amount(size)} (parameters, their "
            f"averages and the optimizer's state) and some to spare. {how_to_go_on()}"
        )


def _amount(size: int) -> str:
    if size < 2**20:
        return f"{-(-size // 1024)} KiB"
    return f"{size / 2**20:,.1f} MiB"


def told(error: OSError, place: Any = None, need: int = 0) -> str:
    """What an error of the disk says, with its place and what to do.

    Args:
        place: where writing was tried; what the error says by default.
        need: bytes that were to be written, if that is known.
    """
    if error.errno not in _OF_THE_DISK:
        return str(error)
    path = place or error.filename
    where = f" to {os.fspath(path)}" if path else ""
    found = f"Found that nothing can be written{where} ({error.strerror}"
    with contextlib.suppress(OSError):
        if path and error.errno == errno.ENOSPC:
            path = Path(path).absolute()
            folder = next(p for p in (path, *path.parents) if p.exists())
            found += f"; {_amount(shutil.disk_usage(folder).free)} are free there"
    room = f"room for {_amount(need)}" if need else "room"
    return (
        f"{found}); expected {room} and the right to write. Make room there, or choose "
        "another place."
    )


@contextlib.contextmanager
def writing(place: Any, need: int = 0) -> Iterator[None]:
    """Errors of the disk within it become InputError, others stay.

    Args: see `told`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        raise InputError(told(error, place, need)) from error


@contextlib.contextmanager
def failures_of_saving(
    directory: epath.Path, how_to_go_on: Callable[[], str]
) -> Iterator[None]:
    """Errors of input and output within it become InputError, others stay."""
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        text = " ".join(str(error).split())
        if isinstance(error, OSError) or _STATUS.search(text):
            if len(text) > _MOST_LETTERS:
                text = "..." + text[3 - _MOST_LETTERS :]
            raise InputError(
                f"Found that a checkpoint cannot be written to {directory}: {text}. "
                f"Expected room and the right to write there. {how_to_go_on()}"
            ) from error
        raise


def reason_of_failed_read(error: Exception, path: epath.Path) -> str:
    """What an error says of a checkpoint, in a line.

    Raises:
        InputError: it says that the checkpoint was not reached.
    """
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, PermissionError) or _UNREACHABLE.search(text):
        raise InputError(
            f"Found that {path} cannot be read: {text[:_MOST_LETTERS]}. Expected a "
            "readable checkpoint. Check access and connection, then run the same "
            "command again."
        ) from error
    text = text.split(" See full TensorStore")[0].split(" [tensorstore_spec")[0]
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 3] + "..."
