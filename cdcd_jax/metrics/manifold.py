"""Do samples lie where real data lie, and do they lie everywhere there?

Around each example lies a ball as large as the distance to its k-th neighbour of the
same set. Distances are made in blocks, so that memory grows with N and not with N^2.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# k of precision and recall (Kynkäänniemi et al. 2019), of density and coverage (Naeem
# et al. 2020)
NEAREST = (3, 5)
BLOCK = 1_000  # rows compared with all others at once


class Manifold(NamedTuple):
    """How two sets of features overlap; shares in [0, 1], but density has no limit.

    Attributes:
        precision: share of samples that lie in a real ball.
        recall: share of real data that lie in a sample's ball.
        density: how many real balls a sample lies in, on average, over k.
        coverage: share of real balls in which a sample lies.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def overlap(
    real: np.ndarray,
    fake: np.ndarray,
    nearest: tuple[int, int] = NEAREST,
    real_radii: np.ndarray | None = None,
    block: int = BLOCK,
) -> Manifold:
    """All four figures.

    Precision and recall count what lies on a border, as torch-fidelity's PRC does;
    density and coverage do not, as the authors' package prdc.

    Args:
        real, fake: float [N, D], [M, D].
        nearest: k of precision and recall, and of density and coverage.
        real_radii: `radii(real, nearest)`, where they are known.
        block: rows compared at once.

    Raises:
        ValueError: unlike widths, or no more rows than k.
    """
    if real.shape[1:] != fake.shape[1:] or min(len(real), len(fake)) <= max(nearest):
        raise ValueError(
            f"features of shapes {real.shape} and {fake.shape}: the same width and "
            f"more than {max(nearest)} rows were expected"
        )
    if real_radii is None:
        real_radii = radii(real, nearest, block)
    small, large = real_radii
    border = radii(fake, nearest[:1], block)[0]
    precise, within = 0, 0
    recalled, closest = np.zeros(len(real), bool), np.full(len(real), np.inf)
    for i in range(0, len(fake), block):
        apart = _distances(fake[i : i + block], real)
        precise += int(np.sum(np.any(apart <= small, axis=1)))
        recalled |= np.any(apart <= border[i : i + block, None], axis=0)
        within += int(np.sum(apart < large))
        closest = np.minimum(closest, apart.min(0))
    return Manifold(
        precise / len(fake),
        float(np.mean(recalled)),
        within / (nearest[1] * len(fake)),
        float(np.mean(closest < large)),
    )


def radii(rows: np.ndarray, nearest: Sequence[int], block: int = BLOCK) -> np.ndarray:
    """Distances to the k-th neighbours of the same set.

    Args:
        rows: float [N, D].
        nearest: each k, less than N.
        block: rows compared at once.

    Returns:
        float64 [len(nearest), N].
    """
    places = list(nearest)  # itself is the nearest, at place 0
    parts = [
        np.partition(_distances(rows[i : i + block], rows), places, axis=1)[:, places]
        for i in range(0, len(rows), block)
    ]
    return np.concatenate(parts).T


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Float64 [N, M] of float [N, D] and [M, D]."""
    middle = b.mean(0, dtype=np.float64)  # products of smaller numbers lose less
    a, b = (rows.astype(np.float64) - middle for rows in (a, b))
    lengths = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)
    return np.sqrt(np.maximum(lengths - 2 * a @ b.T, 0))
