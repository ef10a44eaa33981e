"""Keeps orbax from telling each save at length and each error many times over."""

import contextlib
import gc
import logging
import sys
import time
import warnings
from collections.abc import Iterator

from absl import logging as absl_logging


def mute_orbax() -> None:
    """Keeps orbax's log to its warnings.

    It tells of each save at length, and prints each error many times over with
    tracebacks; the errors are raised as well, and reported from there.
    """
    logger = absl_logging.get_absl_logger()
    if _only_warnings_of_orbax not in logger.filters:
        logger.addFilter(_only_warnings_of_orbax)


def _only_warnings_of_orbax(record: logging.LogRecord) -> bool:
    return record.levelno == logging.WARNING or "orbax" not in record.pathname


@contextlib.contextmanager
def silence_of_failed_reads() -> Iterator[None]:
    """Drops the tracebacks that orbax's abandoned reads print after the first error.

    They come from a closed event loop and other threads; the error itself is raised.
    """
    hooks = sys.excepthook, sys.unraisablehook
    logger = logging.getLogger("asyncio")
    was_disabled = logger.disabled
    sys.excepthook = sys.unraisablehook = lambda *_: None
    logger.disabled = True
    try:
        yield
    except Exception:
        time.sleep(0.1)  # for the other threads to get there
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            gc.collect()  # coroutines that were never awaited
        raise
    finally:
        sys.excepthook, sys.unraisablehook = hooks
        logger.disabled = was_disabled
