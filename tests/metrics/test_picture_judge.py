"""The small convolutional judge, on stripes: it learns, and the same each time."""

import numpy as np
import pytest

from cdcd_jax.metrics.figures import FIGURES
from cdcd_jax.metrics.pictures import PictureClassifier


def stripes(number: int, seed: int) -> dict:
    """Stripes across, down, and none, in noise; uint8 [N, 16, 16, 3]."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 3
    wave = 60 * np.sign(np.sin(np.arange(16) * 2 * np.pi / 8 + 0.3))
    pictures = np.array(
        [wave[:, None] + 0 * wave, wave + 0 * wave[:, None], np.zeros((16, 16))]
    )
    noise = rng.normal(0, 25, (number, 16, 16, 3))
    images = 127 + pictures[labels][..., None] + noise
    return {
        "images": np.clip(images, 0, 255).astype(np.uint8),
        "condition": {"label": labels},
    }


@pytest.fixture(scope="module")
def train() -> dict:
    return stripes(768, 0)


def test_it_learns_and_is_the_same_again(train: dict) -> None:
    labels, test = train["condition"]["label"], stripes(90, 1)
    first, again = (
        PictureClassifier(train["images"], labels, width=8) for _ in range(2)
    )
    assert first.accuracy(test["images"], test["condition"]["label"]) > 0.95
    for one, other in zip(
        first.read(test["images"]), again.read(test["images"]), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    # the last, smaller block is read like the others
    few, features = first.read(test["images"][:7])
    assert few.shape == (7,) and features.shape[0] == 7
    np.testing.assert_array_equal(few, first.read(test["images"])[0][:7])


def test_figures(train: dict) -> None:
    test, noise = stripes(300, 2), stripes(300, 3)
    rng = np.random.default_rng(4)
    noise["images"] = rng.integers(0, 256, noise["images"].shape, np.uint8)
    figures = FIGURES["labelled_pictures"](
        {"unguided": noise, "guided": test, "reconstructed": test}, train, test
    )
    names = ("class_accuracy", "frechet_distance")
    suffixes = ("", "_guided", "_reconstructed", "_real")
    expected = {f"{n}{s}{k}" for n in names for s in suffixes for k in ("", "/n")}
    assert set(figures) == expected
    assert figures["class_accuracy_guided"] == figures["class_accuracy_real"] > 0.95
    assert figures["class_accuracy"] < 0.5
    assert figures["frechet_distance_guided"] == pytest.approx(0, abs=1e-3)
    assert figures["frechet_distance"] > 10 * figures["frechet_distance_real"]
    assert figures["frechet_distance_real/n"] == 300
    assert figures["class_accuracy_real/n"] == 300
