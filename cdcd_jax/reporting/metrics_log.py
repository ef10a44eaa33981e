"""The numbers and pictures of a run: `metrics.jsonl`, TensorBoard, the progress line.

`metrics.jsonl` is strict JSON, one row a report, and survives a kill at any instant.
"""

import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.errors import InputError
from cdcd_jax.reporting.events import Events
from cdcd_jax.reporting.files import as_path, atomically, is_url, plain
from cdcd_jax.reporting.terminal import Progress
from cdcd_jax.runtime.storage import writing


class MetricsWriter:
    """Numbers and pictures of a run: `metrics.jsonl` and TensorBoard events."""

    def __init__(self, workdir: str | os.PathLike, resume_step: int = 0) -> None:
        """Opens both for appending; what was reported after `resume_step` is dropped.

        Raises: InputError if a row before the last of `metrics.jsonl` is not JSON.
        """
        folder = as_path(workdir)
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "metrics.jsonl"
        text = _drop_rows_after(self._path, resume_step)
        # An object store knows no appending: there the file is written anew.
        self._kept = text if is_url(workdir) else None
        self._rows = None if is_url(workdir) else self._path.open("a", encoding="utf-8")
        self._events_folder, self._uploads = folder / "tensorboard", None
        if is_url(workdir):
            self._uploads = tempfile.TemporaryDirectory(prefix="cdcd_jax_events_")
        self._events = Events(
            Path(self._uploads.name) if self._uploads else self._events_folder,
            resume_step + 1,
        )

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Adds one row; values are numbers or arrays of one element."""
        values = {name: float(np.asarray(v).item()) for name, v in metrics.items()}
        row = json.dumps(plain({"step": int(step), **values}), allow_nan=False)
        with writing(self._path):
            if self._rows is None:
                self._kept += row.encode() + b"\n"
                self._path.write_bytes(self._kept)
            else:
                self._rows.write(row + "\n")
                self._rows.flush()
        for name, value in values.items():
            if np.isfinite(value):  # curves have no place for others
                self._events.scalar(step, name, value)
        self._events.flush()

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Adds a picture, uint8 [H, W, C], to TensorBoard."""
        self._events.image(step, name, image)
        self._events.flush()
        self._upload()

    def _upload(self) -> None:
        if self._uploads is not None:
            self._events_folder.mkdir(parents=True, exist_ok=True)
            for file in Path(self._uploads.name).iterdir():
                (self._events_folder / file.name).write_bytes(file.read_bytes())

    def close(self) -> None:
        """Writes out what is pending; calling it twice is fine."""
        with writing(self._path):  # a full disk fails here once more
            try:
                if self._rows is not None:
                    self._rows.close()
            finally:
                self._events.close()
        if self._uploads is not None:
            self._upload()
            self._uploads.cleanup()
            self._uploads = None


class Reports:
    """The metrics and the progress of a run; does nothing where it is not enabled."""

    def __init__(
        self,
        workdir: str | os.PathLike,
        total: int,
        step: int,
        enabled: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args: last step, step of the resumed checkpoint, whether to report, and the
        seconds by which the rate is measured."""
        self._writer = MetricsWriter(workdir, resume_step=step) if enabled else None
        self._progress = Progress(total, step, now=now) if enabled else None

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """A row of numbers."""
        if self._writer:
            self._writer.write(step, metrics)
            self._progress.update(step, metrics)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """A picture, uint8 [H, W, C]."""
        if self._writer:
            self._writer.image(step, name, image)

    def close(self) -> None:
        """Writes out what is pending."""
        if self._writer:
            self._writer.close()
            self._progress.close()


def _drop_rows_after(path: Any, step: int) -> bytes:
    """Rewrites a metrics file without torn or later rows, if it has any; returns it."""
    if not path.exists():
        return b""
    text = path.read_bytes()
    kept = io.BytesIO()
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        try:
            keep = json.loads(line)["step"] <= step
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                continue  # torn by a kill
            raise InputError(
                f"Found line {number} of {path} that is no row of metrics; expected "
                '{"step": ...}. Remove the line, or move the file away.'
            ) from error
        if keep:
            kept.write(line + b"\n")
    if kept.getvalue() != text:
        with atomically(path) as file:
            file.write(kept.getvalue())
    return kept.getvalue()
