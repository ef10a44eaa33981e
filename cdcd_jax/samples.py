"""Files of what a model drew: samples.npz, a file a sample, a contact sheet."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax import hosts, report


def write_samples(
    directory: pathlib.Path,
    outputs: Mapping[str, np.ndarray],
    condition: Mapping[str, np.ndarray],
    single_files: bool = True,
    sample_rate: int | None = None,
) -> np.ndarray | None:
    """Writes what a model drew; returns the contact sheet uint8 [H, W, C], if any.

    Only the main process writes.

    Args:
        directory: `<workdir>/samples/<name>`; files of these names are replaced.
        outputs: tokens int32 [N, L], and images uint8 [N, H, W, C] or audio float32
            [N, S], if they were decoded.
        condition: modality -> [N, ...].
        single_files: also one png or wav a sample.
        sample_rate: of audio, Hz.
    """
    if not hosts.is_main():
        return None
    directory.mkdir(parents=True, exist_ok=True)
    named = {f"condition/{name}": np.asarray(v) for name, v in condition.items()}
    if sample_rate:
        named["sample_rate"] = np.int32(sample_rate)
    report.write_npz(directory / "samples.npz", **outputs, **named)
    if single_files:
        for pattern in ("sample_*.png", "sample_*.wav", "original_*.wav"):
            for old in directory.glob(pattern):
                old.unlink()
    order = contact_order(condition, len(outputs["tokens"]))
    if "images" in outputs:
        if single_files:
            for i, image in enumerate(outputs["images"]):
                report.write_png(directory / f"sample_{i:05d}.png", image)
        sheet = picture_sheet(outputs["images"][order])
    elif "audio" in outputs:
        if single_files:
            _write_waves(directory, "sample", outputs["audio"], sample_rate)
        sheet = sound_sheet(outputs["audio"][order[:25]], sample_rate)
    else:  # tokens alone
        return None
    report.write_png(directory / "contact_sheet.png", sheet)
    return sheet


def picture_sheet(images: np.ndarray, columns: int = 10) -> np.ndarray:
    """Pictures uint8 [N, H, W, C] on one sheet, small ones enlarged."""
    scale = max(1, 40 // images.shape[1])
    return report.image_grid(images, min(len(images), columns), scale)


def sound_sheet(audio: np.ndarray, sample_rate: int, columns: int = 5) -> np.ndarray:
    """Spectrograms of sounds float32 [N, S] on one sheet."""
    from cdcd_jax.sound import spectrogram

    pictures = np.stack([spectrogram(wave, sample_rate) for wave in audio])
    return report.image_grid(pictures, min(len(pictures), columns))


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
    if hosts.is_main():
        write_samples(directory, outputs, originals, True, sample_rate)
        report.write_png(directory / "contact_sheet.png", sheet)
        if "audio" in outputs:
            _write_waves(directory, "original", originals["audio"], sample_rate)
    return sheet


def _write_waves(
    directory: pathlib.Path, name: str, audio: np.ndarray, sample_rate: int
) -> None:
    from cdcd_jax.sound import write_wav

    for i, wave in enumerate(audio):
        write_wav(directory / f"{name}_{i:05d}.wav", wave, sample_rate)
