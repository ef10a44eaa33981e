"""Dances and their music, small, in the files that D2M-GAN and CDCD publish."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

# of the published lists
NAMES = {
    "train": ["gLO_sBM_c01_d14_mLO5_ch04_seg1", "gMH_sFM_c01_d24_mMH5_ch20_seg2"],
    "val": ["gKR_sBM_c01_d30_mKR2_ch01_seg3"],
    "test": ["gJB_sBM_c01_d09_mJB5_ch02_seg1", "gBR_sBM_c01_d04_mBR0_ch02_seg1"],
}


def write_wave(path: Path, wave: np.ndarray, rate: int = 22050) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate)


def write_array(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def write_list(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_segments(
    path: Path,
    seconds: int = 2,
    at: str = "/data/author/aistplus",
    names_of: Mapping[str, list[str]] = NAMES,
) -> None:
    rng = np.random.default_rng(0)
    end = "" if seconds == 2 else "_s6"
    for split, names in names_of.items():
        for kind, suffix in (("audio", "wav"), ("motion", "npy"), ("video", "npy")):
            folder = f"{kind}_s{seconds}/{split}"
            lines = [f"{at}/{folder}/{name}.{suffix}" for name in names]
            write_list(path / f"aist_{kind}_{split}_segment{end}.txt", lines)
        for name in names:
            wave = 0.2 * rng.uniform(-1, 1, seconds * 22050)
            write_wave(path / f"audio_s{seconds}/{split}/{name}.wav", wave)
            motion = rng.normal(size=(60 * seconds, 219))
            write_array(path / f"motion_s{seconds}/{split}/{name}.npy", motion)
            video = rng.normal(size=(1, 2048))
            write_array(path / f"video_s{seconds}/{split}/{name}.npy", video)
