"""Where the tokens of an example lie: grids of any number of axes, one or end to end.

A grid is (H, W), row-major, (1, L) for sound, (F, H, W) for frames of pictures; several
of them, ((H, W), (1, L)), stand one behind the other.
"""

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from cdcd_jax.errors import UsageError

MOST_TOKENS = 2**20  # of an example; a network attends to all pairs of them

# One grid, or several end to end.
Grid = tuple[int, ...] | tuple[tuple[int, ...], ...]


def grid_of(setting: Sequence[Any]) -> Grid:
    """A setting such as `model.grid` as tuples; several grids of one are that one.

    Raises:
        UsageError: it is no grid.
    """
    several = bool(setting) and all(isinstance(part, Sequence) for part in setting)
    grids = tuple(tuple(part) for part in (setting if several else [setting]))
    fits = lambda size: isinstance(size, numbers.Integral) and size > 0
    if not all(grid and all(map(fits, grid)) for grid in grids):
        raise UsageError(
            f"Found the grid {setting!r}; expected sizes of its axes, such as (H, W), "
            "or several such grids; correct model.grid."
        )
    found = grids[0] if len(grids) == 1 else grids
    if length_of(found) > MOST_TOKENS:
        raise UsageError(
            f"Found the grid {setting!r} of {length_of(found)} tokens; expected at "
            f"most {MOST_TOKENS} (codes of pieces, not pixels or samples); correct "
            "model.grid."
        )
    return found


def grids_of(grid: Grid) -> tuple[tuple[int, ...], ...]:
    """The grids that stand end to end."""
    return grid if isinstance(grid[0], tuple) else (grid,)


def length_of(grid: Grid) -> int:
    """L, the tokens of all grids."""
    return sum(math.prod(part) for part in grids_of(grid))


def plane_of(grid: Grid) -> tuple[int, int] | None:
    """(H, W) of a grid of rows and columns, None of any other."""
    return grid if len(grid) == 2 and not isinstance(grid[0], tuple) else None


def rotary_angles(grid: Grid, size: int) -> np.ndarray:
    """Angles float32 [L, size / 2] of a grid's positions for heads of `size` features.

    The axes share the pairs of features, of which a (1, L) grid gives all to the column
    (Su et al. 2021, along each axis). The longest period is far longer than the grid.
    Grids end to end count by the same axes, from the last one on, each from 0.
    """
    grids = grids_of(grid)
    most = max(map(len, grids))
    grids = tuple((1,) * (most - len(part)) + part for part in grids)
    # the first axes say nothing where they have one place
    first = 0
    while first < most - 1 and all(part[first] == 1 for part in grids):
        first += 1
    axes, pairs = most - first, size // 2
    base = 10.0 * max(map(max, grids))

    def angles(part: tuple[int, ...], axis: int) -> np.ndarray:
        number = pairs * (axis + 1) // axes - pairs * axis // axes
        position = np.indices(part).reshape(most, -1)[first + axis]
        return position[:, None] * base ** (-np.arange(number) / max(number, 1))

    rows = [[angles(part, axis) for axis in range(axes)] for part in grids]
    found = [np.concatenate(row, axis=-1) for row in rows]
    return np.concatenate(found).astype(np.float32)
