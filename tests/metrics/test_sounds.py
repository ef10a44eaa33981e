"""The classifier of short sounds: made-up ones, and real digits where there are any."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from cdcd_jax.data.sources import open_source
from cdcd_jax.data.tones import SAMPLE_RATE, Tones
from cdcd_jax.metrics.sounds import SoundClassifier, features
from cdcd_jax.models.saved import load_config

RECORDINGS = (
    Path(__file__).resolve().parents[3] / "shared" / "data" / "spoken_digits.tar.gz"
)


def glides(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Tones that rise, stay or fall, at any place and loudness: [N, 8000], [N]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, number)
    audio = np.zeros((number, 8000), np.float32)
    for wave, label in zip(audio, labels, strict=True):
        length = rng.integers(3000, 5000)
        pitch = 500 * 2.0 ** np.linspace(0, label - 1, length)
        tone = np.sin(2 * np.pi * np.cumsum(pitch) / 8000) * rng.uniform(0.1, 1.0)
        start = rng.integers(0, 8000 - length)
        wave[start : start + length] = tone
    return audio, labels


def test_glides_are_told_apart_by_their_shape() -> None:
    judge = SoundClassifier(*glides(60, 0), 8000)
    audio, labels = glides(30, 1)
    assert judge.accuracy(audio, labels) == 1.0
    assert judge.accuracy(audio, (labels + 1) % 3) == 0.0


def test_silence_and_loudness() -> None:
    audio, _ = glides(3, 2)
    silence = features(np.zeros((1, 8000), np.float32), 8000)
    np.testing.assert_allclose(silence, 0, atol=1e-5)  # no time is louder, none sounds
    np.testing.assert_allclose(
        features(audio, 8000), features(0.5 * audio, 8000), atol=0.05
    )


def test_every_held_out_tone_is_understood() -> None:
    found = {}
    for name, number in (("train", 200), ("test", 200)):
        split = Tones(0, name, number)
        examples = [split.example(index) for index in range(number)]
        labels = np.array([e["condition"]["label"] for e in examples])
        found[name] = np.stack([e["audio"] for e in examples]), labels
    judge = SoundClassifier(*found["train"], SAMPLE_RATE)
    audio, labels = found["test"]
    np.testing.assert_array_equal(judge.predict(audio), labels)
    # it listens to the order of the notes
    assert judge.accuracy(audio[:, ::-1].copy(), labels) < 0.3


@pytest.mark.slow
def test_real_digits_are_understood(tmp_path: Path) -> None:
    if not RECORDINGS.exists():
        pytest.skip("the recordings of spoken digits are not at hand")
    with tarfile.open(RECORDINGS) as archive:
        archive.extractall(tmp_path, filter="data")
    data = load_config("configs/tokenizers/spoken_digits.py")["data"]
    folder = str(tmp_path / "recordings")
    source = open_source(data["raw"], folder, data["options"])
    assert source.card()["media"]["shape"] == [5120]
    found = {}
    for name in ("train", "test"):
        split = source.split(name)
        examples = [split.example(i) for i in range(len(split))]
        labels = np.array([e["condition"]["label"] for e in examples])
        found[name] = np.stack([e["audio"] for e in examples]), labels
    assert (len(found["train"][1]), len(found["test"][1])) == (2700, 300)
    assert SoundClassifier(*found["train"], 8000).accuracy(*found["test"]) > 0.97
