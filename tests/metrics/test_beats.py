"""Onsets, beats and tempo: cases by hand, click tracks, and the published protocols."""

import librosa
import numpy as np
import pytest
from scipy.fft import dct, idct
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from cdcd_jax.data.sources import open_source
from cdcd_jax.metrics import beats

RNG = np.random.default_rng(0)


def clicks(times: np.ndarray, rate: int, seconds: float = 4.0) -> np.ndarray:
    return librosa.clicks(times=times, sr=rate, length=round(seconds * rate))


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_onsets_of_clicks_are_found_to_a_few_milliseconds(rate: int) -> None:
    times = 0.3 + 0.45 * np.arange(8) + RNG.uniform(0, 0.02, 8)
    late = beats.onset_times(clicks(times, rate), rate) - times
    assert late.shape == (8,)
    assert np.abs(late).max() < 0.03 and np.std(late) < 0.004


def test_silence_has_no_onset() -> None:
    assert len(beats.onset_times(np.zeros(16000), 8000)) == 0


def test_onsets_survive_a_codec() -> None:
    split = open_source("toy_dance").split("test")
    examples = [split.example(index) for index in range(18)]
    true = [e["condition"]["beats"] for e in examples]
    true = [times[times >= 0] for times in true]

    def spoiled(audio: np.ndarray) -> np.ndarray:
        """Of 64 frequencies of each 8 ms the 4 strongest."""
        blocks = dct(audio.reshape(-1, 64), norm="ortho")
        np.put_along_axis(blocks, np.argsort(-np.abs(blocks), 1)[:, 4:], 0, 1)
        return idct(blocks, norm="ortho").ravel()

    for change, least in ((lambda audio: audio, 0.98), (spoiled, 0.95)):
        found = [beats.onset_times(change(e["audio"]), 8000) for e in examples]
        scores = [beats.beat_f1(*pair) for pair in zip(found, true, strict=True)]
        assert np.mean(scores) > least
        tempi = [e["condition"]["tempo"][0] for e in examples]
        heard = [beats.tempo_of(times) for times in found]
        assert np.abs(np.divide(heard, tempi) - 1).max() < 0.04


def test_f1_by_hand() -> None:
    f1 = beats.beat_f1
    assert f1(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 1
    assert f1(np.array([1.0, 2.0]), np.array([1.05, 2.08, 3.0])) == 2 / 5
    # one onset for two beats, and two onsets for one beat, are one pair each
    assert f1(np.array([1.0]), np.array([0.95, 1.05])) == 2 / 3
    assert f1(np.array([0.95, 1.05]), np.array([1.0])) == 2 / 3
    # each beat's nearest onset is 1.05; a matching that takes it greedily loses a pair
    assert f1(np.array([0.95, 1.05]), np.array([1.01, 1.1])) == 1
    assert f1(np.array([]), np.array([])) == 1
    assert f1(np.array([]), np.array([1.0])) == f1(np.array([1.0]), np.array([])) == 0


def test_no_matching_has_more_pairs() -> None:
    for _ in range(200):
        found, true = (RNG.uniform(0, 1, RNG.integers(1, 12)) for _ in range(2))
        near = csr_matrix(np.abs(found[:, None] - true) <= 0.07)
        pairs = np.sum(maximum_bipartite_matching(near) >= 0)
        expected = 2 * pairs / (len(found) + len(true))
        assert beats.beat_f1(found, true) == pytest.approx(expected)


@pytest.mark.parametrize("tempo", [62.5, 70.0, 93.0, 120.0, 150.0, 180.0])
def test_tempo_with_onsets_missing_and_extra(tempo: float) -> None:
    times = 0.2 + np.arange(0, 3.7, 60 / tempo) + RNG.uniform(-0.004, 0.004)
    within = lambda onsets: beats.tempo_of(onsets) == pytest.approx(tempo, rel=0.02)
    assert beats.tempo_of(times) == pytest.approx(tempo, rel=1e-6)
    assert within(times + RNG.uniform(-0.008, 0.008, len(times)))
    for i in range(1, len(times) - 1):
        assert within(np.delete(times, i))
    for extra in times[:-1] + 0.4 * 60 / tempo:
        assert within(np.sort([*times, extra]))


def test_tempo_of_few_onsets() -> None:
    assert np.isnan(beats.tempo_of(np.array([])))
    assert np.isnan(beats.tempo_of(np.array([1.0])))
    assert np.isnan(beats.tempo_of(np.array([1.0, 1.1])))  # 600 a minute
    assert beats.tempo_of(np.array([0.0, 0.7, 2.1])) == pytest.approx(60 / 0.7)
    # twice as fast as the fastest: every second one
    assert beats.tempo_of(np.arange(0, 4, 0.25)) == pytest.approx(120)
    assert beats.tempo_of(np.arange(0, 60, 0.5) + 0.1) == pytest.approx(120)


def test_bins_are_those_of_the_published_calls() -> None:
    times = np.array([0.3, 0.8, 2.2, 2.6])
    audio = clicks(times, 22050) + 0.01 * RNG.normal(size=88200)
    for name, options in beats.PEAKS.items():
        onsets = librosa.onset.onset_detect(y=audio, sr=22050, units="time", **options)
        expected = np.zeros(4, bool)
        expected[np.trunc(onsets).astype(int)] = True
        np.testing.assert_array_equal(
            beats.second_bins(audio, 22050)[name], expected, name
        )
    for rate in (8000, 22050):
        bins = beats.second_bins(clicks(times, rate), rate)
        assert bins["cdcd"].tolist() == [True, False, True, False]
    assert len(beats.second_bins(clicks(times, 8000, 3.5), 8000)["loris"]) == 4


def bins(*clips: str) -> list[np.ndarray]:
    return [np.array([mark == "x" for mark in clip]) for clip in clips]


def test_scores_by_hand() -> None:
    generated = bins("xx..", "xxxx", "....", "x...")
    true = bins("x.x.", "x...", "xx..", "....")
    scores = beats.cdcd_scores(generated, true)  # the last has no onset: left out
    assert scores.clips == 3
    assert scores.coverage == pytest.approx((2 / 2 + 4 / 1 + 0) / 3)
    assert scores.hit == pytest.approx((1 / 2 + 1 + 0) / 3)
    scores = beats.loris_scores(generated, true)
    coverage, hit = [1 / 2, 1 / 4, 0, 0], [1 / 2, 1, 0, 0]
    assert scores.clips == 4
    assert scores.coverage == pytest.approx(np.mean(coverage))
    assert scores.hit == pytest.approx(np.mean(hit))
    assert scores.coverage_std == pytest.approx(np.std(coverage, ddof=1))
    assert scores.hit_std == pytest.approx(np.std(hit, ddof=1))
    mean = 2 * scores.coverage * scores.hit / (scores.coverage + scores.hit)
    assert scores.f1 == pytest.approx(mean)


def test_scores_of_unlike_lengths_and_of_nothing() -> None:
    assert beats.loris_scores(bins("xx"), bins("x.xx")).hit == 1
    with pytest.raises(ValueError, match="2 and 4 seconds"):
        beats.cdcd_scores(bins("xx"), bins("x.xx"))
    with pytest.raises(ValueError, match="4 generated"):
        beats.loris_scores(bins("x.xx"), bins("xx"))
    nothing = beats.cdcd_scores(bins("x"), bins("."))
    assert np.isnan(nothing.hit) and nothing.clips == 0
