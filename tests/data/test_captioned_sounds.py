"""Tests of the source `captions` of sounds, which read jsonl lists."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from made_captioned import jsonl

from cdcd_jax.data.sources import Unreadable, open_source
from cdcd_jax.errors import InputError, UsageError


def all_of(split: Any) -> list[dict[str, Any]]:
    return [split.example(i) for i in range(len(split))]


def write_sound(path: Path, seconds: float, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * times), rate)


def open_sounds(path: Path, **options):
    sizes = {"sample_rate": 8000, "seconds": 0.1, **options}
    return open_source("captions", str(path), {**SOUNDS, **sizes})


SOUNDS = {"format": "jsonl", "media": "audio"}


def test_sounds_of_jsonl(tmp_path: Path) -> None:
    write_sound(tmp_path / "a" / "1.wav", 0.05)
    write_sound(tmp_path / "2.flac", 0.3, rate=16000)
    jsonl(
        tmp_path / "train.jsonl",
        {"audio": "a/1.wav", "captions": ["A tone.", "Ein Ton."]},
        {"audio": "a/1.wav", "caption": "Un son."},
    )
    jsonl(tmp_path / "test.jsonl", {"audio": "2.flac", "caption": "A long tone."})
    source = open_sounds(tmp_path, peak=0.8)
    media = {"kind": "audio", "shape": [800], "sample_rate": 8000}
    assert source.card()["media"] == media
    first, other, last = all_of(source.split("train"))
    assert [e["key"] for e in (first, other, last)] == [f"a/1.wav#{i}" for i in "012"]
    assert last["condition"] == {"text": "Un son."}
    assert last["groups"] == {"audio": "a/1.wav", "caption": "Un son."}
    assert first["audio"].shape == (800,) and first["audio"].dtype == np.float32
    assert abs(abs(first["audio"][:400]).max() - 0.8) < 1e-3
    assert not first["audio"][400:].any()  # shorter ones are filled up
    (long,) = all_of(source.split("test"))
    assert long["audio"].shape == (800,) and long["audio"][-100:].any()
    view = source.split("train").example(0, np.random.default_rng(0))["audio"]
    assert 0.2 < abs(view).max() < 0.8  # as loud as a view is
    assert source.split("train").names() == ["a/1.wav"] * 3


def test_bad_sounds_of_jsonl(tmp_path: Path) -> None:
    (tmp_path / "1.wav").write_text("no sound")
    jsonl(
        tmp_path / "train.jsonl",
        {"audio": "1.wav", "caption": "x"},
        {"image": "1.wav", "caption": "x"},
    )
    with pytest.raises(
        InputError, match=r'line 2 of .*"audio": "<path .*options\.media'
    ):
        open_sounds(tmp_path)
    rows_of = [{"audio": f"{i}.wav", "caption": "x"} for i in (1, 2)]
    for split in ("train", "test"):
        jsonl(tmp_path / f"{split}.jsonl", *rows_of)
    split = open_sounds(tmp_path).split("test")
    with pytest.raises(Unreadable, match=r"1\.wav: not a whole sound file"):
        split.example(0)
    with pytest.raises(Unreadable, match=r"2\.wav: no such file"):
        split.example(1)
    remarks = open_sounds(tmp_path).card()["remarks"]
    assert "2 sounds are in train as well as in test" in remarks[0]
    with pytest.raises(UsageError, match="'audio'; expected one of image"):
        open_source("captions", str(tmp_path), {"format": "coco", "media": "audio"})
    with pytest.raises(UsageError, match=r"sample_rate = 0; expected a number above"):
        open_sounds(tmp_path, sample_rate=0)
