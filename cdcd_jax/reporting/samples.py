"""Files of what a model drew: samples.npz, a file a sample, a contact sheet."""

import contextlib
import glob
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cdcd_jax.errors import InputError
from cdcd_jax.reporting import report
from cdcd_jax.runtime import hosts

_LAST = "samples.npz"  # written last: a folder that has it is whole
# What is written here; other files in a folder of samples are let alone.
_OURS = re.compile(
    rf"{re.escape(_LAST)}|contact_sheet\.png"
    r"|sample_\d{5,}\.(png|wav|mp4)|original_\d{5,}\.wav"
)
_TITLED = 112  # pixels a side, at least, of a picture with a title
_FONT_SIZE, _LINE, _MOST_LINES = 11, 14, 4  # pixels, pixels, lines of a title


def write_samples(
    directory: pathlib.Path,
    outputs: Mapping[str, np.ndarray],
    condition: Mapping[str, np.ndarray],
    single_files: bool = True,
    sample_rate: int | None = None,
    titles: Sequence[str] | None = None,
    more: Callable[[pathlib.Path], Any] = lambda folder: None,
) -> np.ndarray | None:
    """Writes what a model drew; returns the contact sheet uint8 [H, W, C], if any.

    Only the main process writes.

    Args:
        directory: `<workdir>/samples/<name>`; what was drawn into it before is
            replaced as a whole.
        outputs: tokens int32 [N, L], and images uint8 [N, H, W, C] or audio float32
            [N, S], if they were decoded.
        condition: modality -> [N, ...]; texts as unicode.
        single_files: also one png or wav a sample.
        sample_rate: of audio, Hz.
        titles: N, to stand below the pictures of the sheet.
        more: writes further files into the folder that it gets.
    """
    if not hosts.is_main():
        return None
    named = {f"condition/{name}": np.asarray(v) for name, v in condition.items()}
    if sample_rate:
        named["sample_rate"] = np.int32(sample_rate)
    order, sheet = contact_order(condition, len(outputs["tokens"])), None
    if "images" in outputs:
        sheet = picture_sheet(outputs["images"][order], titles=_at(titles, order))
    elif "audio" in outputs:
        order = order[:25]
        titles = _at(titles, order)
        sheet = sound_sheet(outputs["audio"][order], sample_rate, titles=titles)
    with _replaced(directory) as folder:
        report.write_npz(folder / _LAST, **outputs, **named)
        if sheet is not None:  # else tokens alone
            report.write_png(folder / "contact_sheet.png", sheet)
        for i, image in enumerate(outputs.get("images", ()) if single_files else ()):
            report.write_png(folder / f"sample_{i:05d}.png", image)
        if "audio" in outputs and single_files:
            _write_waves(folder, "sample", outputs["audio"], sample_rate)
        more(folder)
    return sheet


def check_place(directory: pathlib.Path) -> None:
    """Makes a folder for samples, and tries whether they can be written there.

    Of a work directory that is not there nothing is made.

    Raises:
        InputError: they cannot.
    """
    is_here = hosts.is_main() and not report.is_url(directory)
    if not is_here or not directory.parents[1].exists():
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _partial(directory) as folder:
            probe = folder / f".{_LAST}.probe"
            probe.write_bytes(b"probe")
            probe.replace(directory / probe.name).unlink()
    except OSError as error:
        raise InputError(
            f"Found that samples cannot be written to {directory} ({error}); expected "
            "a folder, or a place for one. Make room there, or choose another place "
            "with --name or --workdir."
        ) from error


@contextlib.contextmanager
def _partial(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """An empty local folder, beside `directory` if that is, and gone afterwards."""
    if report.is_url(directory):
        with tempfile.TemporaryDirectory() as name:
            yield pathlib.Path(name)
        return
    name, own = directory.name, os.getpid()
    for left in directory.parent.glob(f".{glob.escape(name)}.*.partial"):
        maker = left.name.split(".")[-2]
        if maker.isdecimal() and (int(maker) == own or not _is_alive(int(maker))):
            shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
    partial = directory.with_name(f".{name}.{own}.partial")
    partial.mkdir(parents=True)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


@contextlib.contextmanager
def _replaced(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder whose files replace our files in `directory` if the block ends well."""
    is_last = lambda file: file.name == _LAST
    with _partial(directory) as folder:
        yield folder
        directory.mkdir(parents=True, exist_ok=True)
        there = directory.iterdir() if directory.exists() else ()  # a bucket has none
        for old in sorted(there, key=is_last, reverse=True):
            if _OURS.fullmatch(old.name):
                old.unlink()
        for new in sorted(folder.iterdir(), key=is_last):
            if report.is_url(directory):
                (directory / new.name).write_bytes(new.read_bytes())
            else:
                new.replace(directory / new.name)


def picture_sheet(
    images: np.ndarray, columns: int = 10, titles: Sequence[str] | None = None
) -> np.ndarray:
    """Pictures uint8 [N, H, W, C] on one sheet, small ones enlarged."""
    columns = min(len(images), columns)
    if titles is None:
        return report.image_grid(images, columns, max(1, 40 // images.shape[1]))
    scale = max(1, -(-_TITLED // images.shape[2]))
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    return report.image_grid(titled(images, titles), columns, pad=4)


def sound_sheet(
    audio: np.ndarray,
    sample_rate: int,
    columns: int = 5,
    titles: Sequence[str] | None = None,
) -> np.ndarray:
    """Spectrograms of sounds float32 [N, S] on one sheet."""
    from cdcd_jax.reporting.sound import spectrogram

    pictures = np.stack([spectrogram(wave, sample_rate) for wave in audio])
    if titles is not None:
        pictures = titled(pictures, titles)
    return report.image_grid(pictures, min(len(pictures), columns))


def titled(pictures: np.ndarray, titles: Sequence[str]) -> np.ndarray:
    """Each picture above its title, in lines: uint8 [N, H + strip, W, 3].

    A strip is as high as the longest title needs, four lines at most.

    Args:
        pictures: uint8 [N, H, W, C] with C = 1 or 3.
        titles: N.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_FONT_SIZE)
    number, height, width, channels = pictures.shape
    lines = [_lines(title, font, width - 4) for title in titles]
    strip = _LINE * max(map(len, lines)) + 4
    out = np.full((number, height + strip, width, 3), 255, np.uint8)
    out[:, :height] = pictures if channels == 3 else pictures[..., :1]
    for row, text in zip(out, lines, strict=True):
        paper = Image.new("L", (width, strip), 255)
        pen = ImageDraw.Draw(paper)
        for i, line in enumerate(text):
            pen.text((2, 1 + i * _LINE), line, fill=0, font=font)
        row[height:] = np.asarray(paper)[..., None]
    return out


def _lines(title: str, font: Any, width: int) -> list[str]:
    """The title in lines of at most so many pixels; what is left out leaves dots."""
    fits = lambda text: font.getlength(text) <= width
    lines, line = [], ""
    for word in title.split():
        if line and not fits(f"{line} {word}"):
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
        while not fits(line) and len(line) > 1:  # a word longer than a line
            end = next(
                n for n in range(len(line) - 1, 0, -1) if n == 1 or fits(line[:n])
            )
            lines.append(line[:end])
            line = line[end:]
    lines += [line] if line else []
    if len(lines) > _MOST_LINES:
        last = lines[_MOST_LINES - 1]
        while last and not fits(f"{last} ..."):
            last = last[:-1]
        lines[_MOST_LINES - 1 :] = [f"{last} ..."]
    return lines


def _at(titles: Sequence[str] | None, order: np.ndarray) -> list[str] | None:
    return None if titles is None else [titles[i] for i in order]


def contact_order(condition: Mapping[str, np.ndarray], number: int) -> np.ndarray:
    """Which samples the sheet shows, at most 100: with labels, one class a column."""
    if "label" not in condition:
        return np.arange(min(number, 100))
    labels = np.asarray(condition["label"])
    by_class = [np.flatnonzero(labels == c) for c in np.unique(labels)][:10]
    rows = min(10, *(len(c) for c in by_class)) if len(by_class) > 1 else 100
    if len(by_class) == 1:
        return by_class[0][:rows]
    return np.stack([c[:rows] for c in by_class], axis=1).reshape(-1)


def compare(
    directory: pathlib.Path,
    originals: Mapping[str, np.ndarray],
    outputs: Mapping[str, Any],
    sample_rate: int | None = None,
) -> np.ndarray:
    """Writes reconstructions beside their originals; returns the sheet uint8.

    Pictures stand in pairs of rows, originals above; of sounds, spectrograms do, and
    `original_*.wav` lie beside `sample_*.wav`.

    Args:
        originals: {"image": uint8 [N, H, W, C]} or {"audio": float32 [N, S]}.
        outputs: of the tokenizer's `sample` for these.
    """
    if "images" in outputs:
        pairs, draw, columns = (
            (originals["image"], outputs["images"]),
            picture_sheet,
            16,
        )
    else:
        pairs, columns = (originals["audio"], outputs["audio"]), 4
        draw = lambda sounds, columns: sound_sheet(sounds, sample_rate, columns)
    number = len(pairs[0]) // columns * columns or len(pairs[0])
    columns = min(columns, number)
    rows = [part[i : i + columns] for i in range(0, number, columns) for part in pairs]
    sheet = draw(np.concatenate(rows), columns)

    def more(folder: pathlib.Path) -> None:
        report.write_png(folder / "contact_sheet.png", sheet)
        if "audio" in outputs:
            _write_waves(folder, "original", originals["audio"], sample_rate)

    write_samples(directory, outputs, originals, True, sample_rate, more=more)
    return sheet


def _write_waves(
    directory: pathlib.Path, name: str, audio: np.ndarray, sample_rate: int
) -> None:
    from cdcd_jax.reporting.sound import write_wav

    for i, wave in enumerate(audio):
        write_wav(directory / f"{name}_{i:05d}.wav", wave, sample_rate)
