"""Tests of the digits as a raw source and of the table of sources."""

import numpy as np
import pytest

from cdcd_jax.data.sources import open_source
from cdcd_jax.errors import UsageError


def test_digits_are_split_without_overlap() -> None:
    source = open_source("digits", {"seed": 0})
    assert source.card()["splits"] == ("train", "test")
    train, test = (list(source.examples(split)) for split in ("train", "test"))
    assert (len(train), len(test)) == (1437, 360)
    keys = {example["key"] for example in train + test}
    assert keys == {f"digits/{i:04d}" for i in range(1797)}


def test_digits_examples_are_the_real_ones() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    for example in open_source("digits", {"seed": 0}).examples("test"):
        index = int(example["key"].removeprefix("digits/"))
        image, label = example["image"], example["condition"]["label"]
        assert image.shape == (8, 8, 1) and image.dtype == np.uint8
        assert label.dtype == np.int32 and label == digits.target[index]
        levels = np.rint(image[..., 0] * (16 / 255))
        np.testing.assert_array_equal(levels, digits.images[index])


def test_seed_fixes_the_split() -> None:
    def keys(seed: int) -> list[str]:
        source = open_source("digits", {"seed": seed})
        return [example["key"] for example in source.examples("test")]

    assert keys(0) == keys(0)
    assert set(keys(0)) != set(keys(1))


def test_sources_refuse() -> None:
    with pytest.raises(UsageError, match="expected one of digits"):
        open_source("digit", {"seed": 0})
    with pytest.raises(UsageError, match="'path'"):
        open_source("digits", {"seed": 0, "path": "x"})
    with pytest.raises(UsageError, match="seed = -1"):
        open_source("digits", {"seed": -1})
    with pytest.raises(UsageError, match="train, test"):
        open_source("digits", {"seed": 0}).examples("valid")
