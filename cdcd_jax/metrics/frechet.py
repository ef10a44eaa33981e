"""The Fréchet distance between Gaussians fitted to two sets of features."""

import numpy as np


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) (Heusel et al. 2017).

    Args:
        a: features float [N, D].
        b: features float [M, D].

    Raises:
        ValueError: fewer than 2 rows or unlike widths.
    """
    if len(a) < 2 or len(b) < 2 or a.shape[1:] != b.shape[1:]:
        raise ValueError(
            f"features of shapes {a.shape} and {b.shape}: both sets need at least 2 "
            "rows and the same width"
        )
    a, b = a.astype(np.float64), b.astype(np.float64)
    covariance_a = np.atleast_2d(np.cov(a, rowvar=False))
    covariance_b = np.atleast_2d(np.cov(b, rowvar=False))
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    # S_a S_b has the eigenvalues of the symmetric S_a^1/2 S_b S_a^1/2
    cross = np.linalg.eigvalsh(root @ covariance_b @ root)
    trace_root = np.sum(np.sqrt(np.maximum(cross, 0.0)))
    mean = np.sum((a.mean(0) - b.mean(0)) ** 2)
    return float(
        mean + np.trace(covariance_a) + np.trace(covariance_b) - 2.0 * trace_root
    )


def spread_rows(rows: np.ndarray, number: int) -> np.ndarray:
    """At most `number` rows of [N, ...], evenly spread.

    The distance of fewer examples is larger, so that what is compared needs as many.
    """
    chosen = np.linspace(0, len(rows) - 1, min(number, len(rows))).astype(int)
    return rows[chosen]
