"""Tests of the toy dances: what motion and music share, and that it can be heard."""

import numpy as np
import pytest

from cdcd_jax.data import toy_dance as module
from cdcd_jax.data.sources import open_source
from cdcd_jax.data.toy_music import GENRES
from cdcd_jax.errors import UsageError

RATE, HOP, WINDOW = 8000, 32, 512


@pytest.fixture(scope="module")
def examples() -> list[dict]:
    split = open_source("toy_dance").split("test")
    return [split.example(index) for index in range(24)]


def true_beats(example: dict) -> np.ndarray:
    beats = example["condition"]["beats"]
    return beats[beats != module.NO_BEAT]


def mel(audio: np.ndarray) -> np.ndarray:
    """In decibels; 40 dB below the loudest is silence."""
    import librosa

    power = librosa.feature.melspectrogram(
        y=audio, sr=RATE, n_fft=WINDOW, hop_length=HOP, n_mels=40
    )
    return librosa.power_to_db(power, ref=np.max, top_db=40)


def onsets(audio: np.ndarray) -> np.ndarray:
    import librosa

    strength = librosa.onset.onset_strength(
        S=mel(audio), sr=RATE, hop_length=HOP, n_fft=WINDOW, lag=WINDOW // HOP // 2
    )
    return librosa.onset.onset_detect(
        onset_envelope=strength, sr=RATE, hop_length=HOP, units="time", delta=0.1
    )


def f1(found: np.ndarray, beats: np.ndarray, tolerance: float = 0.07) -> float:
    """Each true beat may be matched by one that was found."""
    left, hits = list(found), 0
    for beat in beats:
        near = min(left, key=lambda x: abs(x - beat), default=np.inf)
        if abs(near - beat) <= tolerance:
            left.remove(near)
            hits += 1
    return 2 * hits / (len(found) + len(beats))


def spoiled(audio: np.ndarray, keep: int = 4) -> np.ndarray:
    """As a poor codec leaves it: of 64 frequencies of each 8 ms the strongest few."""
    from scipy.fft import dct, idct

    blocks = dct(audio.reshape(-1, 64), norm="ortho")
    np.put_along_axis(blocks, np.argsort(-np.abs(blocks), 1)[:, keep:], 0, 1)
    return idct(blocks, norm="ortho").ravel()


def test_examples_are_as_the_card_says(examples: list[dict]) -> None:
    card = open_source("toy_dance").card()
    assert card["media"] == {"kind": "audio", "shape": [32000], "sample_rate": RATE}
    for index, example in enumerate(examples):
        audio = example["audio"]
        assert audio.dtype == np.float32 and audio.shape == (32000,)
        assert np.isfinite(audio).all() and 0.59 < np.abs(audio).max() < 0.96
        assert set(example["condition"]) == set(card["conditions"])
        for name, spec in card["conditions"].items():
            value = np.asarray(example["condition"][name])
            assert list(value.shape) == spec["shape"] and value.dtype == spec["dtype"]
            assert np.isfinite(value).all()
        title = card["conditions"]["genre"]["names"][example["condition"]["genre"]]
        assert example["key"] == f"toy_dance/test/{index:06d}"
        assert example["groups"] == {"genre": title, "track": example["key"]}


def test_beats_tempo_and_phase(examples: list[dict]) -> None:
    for example in examples:
        beats, tempo = true_beats(example), float(example["condition"]["tempo"][0])
        np.testing.assert_allclose(np.diff(beats), 60 / tempo, atol=1e-5)
        assert 0.05 < beats[0] < 60 / tempo + 0.001 and beats[-1] < 4 - 0.05
        assert beats[-1] + 60 / tempo > 4  # none is left out
        assert (example["condition"]["beats"][len(beats) :] == module.NO_BEAT).all()
    phases = [true_beats(e)[0] * e["condition"]["tempo"][0] / 60 for e in examples]
    assert np.histogram(phases, 4, (0, 1))[0].min() >= 3


def test_tempi_of_the_test_split_are_held_out(examples: list[dict]) -> None:
    train = open_source("toy_dance").split("train")
    for name in module.SPLITS:
        rng = np.random.default_rng(5)
        drawn = [module._draw_timing(name, (1, 1), 4.0, rng) for _ in range(500)]
        tempi = np.array([timing.tempo for timing in drawn])
        assert {module.in_test_band(tempo) for tempo in tempi} == {name == "test"}
        assert 70 <= tempi.min() < 77 and 143 < tempi.max() <= 150
        assert {int(tempo) // 10 for tempo in tempi} >= set(range(7, 15))
    for example in (train.example(1), *examples):
        tested = "test" in example["key"]
        assert module.in_test_band(example["condition"]["tempo"][0]) == tested


def test_onsets_of_the_music_are_the_beats(examples: list[dict]) -> None:
    clean = [f1(onsets(e["audio"]), true_beats(e)) for e in examples]
    assert np.mean(clean) > 0.98 and min(clean) > 0.85
    poor = [f1(onsets(spoiled(e["audio"])), true_beats(e)) for e in examples]
    assert np.mean(poor) > 0.95
    # the measure is no gift: music of another dance of the same genre
    other = [
        f1(onsets(a["audio"]), true_beats(b))
        for a, b in zip(examples, examples[6:] + examples[:6], strict=True)
    ]
    assert np.mean(other) < 0.6


def test_librosa_finds_them_too(examples: list[dict]) -> None:
    import librosa

    found = [
        librosa.onset.onset_detect(y=e["audio"], sr=RATE, hop_length=HOP, units="time")
        for e in examples
    ]
    # its window of 2048 samples adds an onset where it leaves the padding
    scores = [
        f1(times[times > 0.15], beats[beats > 0.15])
        for times, beats in zip(found, map(true_beats, examples), strict=True)
    ]
    assert np.mean(scores) > 0.95


def test_tempo_can_be_heard(examples: list[dict]) -> None:
    right = 0
    for example in examples:
        times = onsets(example["audio"])
        numbers = np.round((times - times[0]) / np.median(np.diff(times)))
        tempo = 60 / np.polyfit(numbers, times, 1)[0]
        right += abs(tempo / example["condition"]["tempo"][0] - 1) < 0.04
    assert right >= 0.95 * len(examples)


def test_motion_shows_the_beats(examples: list[dict]) -> None:
    from scipy.signal import find_peaks

    for example in examples:
        height = example["condition"]["motion"][:, 1]
        lows, _ = find_peaks(-height, prominence=0.03, distance=12)
        assert f1(lows / 60, true_beats(example)) > 0.9
        # not the height alone: joints turn fastest just before beats, then rest
        joints = example["condition"]["motion"][:, 3:]
        speed = np.linalg.norm(np.diff(joints, axis=0), axis=1)
        frames = np.round(true_beats(example) * 60).astype(int)
        frames = frames[(frames > 8) & (frames < 235)]
        before = np.mean([speed[f - 6 : f].mean() for f in frames])
        assert before > 1.2 * speed.mean()


def test_joints_are_rotations(examples: list[dict]) -> None:
    joints = examples[3]["condition"]["motion"][:, 3:].reshape(-1, 3, 3)
    product = joints @ joints.transpose(0, 2, 1)
    assert np.abs(product - np.eye(3)).max() < 0.08  # the noise of a sensor
    assert (np.linalg.det(joints) > 0.9).all()


def test_genres_differ_in_sound_and_motion(examples: list[dict]) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def heard(example: dict) -> np.ndarray:
        spectrum = mel(example["audio"])
        return np.concatenate([spectrum.mean(1), spectrum.std(1)])

    def seen(example: dict) -> np.ndarray:
        return example["condition"]["motion"].std(0)

    train = [open_source("toy_dance").split("train").example(i) for i in range(120)]
    labels = [example["condition"]["genre"] for example in train]
    assert len(GENRES) >= 5
    for features in (heard, seen):
        classifier = make_pipeline(
            StandardScaler(), LogisticRegression(max_iter=1000)
        ).fit([features(e) for e in train], labels)
        truth = [example["condition"]["genre"] for example in examples]
        assert classifier.score([features(e) for e in examples], truth) > 0.95


def test_order_seed_and_views(examples: list[dict]) -> None:
    again = open_source("toy_dance").split("test").example(5)
    np.testing.assert_array_equal(again["audio"], examples[5]["audio"])
    np.testing.assert_array_equal(
        again["condition"]["motion"], examples[5]["condition"]["motion"]
    )
    other = open_source("toy_dance", seed=1).split("test").example(5)
    assert other["condition"]["tempo"] != again["condition"]["tempo"]
    view = open_source("toy_dance").split("test").example(5, np.random.default_rng(0))
    for name in ("beats", "tempo", "genre"):
        np.testing.assert_array_equal(view["condition"][name], again["condition"][name])
    assert np.abs(view["audio"] - again["audio"]).max() > 0.1
    assert f1(onsets(view["audio"]), true_beats(again)) > 0.85


@pytest.mark.parametrize(
    ("options", "samples", "frames"),
    [({"seconds": 2.5}, 20000, 150), ({"sample_rate": 22050}, 88200, 240)],
)
def test_other_lengths_and_rates(options: dict, samples: int, frames: int) -> None:
    source = open_source("toy_dance", options=options)
    example = source.split("train").example(0)
    assert example["audio"].shape == (samples,)
    assert example["condition"]["motion"].shape == (frames, 219)
    assert list(example["condition"]["beats"].shape) == [source.most_beats]


@pytest.mark.parametrize(
    "options",
    [
        {"seconds": 1.0},
        {"seconds": 2.51},  # 150.6 frames
        {"sample_rate": 2000},
        {"test_examples": 0},
    ],
)
def test_options_out_of_range(options: dict) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(options))} = "):
        open_source("toy_dance", options=options)


def test_what_else_is_refused() -> None:
    source = open_source("toy_dance")
    with pytest.raises(UsageError, match="needs no files"):
        open_source("toy_dance", "somewhere")
    with pytest.raises(UsageError, match="train, test"):
        source.split("valid")
    with pytest.raises(IndexError):
        source.split("test").example(200)
