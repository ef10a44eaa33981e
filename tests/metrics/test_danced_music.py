"""The figures of music drawn for dances, on short toy dances."""

import numpy as np
import pytest

from cdcd_jax.data.sources import open_source
from cdcd_jax.errors import InputError
from cdcd_jax.metrics.figures import FIGURES
from cdcd_jax.metrics.music import GenreClassifier, danced_music, partners

NAMES = """beat_f1_70ms beat_hit_cdcd beat_coverage_cdcd beat_hit_loris
beat_coverage_loris genre_accuracy""".split()


def decoded(split: str, number: int) -> dict:
    options = {"seconds": 2.5, "sample_rate": 8000}
    source = open_source("toy_dance", options=options).split(split)
    examples = [source.example(index) for index in range(number)]
    conditions = [example["condition"] for example in examples]
    names = ("beats", "tempo", "genre")
    return {
        "audio": np.stack([example["audio"] for example in examples]),
        "sample_rate": 8000,
        "condition": {n: np.stack([c[n] for c in conditions]) for n in names},
    }


@pytest.fixture(scope="module")
def train() -> dict:
    return decoded("train", 90)


@pytest.fixture(scope="module")
def test() -> dict:
    return decoded("test", 18)


def test_figures_of_true_music_and_of_another_dances(train: dict, test: dict) -> None:
    other = {**test, "audio": np.roll(test["audio"], 1, axis=0), "truth": test}
    figures = danced_music(
        {"unguided": {**test, "truth": test}, "guided": other}, train, test
    )
    expected = {f"{name}{mixed}" for name in NAMES for mixed in ("", "_shuffled")}
    expected = {
        f"{name}{suffix}{n}"
        for name in (*expected, "tempo_accuracy")
        for suffix in ("", "_guided", "_real")
        for n in ("", "/n")
    }
    assert set(figures) == expected
    assert figures["beat_f1_70ms"] == figures["beat_f1_70ms_real"] > 0.95
    assert figures["beat_f1_70ms_shuffled"] < 0.6
    assert figures["beat_hit_cdcd"] == figures["beat_coverage_loris"] == 1
    assert figures["beat_hit_cdcd_shuffled"] > 0.7  # which is why it is shown
    assert figures["tempo_accuracy"] > 0.9 > 0.5 > figures["tempo_accuracy_guided"]
    assert figures["genre_accuracy"] > 0.9
    assert figures["genre_accuracy_guided"] < 0.1
    # 18 clips, 3 of each genre: 2 of the other 17 have the genre
    assert figures["genre_accuracy_shuffled_real"] == pytest.approx(2 / 17, abs=0.03)
    assert figures["beat_f1_70ms/n"] == figures["genre_accuracy_guided/n"] == 18


def test_sets_without_beats_and_genres(train: dict, test: dict) -> None:
    bare = {**test, "condition": {"motion": np.zeros((18, 1))}}
    bare = {
        name: value[:4] if name == "audio" else value for name, value in bare.items()
    }
    samples = {name: {**bare, "truth": bare} for name in ("unguided", "guided")}
    figures = danced_music(samples, {**train, "condition": {}}, bare)
    assert not [name for name in figures if "genre" in name]
    assert figures["beat_f1_70ms"] == figures["tempo_accuracy"] == 1
    assert figures["beat_f1_70ms_shuffled"] < 1


def test_samples_without_truth_are_refused(train: dict, test: dict) -> None:
    assert FIGURES["danced_music"] is danced_music
    with pytest.raises(InputError, match="unguided samples without the records"):
        danced_music({"unguided": test, "guided": test}, train, test)


def test_partners_are_others_of_the_genre() -> None:
    genres = np.array([0, 1, 0, 1, 0, 2])
    assert partners(genres, list("abcdef")).tolist() == [2, 3, 4, 1, 0, 0]
    # the third was drawn for the record of the first
    assert partners(genres, list("abadef")).tolist() == [4, 3, 4, 1, 0, 0]
    with pytest.raises(InputError, match="one and the same dance"):
        partners(genres, list("aaaaaa"))


def test_genres_are_heard_at_any_loudness(train: dict, test: dict) -> None:
    judge = GenreClassifier(train["audio"], train["condition"]["genre"], 8000)
    found = judge.predict(test["audio"])
    np.testing.assert_array_equal(judge.predict(0.5 * test["audio"]), found)
    assert np.mean(found == test["condition"]["genre"]) > 0.9
    assert judge.predict(np.zeros((1, 20000))).shape == (1,)  # silence is no error
