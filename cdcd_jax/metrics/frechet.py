"""The Fréchet distance between Gaussians fitted to two sets of features."""

from typing import NamedTuple

import numpy as np


class Gaussian(NamedTuple):
    """What the distance needs to know of a set of features.

    Attributes:
        mean: float64 [D].
        covariance: float64 [D, D], with N - 1.
    """

    mean: np.ndarray
    covariance: np.ndarray


def gaussian_of(features: np.ndarray) -> Gaussian:
    """Mean and covariance of features float [N, D].

    Raises:
        ValueError: fewer than 2 rows, or not a table.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(
            f"features of shape {features.shape}: a table of at least 2 rows was "
            "expected"
        )
    features = features.astype(np.float64)
    covariance = np.atleast_2d(np.cov(features, rowvar=False))
    return Gaussian(features.mean(0), covariance)


def gaussian_distance(a: Gaussian, b: Gaussian) -> float:
    """|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) (Heusel et al. 2017).

    Raises:
        ValueError: unlike widths.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(
            f"features of {a.mean.shape} and {b.mean.shape}: the same width was "
            "expected"
        )
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    # S_a S_b has the eigenvalues of the symmetric S_a^1/2 S_b S_a^1/2
    cross = np.linalg.eigvalsh(root @ b.covariance @ root)
    trace_root = np.sum(np.sqrt(np.maximum(cross, 0.0)))
    mean = np.sum((a.mean - b.mean) ** 2)
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    return float(mean + traces - 2.0 * trace_root)


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The distance of the Gaussians of features float [N, D] and [M, D].

    Raises:
        ValueError: fewer than 2 rows or unlike widths.
    """
    return gaussian_distance(gaussian_of(a), gaussian_of(b))


def spread_rows(rows: np.ndarray, number: int) -> np.ndarray:
    """At most `number` rows of [N, ...], evenly spread.

    The distance of fewer examples is larger, so that what is compared needs as many.
    """
    chosen = np.linspace(0, len(rows) - 1, min(number, len(rows))).astype(int)
    return rows[chosen]
