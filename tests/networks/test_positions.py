"""Grids of tokens: their lengths, and angles that mean a place along each axis."""

from typing import Any

import numpy as np
import pytest

from cdcd_jax.errors import UsageError
from cdcd_jax.networks.positions import grid_of, length_of, plane_of, rotary_angles


def angles_of_a_plane(grid: tuple[int, int], size: int) -> np.ndarray:
    """The angles that checkpoints of (H, W) grids were trained with."""
    height, width = grid
    pairs = size // 2
    row_pairs = 0 if height == 1 else pairs // 2
    row, column = np.divmod(np.arange(height * width), width)

    def axis(position: np.ndarray, number: int) -> np.ndarray:
        base = 10.0 * max(grid)
        return position[:, None] * base ** (-np.arange(number) / max(number, 1))

    angles = [axis(row, row_pairs), axis(column, pairs - row_pairs)]
    return np.concatenate(angles, axis=-1).astype(np.float32)


@pytest.mark.parametrize("grid", [(1, 64), (8, 8), (4, 16), (8, 1), (1, 1), (3, 5)])
@pytest.mark.parametrize("size", [2, 6, 16, 64])
def test_the_angles_of_a_plane_stay_what_they_were(grid: Any, size: int) -> None:
    np.testing.assert_array_equal(
        rotary_angles(grid, size), angles_of_a_plane(grid, size)
    )


def test_three_axes_share_the_pairs() -> None:
    grid = (3, 4, 5)
    found = rotary_angles(grid, 16).reshape(*grid, 8)
    for axis, pairs in enumerate((slice(0, 2), slice(2, 5), slice(5, 8))):
        # the first pair of an axis turns by one a place, and no other axis moves it
        place = np.arange(grid[axis])
        shape = [-1 if a == axis else 1 for a in range(3)]
        expected = np.broadcast_to(place.reshape(shape), grid)
        np.testing.assert_array_equal(found[..., pairs.start], expected)
        others = tuple(a for a in range(3) if a != axis)
        assert np.ptp(found[..., pairs], axis=others).max() == 0
    # one frame is a picture, and one row of it a sound
    np.testing.assert_array_equal(rotary_angles((1, 4, 5), 8), rotary_angles((4, 5), 8))
    np.testing.assert_array_equal(rotary_angles((1, 1, 5), 8), rotary_angles((5,), 8))
    np.testing.assert_array_equal(rotary_angles((1, 5), 8), rotary_angles((5,), 8))


def test_grids_end_to_end_count_by_the_same_axes() -> None:
    found = rotary_angles(((2, 5), (1, 5)), 8)
    np.testing.assert_array_equal(found[:10], rotary_angles((2, 5), 8))
    np.testing.assert_array_equal(found[10:], found[:5])


def test_what_a_grid_is() -> None:
    assert grid_of([8, 8]) == (8, 8) and length_of((8, 8)) == 64
    assert grid_of([[4, 4]]) == (4, 4)
    both = grid_of([[2, 4, 4], [1, 6]])
    assert both == ((2, 4, 4), (1, 6)) and length_of(both) == 38
    assert plane_of((8, 8)) == (8, 8)
    assert [plane_of(g) for g in ((2, 4, 4), ((4, 4), (4, 4)), (6,))] == [None] * 3


@pytest.mark.parametrize("grid", [(), (0, 3), (2.0, 3), ("a", 3), ((2, 3), 4), ((),)])
def test_what_is_no_grid(grid: Any) -> None:
    with pytest.raises(UsageError, match=r"Found.*expected.*correct model\.grid"):
        grid_of(grid)
