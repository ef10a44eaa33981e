"""What a run tells: its files, metrics, pictures and the line on the terminal.

Files appear whole or not at all. `metrics.jsonl` is strict JSON, one row a report, and
survives a kill at any instant. Importing this needs numpy only; TensorBoard and Pillow
are imported where they are used.
"""

import contextlib
import io
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np

from cdcd_jax.errors import InputError


def is_url(path: str | os.PathLike) -> bool:
    """Whether a path lies in an object store (gs://...)."""
    return "://" in os.fspath(path)


def as_path(path: str | os.PathLike) -> Any:
    """A local path, or etils' path of a URL, which has the same methods."""
    if not is_url(path):
        return Path(path)
    from etils import epath

    return epath.Path(path)


def write_json(path: str | os.PathLike, obj: Any) -> None:
    """Writes `json_text` of an object and a newline."""
    write_text(path, json_text(obj) + "\n")


def json_text(obj: Any) -> str:
    """Indented strict JSON; numpy numbers are numbers, non-finite ones null."""
    return json.dumps(_plain(obj), indent=2, ensure_ascii=False, allow_nan=False)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes text as UTF-8."""
    with _atomically(path) as file:
        file.write(text.encode())


def read_json(path: Any) -> Any:
    """What a JSON file says; None if it is not there or damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def write_npz(path: str | os.PathLike, /, **arrays: np.ndarray) -> None:
    """Writes a compressed .npz under exactly this name; the keywords name the arrays.

    Raises: InputError if an array could only be stored as a pickle.
    """
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        if array.dtype == object:
            raise InputError(
                f"Found array '{name}' of Python objects for {path}; expected numbers "
                "or text. Convert it, text with np.array(list_of_str)."
            )
    with _atomically(path) as file:
        np.savez_compressed(file, **arrays)


def write_png(path: str | os.PathLike, image: np.ndarray) -> None:
    """Writes a picture: uint8 [H, W, C] with C = 1, 3 or 4.

    Raises: InputError for another shape or type.
    """
    data = png_bytes(image)
    with _atomically(path, sync=False) as file:  # a picture can be drawn again
        file.write(data)


def png_bytes(image: np.ndarray) -> bytes:
    """A png file of a picture; see `write_png`."""
    from PIL import Image

    _check_pictures(image, 3, (1, 3, 4))
    picture, file = image[..., 0] if image.shape[-1] == 1 else image, io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return file.getvalue()


def image_grid(
    images: np.ndarray, columns: int, scale: int = 1, pad: int = 2
) -> np.ndarray:
    """One sheet of many pictures, filled row by row.

    Args:
      images: uint8 [N, H, W, C], N ≥ 1.
      columns: pictures in a row; the last row may stay short.
      scale: each pixel becomes a square of that many pixels.
      pad: white pixels around each picture.

    Returns: uint8 [rows·(scale·H + pad) + pad, columns·(scale·W + pad) + pad, C].
    Raises: InputError for another shape or type, or a number out of range.
    """
    _check_pictures(images, 4, (1, 3, 4))
    if not len(images) or columns < 1 or scale < 1 or pad < 0:
        raise InputError(
            f"Found {len(images)} pictures, columns={columns}, scale={scale}, "
            f"pad={pad}; expected at least 1, 1, 1 and 0. Correct the call."
        )
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    shape = (rows * (height + pad) + pad, columns * (width + pad) + pad, channels)
    sheet = np.full(shape, 255, np.uint8)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        top, left = pad + row * (height + pad), pad + column * (width + pad)
        sheet[top : top + height, left : left + width] = image
    return sheet


def format_table(rows: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> str:
    """Lines of `name  value`, names to the left, values to the right."""
    pairs = list(rows.items()) if isinstance(rows, Mapping) else list(rows)
    cells = [(str(name), _short(value)) for name, value in pairs]
    wide = [max((len(cell[i]) for cell in cells), default=0) for i in range(2)]
    return "\n".join(f"{name:<{wide[0]}}  {text:>{wide[1]}}" for name, text in cells)


class MetricsWriter:
    """Numbers and pictures of a run: `metrics.jsonl` and TensorBoard events."""

    def __init__(self, workdir: str | os.PathLike, resume_step: int = 0) -> None:
        """Opens both for appending; what was reported after `resume_step` is dropped.

        Raises: InputError if a row before the last of `metrics.jsonl` is not JSON.
        """
        from tensorboardX import SummaryWriter

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
        self._events = SummaryWriter(
            self._uploads.name if self._uploads else str(self._events_folder),
            purge_step=resume_step + 1,
        )

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Adds one row; values are numbers or arrays of one element."""
        values = {name: float(np.asarray(v).item()) for name, v in metrics.items()}
        row = json.dumps(_plain({"step": int(step), **values}), allow_nan=False)
        if self._rows is None:
            self._kept += row.encode() + b"\n"
            self._path.write_bytes(self._kept)
        else:
            self._rows.write(row + "\n")
            self._rows.flush()
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Adds a picture, uint8 [H, W, C], to TensorBoard."""
        _check_pictures(image, 3, (1, 3, 4))
        self._events.add_image(name, image, step, dataformats="HWC")
        self._events.flush()
        self._upload()

    def _upload(self) -> None:
        if self._uploads is not None:
            self._events_folder.mkdir(parents=True, exist_ok=True)
            for file in Path(self._uploads.name).iterdir():
                (self._events_folder / file.name).write_bytes(file.read_bytes())

    def close(self) -> None:
        """Writes out what is pending; calling it twice is fine."""
        if self._rows is not None:
            self._rows.close()
        self._events.close()
        if self._uploads is not None:
            self._upload()
            self._uploads.cleanup()
            self._uploads = None


class Progress:
    """How far a run is: one live line on a terminal, plain lines elsewhere."""

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
        self._live = self._stream.isatty()
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
            width = shutil.get_terminal_size().columns - 1
            self._stream.write("\r" + line[:width] + "\x1b[K")
            self._unfinished = True
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


class Reports:
    """The metrics and the progress of a run; does nothing where it is not enabled."""

    def __init__(
        self, workdir: str | os.PathLike, total: int, step: int, enabled: bool = True
    ) -> None:
        """Args: last step, step of the resumed checkpoint, whether to report."""
        self._writer = MetricsWriter(workdir, resume_step=step) if enabled else None
        self._progress = Progress(total, step) if enabled else None

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


@contextlib.contextmanager
def _atomically(path: str | os.PathLike, sync: bool = True) -> Iterator[BinaryIO]:
    """A file that takes its name when the block ends well, and is gone otherwise.

    `sync` waits for the disk, so that a power cut does not leave an empty file either.
    """
    path = as_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_url(path):  # an object appears whole or not at all
        buffer = io.BytesIO()
        yield buffer
        path.write_bytes(buffer.getvalue())
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
        with _atomically(path) as file:
            file.write(kept.getvalue())
    return kept.getvalue()


def _check_pictures(images: np.ndarray, rank: int, channels: tuple[int, ...]) -> None:
    if (
        images.dtype != np.uint8
        or images.ndim != rank
        or images.shape[-1] not in channels
    ):
        wanted = "[N, H, W, C]" if rank == 4 else "[H, W, C]"
        raise InputError(
            f"Found pictures of {images.dtype} {list(images.shape)}; expected uint8 "
            f"{wanted} with C in {list(channels)}. Scale to 0..255 and convert."
        )


def _plain(obj: Any) -> Any:
    """The same in JSON's own types; numbers that JSON cannot say become None."""
    if isinstance(obj, Mapping):
        return {str(key): _plain(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_plain(value) for value in obj]
    if hasattr(obj, "tolist"):  # numpy and jax arrays and scalars
        return _plain(obj.tolist())
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    if isinstance(obj, float) and not math.isfinite(obj):
        return None
    return obj


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
