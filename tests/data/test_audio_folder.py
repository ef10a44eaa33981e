"""Tests of the source `audio_folder`."""

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from cdcd_jax.data.sources import Unreadable, open_source
from cdcd_jax.errors import InputError, UsageError

SPOKEN = Path(__file__).parents[2].parent / "shared" / "data" / "spoken_digits.tar.gz"
PATTERN = r"(?P<label>\d+)_(?P<group>\w+)_\d+"


def write(
    path: Path,
    level: float = 0.5,
    count: int = 800,
    rate: int = 8000,
    channels: int = 1,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full((count, channels), level), rate)


def open_folder(path: Path, **options):
    options = {"sample_rate": 8000, "seconds": 0.1, **options}
    return open_source("audio_folder", str(path), options)


def all_of(split: Any) -> list[dict[str, Any]]:
    return [split.example(i) for i in range(len(split))]


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Named as the Free Spoken Digit Dataset: digits 1, 2 and 10, three speakers."""
    for label in (1, 2, 10):
        for speaker in ("george", "jackson", "yweweler_x"):
            for number in (0, 1):
                write(tmp_path / f"{label}_{speaker}_{number}.wav", label / 20)
    return tmp_path


def test_labels_of_folders(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for suffix in (".wav", ".FLAC", ".ogg"):
            write(tmp_path / label / f"x{suffix}", 0.25 if label == "cat" else 0.5)
    source = open_folder(tmp_path, test_fraction=0.3)
    card = source.card()
    assert card["media"] == {"kind": "audio", "shape": [800], "sample_rate": 8000}
    assert card["conditions"]["label"]["names"] == ["cat", "dog"]
    assert card["splits"] == ("train", "test")
    train, test = (all_of(source.split(name)) for name in card["splits"])
    assert len(train) == 4 and len(test) == 2
    for example in train + test:
        cat = example["key"].startswith("cat")
        assert example["condition"]["label"] == (0 if cat else 1)
        assert example["groups"] == {"label": "cat" if cat else "dog"}
        assert example["audio"].shape == (800,)
        assert example["audio"].dtype == np.float32
        assert abs(np.median(example["audio"]) - (0.25 if cat else 0.5)) < 0.01


def test_labels_of_names_split_by_group(digits: Path) -> None:
    source = open_folder(
        digits,
        label="pattern",
        pattern=PATTERN,
        split="group",
        test_groups=("george",),
    )
    assert source.card()["conditions"]["label"]["names"] == ["1", "2", "10"]
    train, test = (all_of(source.split(name)) for name in ("train", "test"))
    assert {e["groups"]["group"] for e in test} == {"george"}
    assert {e["groups"]["group"] for e in train} == {"jackson", "yweweler_x"}
    for example in train + test:
        digit = int(example["key"].split("_")[0])
        assert example["condition"]["label"] == (1, 2, 10).index(digit)
        assert example["groups"]["label"] == str(digit)
        np.testing.assert_allclose(example["audio"], digit / 20, atol=1e-3)
    drawn = open_folder(digits, label="pattern", pattern=PATTERN, split="group")
    assert len({e["groups"]["group"] for e in all_of(drawn.split("test"))}) == 1


def test_split_by_list(digits: Path) -> None:
    (digits / "test.txt").write_text("10_george_1.wav\n1_jackson_0.wav\r\n\n")
    options = {"label": "pattern", "pattern": PATTERN, "split": "list"}
    source = open_folder(digits, **options)
    keys = [e["key"] for e in all_of(source.split("test"))]
    assert keys == ["10_george_1.wav", "1_jackson_0.wav"]
    assert len(source.split("train")) == 16
    (digits / "test.txt").write_text("3_george_1.wav\n")
    with pytest.raises(InputError, match=r"'3_george_1\.wav' in .* without a file"):
        open_folder(digits, **options)
    (digits / "test.txt").write_text("1_george_1.wav\n1_george_1.wav\n")
    with pytest.raises(InputError, match="twice"):
        open_folder(digits, **options)
    with pytest.raises(InputError, match=r"none\.txt"):
        open_folder(digits, **options, test_list="none.txt")


@pytest.mark.parametrize("test", ["test", "val"])
def test_split_by_folder(tmp_path: Path, test: str) -> None:
    write(tmp_path / "train" / "a" / "1.wav")
    write(tmp_path / "train" / "b" / "2.wav")
    write(tmp_path / test / "b" / "3.wav")
    source = open_folder(tmp_path, split="folder")
    assert source.split("train").example(0)["key"] == "train/a/1.wav"
    example = source.split("test").example(0)
    assert example["key"] == f"{test}/b/3.wav" and example["condition"]["label"] == 1
    write(tmp_path / test / "c" / "4.wav")
    with pytest.raises(InputError, match="the label 'c' in the test split only"):
        open_folder(tmp_path, split="folder")


def test_without_labels(digits: Path) -> None:
    source = open_folder(digits, label="none")
    assert source.card()["conditions"] == {}
    example = source.split("train").example(0)
    assert example["condition"] == {} and example["groups"] == {}


def test_rate_channels_length_and_peak(tmp_path: Path) -> None:
    at = np.arange(11025) / 22050
    tone = 0.4 * np.sin(2 * np.pi * 200 * at)
    for label in "ab":
        (tmp_path / label).mkdir()
        stereo = np.stack([tone, np.zeros_like(tone)], 1)
        soundfile.write(tmp_path / label / "x.wav", stereo, 22050)
    source = open_folder(tmp_path, length=3000, peak=0.9, label="none")
    assert source.card()["media"]["shape"] == [3000]
    found = source.split("train").example(0)["audio"]
    assert abs(np.abs(found).max() - 0.9) < 0.01
    spectrum = np.abs(np.fft.rfft(found))
    assert abs(spectrum.argmax() * 8000 / 3000 - 200) < 3
    longer = open_folder(tmp_path, seconds=1.0, label="none")
    found = longer.split("train").example(0)["audio"]
    assert found.shape == (8000,) and found[:4000].any() and not found[4000:].any()


def test_views(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        soundfile.write(tmp_path / label / "x.wav", np.linspace(0.5, 1, 1600), 8000)

    def views(**options) -> list[float]:
        split = open_folder(tmp_path, label="none", **options).split("train")
        rngs = (np.random.default_rng(seed) for seed in range(20))
        return [float(split.example(0, rng)["audio"][0]) for rng in rngs]

    assert min(views()) < 0.4 and views() == views()
    assert min(views(amplitude=False)) >= 0.49
    assert len(set(views(amplitude=False))) > 10


def test_unreadable_files_are_named(digits: Path) -> None:
    split = open_folder(digits, label="none").split("train")
    first = split.example(0)["key"]

    def refuse(match: str) -> None:
        with pytest.raises(Unreadable, match=match) as caught:
            split.example(0)
        assert caught.value.name == str(digits / first)

    data = (digits / first).read_bytes()
    (digits / first).write_bytes(data[:-100])
    refuse("truncated")
    (digits / first).write_bytes(b"text, no sound")
    refuse("not a whole sound")
    write(digits / first, count=0)
    refuse("no samples")
    soundfile.write(digits / first, np.array([0.0, np.nan]), 8000, "FLOAT")
    refuse("NaN")
    (digits / first).unlink()
    refuse("no such file")
    split.example(1)


def test_wrong_trees_are_shown(digits: Path) -> None:
    def refuse(path: Path, match: str, **options) -> None:
        with pytest.raises(InputError, match=match) as caught:
            open_folder(path, **options)
        assert "path/<label>/*.wav" in str(caught.value)

    refuse(digits / "none", "no folder")
    refuse(digits, "without a label")
    refuse(digits, "no folder .*train", split="folder", label="none")
    write(digits / "odd.wav")
    refuse(digits, r"odd\.wav, whose name", label="pattern", pattern=PATTERN)
    (digits / "empty").mkdir()
    refuse(digits / "empty", "no sound file")


def test_all_files_as_test_leave_none_to_train(digits: Path) -> None:
    groups = ("george", "jackson", "yweweler_x")
    with pytest.raises(InputError, match="for the split train"):
        open_folder(
            digits, label="pattern", pattern=PATTERN, split="group", test_groups=groups
        )


def test_bad_options(digits: Path) -> None:
    for match, options in (
        ("sample_rate", {"sample_rate": 0}),
        ("seconds", {"seconds": 0.0}),
        ("length", {"length": -1}),
        ("peak", {"peak": 2.0}),
        ("label", {"label": "file"}),
        ("no group 'label'", {"label": "pattern", "pattern": r"\d+"}),
        ("no group 'group'", {"label": "none", "split": "group"}),
        ("unterminated", {"pattern": "("}),
        (
            "'nobody'",
            {
                "label": "pattern",
                "pattern": PATTERN,
                "split": "group",
                "test_groups": ("nobody",),
            },
        ),
    ):
        with pytest.raises(UsageError, match=match):
            open_folder(digits, **options)


@pytest.mark.skipif(not SPOKEN.exists(), reason="needs the spoken digits")
def test_real_recordings(tmp_path: Path) -> None:
    with tarfile.open(SPOKEN) as archive:
        for member in archive:
            if member.isdir() or member.name.endswith(("_3.wav", "_14.wav")):
                archive.extract(member, tmp_path, filter="data")
    source = open_folder(
        tmp_path / "recordings",
        seconds=1.0,
        label="pattern",
        pattern=PATTERN,
        split="group",
        test_groups=["theo"],
    )
    assert source.card()["conditions"]["label"]["num_classes"] == 10
    test = all_of(source.split("test"))
    assert len(test) == 20 and len(source.split("train")) == 100
    assert all(e["audio"].std() > 1e-3 for e in test)
