"""Tests of the source `tiktok`, on small files of the real format."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from cdcd_jax.data.sources import Unreadable, open_source
from cdcd_jax.errors import InputError, UsageError

# of the published lists
NAMES = {
    "train": ["000000_0_0_seg3", "000001_1_21_seg7"],
    "test": ["000011_79_327_seg5", "000011_82_354_seg1"],
}
PLACES = {"audio": "/data/author/tiktok", "motion": "./tiktok", "video": "."}


@pytest.fixture
def tiktok(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for kind, place in PLACES.items():
        (tmp_path / f"{kind}_s2").mkdir()
        suffix = "wav" if kind == "audio" else "npy"
        for split, names in NAMES.items():
            lines = [f"{place}/{kind}_s2/{name}.{suffix}\n" for name in names]
            path = tmp_path / f"tiktok_{kind}_{split}_segment.txt"
            path.write_text("".join(lines))
    for name in NAMES["train"] + NAMES["test"]:
        wave = 0.3 * rng.uniform(-1, 1, 44100)
        soundfile.write(tmp_path / f"audio_s2/{name}.wav", wave, 22050)
        np.save(tmp_path / f"motion_s2/{name}.npy", rng.normal(size=(60, 25, 3)))
        np.save(tmp_path / f"video_s2/{name}.npy", rng.normal(size=(1, 2048)))
    return tmp_path


def test_tiktok(tiktok: Path) -> None:
    source = open_source("tiktok", str(tiktok), {"video": True})
    card = source.card()
    assert card["splits"] == ("train", "test")
    assert card["media"] == {"kind": "audio", "shape": [44100], "sample_rate": 22050}
    shapes = {name: spec["shape"] for name, spec in card["conditions"].items()}
    assert shapes == {"motion": [60, 75], "video": [1, 2048]}
    test = source.split("test")
    assert len(test) == 2
    example = test.example(0)
    assert example["key"] == "test/000011_79_327_seg5"
    assert example["groups"] == {"track": "79"}
    stored = np.load(tiktok / "motion_s2" / "000011_79_327_seg5.npy")
    motion = example["condition"]["motion"]
    np.testing.assert_allclose(motion, stored.reshape(60, 75), rtol=1e-6)
    assert motion.dtype == np.float32
    assert abs(np.abs(example["audio"]).max() - 0.95) < 1e-3
    assert set(open_source("tiktok", str(tiktok)).card()["conditions"]) == {"motion"}


@pytest.mark.parametrize(
    ("shape", "match"),
    [((120, 219), "expected"), ((60, 72), "expected"), ((75, 60), "expected")],
)
def test_wrong_motion(tiktok: Path, shape: tuple[int, int], match: str) -> None:
    np.save(tiktok / "motion_s2" / "000000_0_0_seg3.npy", np.zeros(shape))
    split = open_source("tiktok", str(tiktok)).split("train")
    with pytest.raises(Unreadable, match=rf"{match} \[60, 75\]"):
        split.example(0)


def test_wrong_trees(tiktok: Path) -> None:
    with pytest.raises(InputError, match=r"no folder .*\n.*tiktok_audio_train"):
        open_source("tiktok", str(tiktok / "none"))
    for kind in PLACES:
        path = tiktok / f"tiktok_{kind}_test_segment.txt"
        path.write_text(path.read_text().replace("000011_79_327", "dance"))
    with pytest.raises(InputError, match="the segment dance_seg5"):
        open_source("tiktok", str(tiktok))
    with pytest.raises(UsageError, match="video_frames"):
        open_source("tiktok", str(tiktok), {"video_frames": 0})
    with pytest.raises(UsageError, match="genre"):
        open_source("tiktok", str(tiktok), {"genre": True})
