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
