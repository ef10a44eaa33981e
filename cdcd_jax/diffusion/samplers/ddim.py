"""Sampling with less fresh noise, or none (Song et al. 2021, DDIM)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from cdcd_jax.diffusion.gaussian_schedule import Levels

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True)
class DDIM:
    """A chain with the same laws of x_t given x_0 as the forward one.

    Attributes:
        eta: of fresh noise, from 0, none, to 1, that of the posterior (DDPM).
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"sampling.eta = {self.eta}: choose 0 to 1")

    def spread(
        self, levels: Levels, t: Int[np.ndarray, " S"], s: Int[np.ndarray, " S"]
    ) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, " S"]]:
        """See `DDPM.spread`."""
        variance = self.eta**2 * levels.posterior_variance(t, s)
        return np.sqrt(levels.noise[s] - variance), np.sqrt(variance)
