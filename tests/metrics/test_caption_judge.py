"""The judge of pictures of two digits, on real held-out digits and on spoiled ones."""

import numpy as np
import pytest

from cdcd_jax.data.captioned_digits import ARRANGEMENTS, place_corner
from cdcd_jax.data.sources import open_source
from cdcd_jax.metrics.captions import CaptionJudge
from cdcd_jax.metrics.figures import FIGURES

RNG = np.random.default_rng(0)


def decoded(split: str, number: int) -> dict:
    source = open_source("captioned_digits").split(split)
    examples = [source.example(index) for index in range(number)]
    conditions = [example["condition"] for example in examples]
    return {
        "images": np.stack([example["image"] for example in examples]),
        "condition": {
            name: np.stack([c[name] for c in conditions])
            for name in ("digits", "places")
        },
    }


@pytest.fixture(scope="module")
def train() -> dict:
    return decoded("train", 4000)


@pytest.fixture(scope="module")
def test() -> dict:
    return decoded("test", 600)


@pytest.fixture(scope="module")
def judge(train: dict) -> CaptionJudge:
    return CaptionJudge(train["images"], **train["condition"])


def test_held_out_pictures_are_read(judge: CaptionJudge, test: dict) -> None:
    digits, places, ok = judge.read(test["images"])
    assert ok.all()
    np.testing.assert_array_equal(places, test["condition"]["places"])
    assert np.all(digits == test["condition"]["digits"], axis=1).mean() >= 0.97


def test_faint_noise_as_of_a_codec_changes_little(
    judge: CaptionJudge, test: dict
) -> None:
    noisy = test["images"] + RNG.normal(0, 12, test["images"].shape)
    digits, places, ok = judge.read(np.clip(noisy, 0, 255).astype(np.uint8))
    assert ok.mean() > 0.98
    assert np.all(places == test["condition"]["places"], axis=1).mean() > 0.99
    assert np.all(digits == test["condition"]["digits"], axis=1).mean() >= 0.96


def erased(images: np.ndarray, places: np.ndarray, which: int) -> np.ndarray:
    images = images.copy()
    for image, pair in zip(images, places, strict=True):
        row, column = place_corner(int(pair[which]))
        image[row : row + 8, column : column + 8] = 0
    return images


def test_missing_digits_and_stray_ink_are_wrong(
    judge: CaptionJudge, test: dict
) -> None:
    places = test["condition"]["places"]
    for which in (0, 1):
        assert not judge.read(erased(test["images"], places, which))[2].any()
    side = (places == (0, 2)).all(1)
    stray = test["images"][side].copy()
    stray[:, 12:14, 6:8] = 255
    assert not judge.read(stray)[2].any()
    assert not judge.read(np.zeros((3, 16, 16, 1), np.uint8))[2].any()
    assert not judge.read(np.full((3, 16, 16, 1), 255, np.uint8))[2].any()


def test_figures(train: dict, test: dict) -> None:
    moved = {**test, "images": np.roll(test["images"], 8, axis=1)}  # rows changed
    figures = FIGURES["captioned_pixels"](
        {"unguided": moved, "guided": test, "reconstructed": test}, train, test
    )
    names = "caption_accuracy digits_accuracy places_accuracy frechet_distance".split()
    suffixes = ("", "_guided", "_reconstructed", "_real")
    expected = {f"{n}{s}{k}" for n in names for s in suffixes for k in ("", "/n")}
    assert set(figures) == expected
    assert (
        figures["caption_accuracy_guided"] == figures["caption_accuracy_real"] >= 0.97
    )
    # of places, only (0, 6), (1, 7) and (2, 8) are still pairs, with digits exchanged
    kept = [
        pair[0] // 3 != pair[1] // 3 and pair[0] % 3 == pair[1] % 3
        for pair in ARRANGEMENTS
    ]
    assert figures["places_accuracy"] == pytest.approx(sum(kept) / 8, abs=0.15)
    assert figures["caption_accuracy"] < 0.1
    assert figures["frechet_distance_guided"] == pytest.approx(0, abs=1e-6)
    assert figures["frechet_distance"] > figures["frechet_distance_real"]
    assert figures["frechet_distance_real/n"] == 600
    assert figures["caption_accuracy_real/n"] == figures["caption_accuracy/n"] == 600


def test_other_pictures_are_refused(judge: CaptionJudge) -> None:
    with pytest.raises(ValueError, match=r"\(8, 8, 1\)"):
        judge.read(np.zeros((2, 8, 8, 1), np.uint8))
