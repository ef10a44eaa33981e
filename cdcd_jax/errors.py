"""The two errors that a user is meant to read.

The modes turn them into one paragraph on standard error and an exit code; any other
exception is a bug and keeps its traceback.
"""

import contextlib
from collections.abc import Iterator


class InputError(ValueError):
    """What came from outside (data, checkpoint, disk) is not usable. Exit code 1.

    The message has three parts: what was found, what was expected, what to do.
    """

    exit_code = 1


class UsageError(InputError):
    """The command line or the configuration is wrong. Exit code 2."""

    exit_code = 2


@contextlib.contextmanager
def as_usage_error() -> Iterator[None]:
    """Around settings that are checked where no flag is known.

    Raises:
        UsageError: in the words of any other ValueError, or as it is.
    """
    try:
        yield
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from None


class Stopped(Exception):
    """A signal asked the run to stop, and its state was saved.

    Attributes:
        exit_code: 0 after SIGTERM, with which schedulers ask, or SIGHUP, which a closed
            terminal sends; 130 after SIGINT, Ctrl-C.
    """

    def __init__(self, message: str, exit_code: int = 0) -> None:
        super().__init__(message)
        self.exit_code = exit_code
