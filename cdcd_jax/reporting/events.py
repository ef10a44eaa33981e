"""Events for TensorBoard, written by the thread that reports them.

tensorboardX's own `SummaryWriter` hands them to a thread which dies on a full disk; the
next report would then wait for it for ever.
"""

import os
import time
from pathlib import Path

import numpy as np

from cdcd_jax.reporting.pictures import check_pictures
from cdcd_jax.runtime.storage import writing


class Events:
    """A file of events in a folder. Every call raises OSError where it cannot write."""

    def __init__(self, folder: Path, first_step: int) -> None:
        """Hides what earlier files say of `first_step` and of those after it."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        self._folder = folder
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # with the process, since two may begin in one second
            self._file = EventsWriter(str(folder / "events"), f".{os.getpid()}")
        self._add(first_step, session_log=SessionLog(status=SessionLog.START))

    def _add(self, step: int, **what: object) -> None:
        from tensorboardX.proto.event_pb2 import Event

        with writing(self._folder):
            self._file.write_event(Event(wall_time=time.time(), step=step, **what))

    def scalar(self, step: int, name: str, value: float) -> None:
        """Adds a number."""
        from tensorboardX import summary

        self._add(step, summary=summary.scalar(name, value))

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Adds a picture, uint8 [H, W, C]."""
        from tensorboardX import summary

        check_pictures(image, 3)
        self._add(step, summary=summary.image(name, image, dataformats="HWC"))

    def flush(self) -> None:
        """Hands what was added to the system."""
        with writing(self._folder):
            self._file.flush()

    def close(self) -> None:
        """Writes out what is pending; calling it twice is fine."""
        file, self._file = self._file, None
        if file is not None:
            with writing(self._folder):
                file.close()
