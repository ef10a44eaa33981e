"""Ancestral sampling of Gaussian diffusion (Ho et al. 2020), between any two times."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from cdcd_jax.diffusion.gaussian_schedule import VARIANCES, Levels
from cdcd_jax.diffusion.samplers.options import choose

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True)
class DDPM:
    """The exact posterior of a jump, from the predicted x_0.

    With as many steps as times it is the chain of the paper.

    Attributes:
        variance: 'posterior', or 'beta', that of the forward jump. None at s = 0.
    """

    variance: str = "posterior"

    def __post_init__(self) -> None:
        choose("variance", self.variance, VARIANCES)

    def spread(
        self, levels: Levels, t: Int[np.ndarray, " S"], s: Int[np.ndarray, " S"]
    ) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, " S"]]:
        """What is left of the predicted noise, and the deviation of fresh noise, [S].

        Args:
            levels: noise levels.
            t, s: from which times to which, int [S].
        """
        kept = np.exp(0.5 * (levels.log_alpha_bar[t] - levels.log_alpha_bar[s]))
        direction = kept * levels.noise[s] / np.sqrt(levels.noise[t])
        sigma = np.sqrt(levels.model_variance(t, s, self.variance))
        return direction, np.where(s > 0, sigma, 0.0)
