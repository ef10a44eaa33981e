"""Tests of the digits as a raw source and of the table of sources."""

import numpy as np
import pytest

from cdcd_jax.data.sources import open_source
from cdcd_jax.errors import UsageError


def examples(split: str, seed: int = 0) -> list[dict]:
    opened = open_source("digits", seed=seed).split(split)
    return [opened.example(i) for i in range(len(opened))]


def test_digits_are_split_without_overlap() -> None:
    assert open_source("digits").card()["splits"] == ("train", "test")
    train, test = examples("train"), examples("test")
    assert (len(train), len(test)) == (1437, 360)
    keys = {example["key"] for example in train + test}
    assert keys == {f"digits/{i:04d}" for i in range(1797)}


def test_digits_examples_are_the_real_ones() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    for example in examples("test"):
        index = int(example["key"].removeprefix("digits/"))
        image, label = example["image"], example["condition"]["label"]
        assert image.shape == (8, 8, 1) and image.dtype == np.uint8
        assert label.dtype == np.int32 and label == digits.target[index]
        assert example["groups"] == {"label": str(label)}
        levels = np.rint(image[..., 0] * (16 / 255))
        np.testing.assert_array_equal(levels, digits.images[index])


def test_light_and_dark_exchanged_and_turned() -> None:
    source = open_source("digits", options={"pair": "invert"})
    spec = source.card()["conditions"]["target"]
    assert spec == dict(kind="image", shape=[64], dtype="uint8", levels=17, grid=[8, 8])
    split = source.split("test")
    for index in range(len(split)):
        example = split.example(index)
        target = example["condition"]["target"]
        assert target.shape == (64,) and target.dtype == np.uint8
        levels = np.rint(example["image"][..., 0] * (16 / 255))
        np.testing.assert_array_equal(target.reshape(8, 8), 16 - levels.T)


def test_the_rim_of_a_digit() -> None:
    split = open_source("digits", options={"pair": "outline"}).split("train")
    found = set()
    for index in range(len(split)):
        example = split.example(index)
        levels = np.rint(example["image"][..., 0] * (16 / 255))
        outline = example["condition"]["outline"].reshape(8, 8)
        found.add(outline.tobytes())
        for (y, x), level in np.ndenumerate(levels):
            around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            inside = [
                0 <= v < 8 and 0 <= u < 8 and levels[v, u] >= 8 for v, u in around
            ]
            assert outline[y, x] == (16 if level >= 8 and not all(inside) else 0)
    assert len(found) < len(split)  # of some digits, one outline


def test_a_pair_that_there_is_not() -> None:
    assert set(open_source("digits").card()["conditions"]) == {"label"}
    with pytest.raises(UsageError, match=r"pair = 'mirror'; expected one of invert"):
        open_source("digits", options={"pair": "mirror"})


def test_seed_fixes_the_split() -> None:
    def keys(seed: int) -> list[str]:
        return [example["key"] for example in examples("test", seed)]

    assert keys(0) == keys(0)
    assert set(keys(0)) != set(keys(1))


def test_sources_refuse() -> None:
    with pytest.raises(UsageError, match=r"expected one of .*digits"):
        open_source("digit")
    with pytest.raises(UsageError, match=r"data.path = 'x'"):
        open_source("digits", "x")
    with pytest.raises(UsageError, match=r"data\.options\.size"):
        open_source("digits", "", {"size": 3})
    with pytest.raises(UsageError, match="seed = -1"):
        open_source("digits", seed=-1)
    with pytest.raises(UsageError, match="train, test"):
        open_source("digits").split("valid")
