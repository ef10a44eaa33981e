"""Digits at the sides of a picture, and videos of their way there."""

from typing import Any

import numpy as np
import pytest

from cdcd_jax.data import moving_digits as module
from cdcd_jax.data.digit_media import read_caption
from cdcd_jax.data.digits import DigitsSource
from cdcd_jax.data.sources import open_source

STEPS = {"left": (0, -1), "right": (0, 1), "top": (-1, 0), "bottom": (1, 0)}


def split(name: str = "train", **options: Any) -> Any:
    return open_source("digit_media", options=options, seed=3).split(name)


def middle(picture: np.ndarray) -> np.ndarray:
    """Row and column of the centre of mass."""
    places = np.indices(picture.shape[:2])
    return (places * picture[..., 0]).sum((1, 2)) / picture.sum()


def test_a_shrunk_digit_is_the_mean_over_areas() -> None:
    flat = module.shrunk(np.full((8, 8, 1), 255, np.uint8))
    assert flat.shape == (6, 6, 1) and (flat == 255).all()
    left = np.zeros((8, 8, 1), np.uint8)
    left[:, :2] = 255  # of eight columns, so one and a half of six
    assert module.shrunk(left)[2, :, 0].tolist() == [255, 128, 0, 0, 0, 0]


def test_a_placed_digit_touches_its_side_and_is_in_the_middle_of_it() -> None:
    digit = np.full((6, 6, 1), 200, np.uint8)
    spans = [((1, 6), (0, 5)), ((1, 6), (2, 7)), ((0, 5), (1, 6)), ((2, 7), (1, 6))]
    for side, span in enumerate(spans):
        rows, columns = np.nonzero(module.placed(digit, side)[..., 0])
        assert ((rows.min(), rows.max()), (columns.min(), columns.max())) == span


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_a_digit_moves_to_its_side(frames: int) -> None:
    part = split(media="moving", frames=frames)
    for index in range(40):
        example = part.example(index)
        side = int(example["condition"]["side"])
        video = example["video"]
        assert video.shape == (frames, 8, 8, 1) and video.dtype == np.uint8
        steps = np.diff([middle(frame) for frame in video], axis=0)
        moved = np.abs(steps).sum(axis=1) > 1e-6
        # one pixel a frame, and no more than there is room for
        assert moved.sum() == min(frames - 1, 2) and moved[-1]
        np.testing.assert_allclose(
            steps[moved], [STEPS[module.SIDES[side]]] * moved.sum(), atol=1e-6
        )
        assert (video[-1] == module.placed(_cut(video[-1], side), side)).all()


def _cut(picture: np.ndarray, side: int) -> np.ndarray:
    row, column = ((1, 0), (1, 2), (0, 1), (2, 1))[side]
    return picture[row : row + 6, column : column + 6]


@pytest.mark.parametrize("media", ["placed", "moving"])
def test_digits_stay_in_their_split(media: str) -> None:
    keys = {}
    for name in ("train", "test"):
        part, digits = split(name, media=media), DigitsSource(3).split(name)
        assert len(part) == len(digits)
        keys[name] = set()
        for index in range(0, len(part), 7):
            one, other = part.example(index), digits.example(index)
            keys[name].add(one["key"])
            assert one["condition"]["label"] == other["condition"]["label"]
            shown = one["image"] if media == "placed" else one["video"][-1]
            cut = _cut(shown, int(one["condition"]["side"]))
            np.testing.assert_array_equal(cut, module.shrunk(other["image"]))
    assert not keys["train"] & keys["test"]


def test_sides_are_drawn_evenly_and_anew_in_each_view() -> None:
    part = split(media="placed")
    sides = [int(part.example(i)["condition"]["side"]) for i in range(400)]
    assert min(np.bincount(sides, minlength=4)) > 70
    assert sides == [int(part.example(i)["condition"]["side"]) for i in range(400)]
    views = [part.example(5, np.random.default_rng(i)) for i in range(40)]
    assert len({int(view["condition"]["side"]) for view in views}) == 4
    assert len({int(view["condition"]["label"]) for view in views}) == 1
    for view in views:
        side = read_caption(view["condition"]["text"])["side"]
        assert side == view["condition"]["side"]


def test_stills_and_videos_draw_sides_apart_from_digits() -> None:
    part = split(media="moving")
    told = [part.example(i)["condition"] for i in range(400)]
    labels, sides = (np.array([c[k] for c in told]) for k in ("label", "side"))
    shares = [np.mean(sides[labels == digit] == 0) for digit in range(10)]
    assert 0.1 < min(shares) and max(shares) < 0.5
