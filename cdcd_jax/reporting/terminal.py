"""What is told on the terminal: tables, and the line that says how far a run is."""

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import numpy as np

from cdcd_jax.reporting.notebook import in_notebook


def format_table(rows: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> str:
    """Lines of `name  value`, names to the left, values to the right."""
    pairs = list(rows.items()) if isinstance(rows, Mapping) else list(rows)
    cells = [(str(name), _short(value)) for name, value in pairs]
    wide = [max((len(cell[i]) for cell in cells), default=0) for i in range(2)]
    return "\n".join(f"{name:<{wide[0]}}  {text:>{wide[1]}}" for name, text in cells)


class Progress:
    """How far a run is: one live line on a terminal or in a notebook, else lines."""

    def __init__(
        self,
        total_steps: int,
        start_step: int = 0,
        stream: TextIO | None = None,
        unit: str = "step",
    ) -> None:
        """Args: last step, step of the resumed checkpoint, where to (sys.stderr)."""
        self._unit = unit
        self._total = total_steps
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._live = self._terminal or in_notebook()
        self._shown = 0  # characters of the line before
        self._start = start_step
        self._first: tuple[int, float] | None = None
        self._unfinished = False

    def update(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Shows the state after `step`.

        The first call with a step done starts the clock, so that rate and time left
        leave out the compilation; they are shown from the next call on.
        """
        now = time.monotonic()
        if self._first is None and step > self._start:
            self._first = (step, now)
        line = self._line(step, now, metrics)
        if self._live:
            line = line[: shutil.get_terminal_size().columns - 1]
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

    def _line(self, step: int, now: float, metrics: Mapping[str, Any]) -> str:
        done = 100 * step / self._total if self._total else 100.0
        parts = [f"{self._unit} {step}/{self._total} ({done:.0f}%)"]
        names = sorted(metrics, key=lambda name: name != "loss")  # the loss first
        parts += [f"{name} {_short(metrics[name])}" for name in names[:4]]
        first_step, first_time = self._first or (step, now)
        if step > first_step and now > first_time:
            rate = (step - first_step) / (now - first_time)
            parts.append(f"{rate:.3g} {self._unit}s/s")
            parts.append(f"{_duration((self._total - step) / rate)} left")
        return "  ".join(parts)


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
