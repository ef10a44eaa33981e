"""Each position by itself from the posterior p_theta(x_s | x_t) of a jump.

'strided' takes the jumps of a grid of times (Song et al. 2021 for the idea),
'ancestral' all of them one by one (VQ-Diffusion, rule 0), 'skip' those of the
reference's fast sampling. All know codes that were replaced by others, and so fit every
schedule.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cdcd_jax.diffusion import grids
from cdcd_jax.diffusion.samplers.base import (
    Canvas,
    Noise,
    Sampler,
    Step,
    draw_positions,
)
from cdcd_jax.diffusion.samplers.options import SamplingOptions
from cdcd_jax.diffusion.schedule import Schedule
from cdcd_jax.diffusion.transition import log_posterior

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class Strided(Sampler):
    """The exact posterior between the times of a grid."""

    def advance(
        self, log_p: Float[Array, "B L K"], canvas: Canvas, step: Step, noise: Noise
    ) -> Int[Array, "B L"]:
        """See `Sampler.advance`."""
        return draw_positions(log_posterior(log_p, canvas.tokens, step.jump), noise)


@dataclasses.dataclass(frozen=True)
class Ancestral(Strided):
    """Every time, one after the other."""

    own_times: ClassVar[bool] = True

    def needs(self, steps: int, start: int) -> str:
        """As many steps as times."""
        return "" if steps == start else f"exactly {start}"


@dataclasses.dataclass(frozen=True)
class Skip(Strided):
    """The posterior of an earlier time, as if x_t belonged there."""

    own_times: ClassVar[bool] = True

    def times(
        self, options: SamplingOptions, schedule: Schedule, start: int
    ) -> Int[np.ndarray, " visited"]:
        """See `grids.skip_jumps`."""
        return np.append(grids.skip_jumps(start, options.steps)[0], 0)

    def jumps(
        self, times: Int[np.ndarray, " visited"]
    ) -> tuple[Int[np.ndarray, " S"], Int[np.ndarray, " S"]]:
        """See `grids.skip_jumps`."""
        return grids.skip_jumps(int(times[0]), len(times) - 1)[1:]
