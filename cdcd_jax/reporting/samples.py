"""Files of what a model drew: samples.npz, a file a sample, a contact sheet."""

import contextlib
import glob
import os
import pathlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cdcd_jax.errors import InputError
from cdcd_jax.reporting import files, pictures
from cdcd_jax.reporting.sheets import (
    Medium,
    contact_order,
    contact_sheet,
    picture_sheet,
    sound_sheet,
    word,
)
from cdcd_jax.runtime import hosts, storage

_LAST = "samples.npz"  # written last: a folder that has it is whole


def write_samples(
    directory: pathlib.Path,
    outputs: Mapping[str, np.ndarray],
    condition: Mapping[str, np.ndarray],
    media: Mapping[str, Medium],
    single_files: bool = True,
    titles: Sequence[str] | None = None,
    more: Callable[[pathlib.Path], Any] = lambda folder: None,
    sheet: np.ndarray | None = None,
) -> np.ndarray | None:
    """Writes what a model drew; returns the contact sheet uint8 [H, W, C], if any.

    Only the main process writes.

    Args:
        directory: `<workdir>/samples/<name>`; what was drawn into it before is
            replaced as a whole.
        outputs: as samples.npz has them: tokens int32 [N, L], and what they were
            decoded to.
        condition: modality -> [N, ...]; texts as unicode.
        media: name among the outputs -> what it is.
        single_files: also a file a sample and medium: png, wav or txt.
        titles: N, to stand below the pictures of the sheet.
        more: writes further files into the folder that it gets.
        sheet: another contact sheet than `contact_sheet` makes.
    """
    if not hosts.is_main():
        return None
    named = {f"condition/{name}": np.asarray(v) for name, v in condition.items()}
    for name, medium in media.items():
        if medium.sample_rate:
            rate = "sample_rate" if medium.stem == "sample" else f"{name}/sample_rate"
            named[rate] = np.int32(medium.sample_rate)
    number = len(next(iter(outputs.values())))
    if sheet is None:
        order = contact_order(condition, number)
        sheet = contact_sheet(outputs, media, order, titles)
    need = sum(np.asarray(array).nbytes for array in outputs.values())
    with storage.writing(directory, need), _replaced(directory) as folder:
        files.write_npz(folder / _LAST, **outputs, **named)
        if sheet is not None:  # else tokens alone
            pictures.write_png(folder / "contact_sheet.png", sheet)
        for name, medium in media.items() if single_files else ():
            _write_single(folder, outputs[name], medium)
        more(folder)
    return sheet


def _write_single(folder: pathlib.Path, samples: np.ndarray, medium: Medium) -> None:
    """A file a sample."""
    if medium.kind == "audio":
        _write_waves(folder, medium.stem, samples, medium.sample_rate)
    for i, sample in enumerate(samples):
        file = folder / f"{medium.stem}_{i:05d}"
        if medium.kind in ("image", "video"):
            write = dict(image=pictures.write_png, video=pictures.write_video)
            write[medium.kind](file.with_suffix(".png"), sample)
        elif medium.kind in ("text", "label"):
            files.write_text(file.with_suffix(".txt"), f"{word(sample, medium)}\n")


def name_fault(name: str, taken: str) -> str:
    """What is expected of a name of samples that gets a folder; '' if it is one.

    Args:
        taken: a pattern of names that somebody else uses.
    """
    if not name.isprintable() or len(name.encode()) > 200:
        return "printable characters, at most 200 bytes of them"
    if not name or name.startswith(".") or pathlib.PurePath(name).name != name:
        return "a name of a folder, no path and no dot in front"
    if re.fullmatch(taken, name):
        return "another name than those that training and evaluation use"
    return ""


def check_place(directory: pathlib.Path) -> None:
    """Makes a folder for samples, and tries whether they can be written there.

    Of a work directory that is not there nothing is made.

    Raises:
        InputError: they cannot.
    """
    if not hosts.is_main() or files.is_url(directory):
        return
    directory = directory.absolute()
    if not directory.parents[1].exists():
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
    if files.is_url(directory):
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


def _ours(*folders: Any) -> re.Pattern:
    """Names of the files that `write_samples` puts into a folder, or put there.

    Other files there are let alone. Outputs with a name of their own have files by that
    name: which, the samples.npz of before and the new one say.
    """
    stems = []
    for folder in folders:
        with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile):
            with (folder / _LAST).open("rb") as file, np.load(file) as arrays:
                if "tokens" not in arrays.files:
                    stems += [name for name in arrays.files if "/" not in name]
    of_outputs = "|".join(map(re.escape, stems)) or "(?!)"
    return re.compile(
        rf"{re.escape(_LAST)}|contact_sheet\.png"
        r"|sample_\d{5,}\.(png|wav|mp4)|original_\d{5,}\.wav"
        rf"|({of_outputs})_\d{{5,}}\.(png|wav|txt)"
    )


@contextlib.contextmanager
def _replaced(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder whose files replace our files in `directory` if the block ends well."""
    is_last = lambda file: file.name == _LAST
    with _partial(directory) as folder:
        yield folder
        directory.mkdir(parents=True, exist_ok=True)
        there = directory.iterdir() if directory.exists() else ()  # a bucket has none
        ours = _ours(directory, folder)
        for old in sorted(there, key=is_last, reverse=True):
            if ours.fullmatch(old.name):
                old.unlink()
        for new in sorted(folder.iterdir(), key=is_last):
            if files.is_url(directory):
                (directory / new.name).write_bytes(new.read_bytes())
            else:
                new.replace(directory / new.name)


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
    ((kind, given),) = originals.items()
    name = {"image": "images", "audio": "audio"}[kind]
    pairs, columns = (given, outputs[name]), 16 if kind == "image" else 4
    draw = picture_sheet
    if kind == "audio":
        draw = lambda sounds, columns: sound_sheet(sounds, sample_rate, columns)
    number = len(given) // columns * columns or len(given)
    columns = min(columns, number)
    rows = [part[i : i + columns] for i in range(0, number, columns) for part in pairs]
    sheet = draw(np.concatenate(rows), columns)

    def more(folder: pathlib.Path) -> None:
        if kind == "audio":
            _write_waves(folder, "original", given, sample_rate)

    media = {name: Medium(kind, sample_rate=sample_rate)}
    write_samples(directory, outputs, originals, media, more=more, sheet=sheet)
    return sheet


def _write_waves(
    directory: pathlib.Path, name: str, audio: np.ndarray, sample_rate: int
) -> None:
    from cdcd_jax.reporting.sound import write_wav

    for i, wave in enumerate(audio):
        write_wav(directory / f"{name}_{i:05d}.wav", wave, sample_rate)
