"""The two errors that a user is meant to read.

The modes turn them into one paragraph on standard error and an exit code; any other
exception is a bug and keeps its traceback.
"""


class InputError(ValueError):
    """What came from outside (data, checkpoint, disk) is not usable. Exit code 1.

    The message has three parts: what was found, what was expected, what to do.
    """

    exit_code = 1


class UsageError(InputError):
    """The command line or the configuration is wrong. Exit code 2."""

    exit_code = 2


class Stopped(Exception):
    """A signal asked the run to stop, and its state was saved.

    Attributes:
        exit_code: 0 after SIGTERM, with which schedulers ask, or SIGHUP, which a closed
            terminal sends; 130 after SIGINT, Ctrl-C.
    """

    def __init__(self, message: str, exit_code: int = 0) -> None:
        super().__init__(message)
        self.exit_code = exit_code
