"""The melodies that name digits: how they are made, and what of them is heard."""

import itertools

import numpy as np
import pytest

from cdcd_jax.data import tones as module


@pytest.fixture(scope="module")
def examples() -> list[dict]:
    split = module.Tones(0, "test", 60)
    return [split.example(index) for index in range(60)]


def test_any_two_melodies_differ_in_three_of_four_notes() -> None:
    assert len(module.MELODIES) == 10
    for one, other in itertools.combinations(module.MELODIES, 2):
        assert sum(a != b for a, b in zip(one, other, strict=True)) >= 3
    # the notes alone do not tell the digit, their order does
    assert len({tuple(sorted(melody)) for melody in module.MELODIES}) < 10


def test_examples_are_sounds_with_their_labels(examples: list[dict]) -> None:
    for index, example in enumerate(examples):
        audio, label = example["audio"], example["condition"]["label"]
        assert audio.dtype == np.float32 and audio.shape == (module.SAMPLES,)
        assert module.PEAK[0] - 0.01 < np.abs(audio).max() < module.PEAK[1] + 0.01
        assert label == index % 10 and label.dtype == np.int32
        assert example["groups"] == {"label": str(label)}
        assert example["key"] == f"tones/test/{index:06d}"
    peaks = [np.abs(example["audio"]).max() for example in examples]
    assert max(peaks) - min(peaks) > 0.3


def test_the_last_note_ends_within_the_clip() -> None:
    longest = module.ONSET + 4 * module.SECONDS[1]
    assert longest < module.SAMPLES / module.SAMPLE_RATE == 0.768
    highest = module.ROOT * 2 ** ((module.CHORD[-1] + module.TUNING) / 12)
    harmonics = max(max(partials) for partials in module.INSTRUMENTS)
    assert highest * harmonics < 0.48 * module.SAMPLE_RATE


def test_pitches_are_those_of_the_melody(examples: list[dict]) -> None:
    """The strongest low frequency where each of the four notes must sound."""
    for example in examples:
        audio = example["audio"]
        loud = np.flatnonzero(np.abs(audio) > 0.1 * np.abs(audio).max())
        found = []
        for i in range(4):
            middle = loud[0] + int((i + 0.35) * np.mean(module.SECONDS) * 8000)
            part = audio[middle - 300 : middle + 300] * np.hanning(600)
            spectrum = np.abs(np.fft.rfft(part, 8000))[200:800]  # 1 Hz apart
            found.append(200 + spectrum.argmax())
        steps = 12 * np.log2(np.array(found) / module.ROOT)
        wanted = np.take(module.CHORD, module.MELODIES[example["condition"]["label"]])
        assert np.abs(steps - wanted).max() < 0.7


def test_seed_split_and_index_say_all() -> None:
    train = module.Tones(0, "train", 60)
    same = module.Tones(0, "train", 1000).example(7)["audio"]
    np.testing.assert_array_equal(train.example(7)["audio"], same)
    others = (
        module.Tones(0, "test", 60).example(7),
        module.Tones(1, "train", 60).example(7),
        train.example(17),  # the same digit
        train.example(7, np.random.default_rng(5)),  # played anew
    )
    for other in others:
        assert other["condition"]["label"] == 7
        assert np.abs(other["audio"] - same).max() > 0.1
    again = train.example(7, np.random.default_rng(5))["audio"]
    np.testing.assert_array_equal(others[-1]["audio"], again)
    for index in (-1, 60):
        with pytest.raises(IndexError):
            train.example(index)
