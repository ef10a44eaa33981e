"""What is told on the terminal: tables, and the line that says how far a run is."""

import collections
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

import numpy as np

from cdcd_jax.reporting.notebook import in_notebook

RECENT = 11  # reports that the rate is measured over
WIDTH = 80  # columns of a line that is no live one


def format_table(rows: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> str:
    """Lines of `name  value`, names to the left, values to the right."""
    pairs = list(rows.items()) if isinstance(rows, Mapping) else list(rows)
    cells = [(str(name), _short(value)) for name, value in pairs]
    wide = [max((len(cell[i]) for cell in cells), default=0) for i in range(2)]
    return "\n".join(f"{name:<{wide[0]}}  {text:>{wide[1]}}" for name, text in cells)


class Stopwatch:
    """Seconds that run on, but for pauses."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Args: the clock."""
        self._now, self._paused = now, 0.0

    def seconds(self) -> float:
        """Without all pauses that are over."""
        return self._now() - self._paused

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens within is left out."""
        began = self._now()
        try:
            yield
        finally:
            self._paused += self._now() - began


class Lasting:
    """A stream that falls silent once nobody can read it, and stops nothing.

    The terminal was closed, who read the pipe has ended, the disk of a log is full.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Like that of a file."""
        with self._kept_up():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Like that of a file."""
        with self._kept_up():
            self._stream.flush()

    @contextlib.contextmanager
    def _kept_up(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Progress:
    """How far a run is: one live line on a terminal or in a notebook, else lines."""

    def __init__(
        self,
        total_steps: int,
        start_step: int = 0,
        stream: TextIO | None = None,
        unit: str = "step",
        now: Callable[[], float] | None = None,
    ) -> None:
        """Args: last step, step of the resumed checkpoint, where to (sys.stderr), what
        is counted, and seconds that leave out what the rate leaves out."""
        self._unit, self._now = unit, now or time.monotonic
        self._total = total_steps
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._live = self._terminal or in_notebook()
        self._shown = 0  # characters of the line before
        self._start = start_step
        # steps and seconds of the last reports, of which the rate is
        self._recent: collections.deque = collections.deque(maxlen=RECENT)
        self._unfinished = False

    def update(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Shows the state after `step`.

        The first call with a step done starts the clock, so that rate and time left
        leave out the compilation; they are shown from the next call on, of the last
        `RECENT` reports. Metrics that do not fit into the line are left out.
        """
        if step > self._start:
            self._recent.append((step, self._now()))
        width = shutil.get_terminal_size().columns - 1 if self._live else WIDTH
        line = self._line(step, metrics, width)[:width]
        if self._live:
            # a notebook knows no code that erases what is left of a longer line
            rest = "\x1b[K" if self._terminal else " " * (self._shown - len(line))
            self._stream.write(f"\r{line}{rest}")
            self._unfinished, self._shown = True, len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Ends the live line, so that the next output starts on its own."""
        if self._unfinished:
            self._stream.write("\n")
            self._stream.flush()
            self._unfinished = False

    def _line(self, step: int, metrics: Mapping[str, Any], width: int) -> str:
        done = 100 * step / self._total if self._total else 100.0
        line = f"{self._unit} {step}/{self._total} ({done:.0f}%)"
        if self._recent:
            (first, began), (last, now) = self._recent[0], self._recent[-1]
            if last > first and now > began:
                rate = (last - first) / (now - began)
                left = _duration((self._total - step) / rate)
                line += f"  {rate:.3g} {self._unit}s/s  {left} left"
        # the loss first
        for name in sorted(metrics, key=lambda name: name != "loss")[:4]:
            part = f"  {name} {_short(metrics[name])}"
            if len(line + part) <= width:
                line += part
        return line


def _short(value: Any) -> str:
    if isinstance(value, str | bool | int) or value is None:
        return str(value)
    if np.ndim(value) == 0 and np.issubdtype(np.asarray(value).dtype, np.floating):
        return f"{float(value):.4g}"
    return str(value)


def _duration(seconds: float) -> str:
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"
