"""Tests of the captioned digits: the splits, the pictures, and what captions say."""

import itertools

import numpy as np
import pytest

from cdcd_jax.data import captioned_digits as module
from cdcd_jax.data.sources import open_source
from cdcd_jax.errors import InputError, UsageError


@pytest.fixture(scope="module")
def source() -> module.CaptionedDigitsSource:
    return open_source("captioned_digits")


def crops(image: np.ndarray, places: np.ndarray) -> list[np.ndarray]:
    corners = [module.place_corner(place) for place in places]
    return [image[y : y + 8, x : x + 8] for y, x in corners]


def test_every_caption_has_one_meaning() -> None:
    pairs = list(itertools.product(range(10), repeat=2))
    meanings = list(itertools.product(pairs, module.ARRANGEMENTS))
    texts = [module.captions(*meaning) for meaning in meanings]
    assert len({text for four in texts for text in four}) == 4 * len(meanings) == 3200
    for meaning, four in zip(meanings, texts, strict=True):
        assert all(module.read_caption(text) == meaning for text in four)
    assert module.read_caption(" A three to the left of  a seven. ") == ((3, 7), (3, 5))
    with pytest.raises(InputError, match="a cat"):
        module.read_caption("a cat")


def test_all_that_captions_of_a_split_can_say() -> None:
    few = open_source("captioned_digits", options={"train_examples": 40})
    texts = few.split("train").texts()
    assert len(set(texts)) == len(texts) == 80 * 8 * 4
    assert {few.split("train").example(i)["condition"]["text"] for i in range(40)} <= (
        set(texts)
    )
    # the pairs held out need no word of their own
    words = lambda name: {w for t in few.split(name).texts() for w in t.split()}
    assert words("test") <= words("train") and len(words("train")) < 62


def test_a_picture_has_one_pair() -> None:
    # the first digit is the left one, or the upper one: no pair has two names
    for first, second in module.ARRANGEMENTS:
        (y, x), (v, u) = module.place_corner(first), module.place_corner(second)
        assert y < v or (y == v and x < u)
        assert max(abs(y - v), abs(x - u)) >= 8  # and the digits do not touch
    assert len(set(module.ARRANGEMENTS)) == 8


@pytest.mark.parametrize("number", [20, 50])
def test_pairs_held_out_are_balanced(number: int) -> None:
    pairs = module.held_out_pairs(3, number)
    assert len(pairs) == number
    for position in (0, 1):
        counts = np.bincount([pair[position] for pair in pairs], minlength=10)
        assert (counts == number // 10).all()


def test_splits_share_neither_pairs_nor_digits(
    source: module.CaptionedDigitsSource,
) -> None:
    digits = open_source("digits")
    held_out = module.held_out_pairs(0)
    for name in ("train", "test"):
        split, own = source.split(name), digits.split(name)
        known = {own.example(i)["image"].tobytes() for i in range(len(own))}
        pairs = set()
        for index in range(1000):
            example = split.example(index)
            condition = example["condition"]
            pairs.add(tuple(condition["digits"].tolist()))
            for crop in crops(example["image"], condition["places"]):
                assert crop.tobytes() in known
        assert len(pairs) == (80 if name == "train" else 20)
        assert (pairs <= held_out) == (name == "test") == (not pairs - held_out)


def test_examples_are_as_the_card_says(source: module.CaptionedDigitsSource) -> None:
    card, split = source.card(), source.split("test")
    assert card["name"] == "captioned_digits" and len(split) == 2000
    specs = card["conditions"]
    for index in (0, 7, 1999):
        example = split.example(index)
        image, condition = example["image"], example["condition"]
        assert list(image.shape) == card["media"]["shape"] and image.dtype == np.uint8
        np.testing.assert_array_equal(
            np.rint(np.rint(image / 255 * 16) * 255 / 16), image
        )
        assert set(condition) == set(specs)
        for name in ("digits", "places"):
            assert list(condition[name].shape) == specs[name]["shape"]
            assert condition[name].dtype == specs[name]["dtype"]
            assert condition[name].max() < specs[name]["num_classes"]
        meaning = module.read_caption(condition["text"])
        digits, places = condition["digits"], condition["places"]
        assert meaning == (tuple(digits), tuple(places))
        empty = image.copy()
        for crop in crops(empty, places):
            crop[:] = 0
        assert not empty.any()
        assert example["groups"] == {
            "caption": " ".join(map(str, (*digits, *places))),
            "pair": " ".join(map(str, digits)),
        }


def test_labels_of_the_digits_are_right(source: module.CaptionedDigitsSource) -> None:
    own = open_source("digits").split("train")
    labels = {}
    for example in map(own.example, range(len(own))):
        labels[example["image"].tobytes()] = example["condition"]["label"]
    for example in map(source.split("train").example, range(200)):
        condition = example["condition"]
        for digit, crop in zip(
            condition["digits"],
            crops(example["image"], condition["places"]),
            strict=True,
        ):
            assert labels[crop.tobytes()] == digit


def test_order_seed_and_views(source: module.CaptionedDigitsSource) -> None:
    split = source.split("train")
    first, again = split.example(41), source.split("train").example(41)
    np.testing.assert_array_equal(first["image"], again["image"])
    assert first["condition"]["text"] == again["condition"]["text"]
    view = split.example(41, np.random.default_rng(5))
    assert view["key"] == first["key"] and view["groups"] == first["groups"]
    assert (view["image"] != first["image"]).any()
    # 640 meanings in a row, then again with other handwritings
    meanings = [split.example(i)["groups"]["caption"] for i in range(641)]
    assert len(set(meanings)) == 640 and meanings[0] == meanings[640]
    other = open_source("captioned_digits", seed=1)
    assert module.held_out_pairs(0) != module.held_out_pairs(1)
    assert (other.split("train").example(41)["image"] != first["image"]).any()


def test_what_is_refused(source: module.CaptionedDigitsSource) -> None:
    with pytest.raises(UsageError, match="held_out_pairs = 15"):
        open_source("captioned_digits", options={"held_out_pairs": 15})
    with pytest.raises(UsageError, match="train_examples = 0"):
        open_source("captioned_digits", options={"train_examples": 0})
    with pytest.raises(UsageError, match="needs no files"):
        open_source("captioned_digits", "somewhere")
    with pytest.raises(UsageError, match="train, test"):
        source.split("valid")
    with pytest.raises(IndexError):
        source.split("test").example(2000)
