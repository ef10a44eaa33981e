"""What goes wrong where checkpoints are written and read: disks and object stores.

TensorStore reports its errors as ValueError with a status in front, of which some say
nothing about the checkpoint itself.
"""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator

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
_SPARE_BYTES = 4 << 20  # for metadata files and the file system's own blocks
_MOST_LETTERS = 300  # of what is passed on of an error


def check_space(
    directory: epath.Path, size: int, how_to_go_on: Callable[[], str]
) -> None:
    """Raises InputError unless `size` bytes fit on the disk of a local directory."""
    if "://" in str(directory):
        return
    folder = directory
    while not folder.exists():
        folder = folder.parent
    needed = size + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"Found {free} bytes free for checkpoints in {directory}; "
            f"expected at least {needed} bytes. {how_to_go_on()}"
        )


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
