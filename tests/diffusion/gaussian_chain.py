"""Chains of Gaussians by brute force in float64: conditioning, and products of steps.

Nothing here uses a closed form of `cdcd_jax.diffusion`: a joint law is built from what
each variable is of those before it, and everything else is read off it.
"""

import numpy as np


class Joint:
    """Scalars that are linear in those before them, plus an offset and noise."""

    def __init__(self) -> None:
        self.mean, self.covariance = np.zeros(0), np.zeros((0, 0))

    def add(self, weights: dict[int, float], offset: float, variance: float) -> int:
        """Adds one variable; its number.

        Args:
            weights: of earlier variables, by number.
            offset: what is added to its mean.
            variance: of its own noise.
        """
        number = len(self.mean)
        row = np.array([weights.get(i, 0.0) for i in range(number)])
        with_others = self.covariance @ row
        own = row @ with_others + variance
        self.mean = np.append(self.mean, row @ self.mean + offset)
        self.covariance = np.block(
            [[self.covariance, with_others[:, None]], [with_others[None], own]]
        )
        return number

    def conditional(self, of: int, on: list[int], at: list[float]) -> tuple:
        """Mean and variance of one variable where others have these values."""
        gain = np.linalg.solve(self.covariance[np.ix_(on, on)], self.covariance[on, of])
        mean = self.mean[of] + gain @ (np.array(at) - self.mean[on])
        return mean, self.covariance[of, of] - gain @ self.covariance[on, of]

    def log_density(self, of: list[int], at: list[float]) -> float:
        """log p of some of the variables."""
        covariance = self.covariance[np.ix_(of, of)]
        apart = np.array(at) - self.mean[of]
        quadratic = apart @ np.linalg.solve(covariance, apart)
        return -0.5 * (quadratic + np.linalg.slogdet(2 * np.pi * covariance)[1])


def normal_kl(mean: float, variance: float, mean_2: float, variance_2: float) -> float:
    """KL(N(mean, variance) || N(mean_2, variance_2)) in nats."""
    ratio = variance / variance_2
    return 0.5 * (ratio - 1 - np.log(ratio) + (mean - mean_2) ** 2 / variance_2)
