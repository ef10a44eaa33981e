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
    """A signal asked the run to stop, and its state was saved. Exit code 0."""
