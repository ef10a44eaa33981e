"""The order and the times at which a chain in continuous time unmasks.

(Zheng et al. 2024, first-hitting sampler.) With as many steps as tokens it draws from
p(x_0) where the conditionals are exact.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion import grids
from cdcd_jax.diffusion.samplers.base import Canvas, Step
from cdcd_jax.diffusion.samplers.options import SamplingOptions
from cdcd_jax.diffusion.samplers.unmasking import Unmasking
from cdcd_jax.diffusion.schedule import Schedule

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


@dataclasses.dataclass(frozen=True)
class FirstHitting(Unmasking):
    """As many tokens at every step, each at the time at which it is hit."""

    own_times: ClassVar[bool] = True
    time_by_state: ClassVar[bool] = True

    def needs(self, steps: int, start: int) -> str:
        """Any number: steps of which no token is left do nothing."""
        return "" if steps >= 1 else "at least 1"

    def times(
        self, options: SamplingOptions, schedule: Schedule, start: int
    ) -> Int[np.ndarray, " visited"]:
        """The start throughout, since the times are drawn."""
        return np.append(np.full(options.steps, start), 0)

    def jumps(
        self, times: Int[np.ndarray, " visited"]
    ) -> tuple[Int[np.ndarray, " S"], Int[np.ndarray, " S"]]:
        """None is taken; these are as good as any."""
        return times[:-1], np.zeros_like(times[:-1])

    def left(
        self, share: Float[np.ndarray, " times"], times: Int[np.ndarray, " visited"]
    ) -> Float[np.ndarray, " S"]:
        """As many tokens at every step."""
        number = len(times) - 1
        return 1.0 - np.arange(1, number + 1) / number

    def order(
        self, key: PRNGKeyArray, shape: tuple[int, int], layout: tuple[int, int]
    ) -> Float[Array, "rows L"]:
        """Where between 0 and the start's share each token is hit, uniform."""
        del layout
        return jax.random.uniform(key, shape)

    def time(self, canvas: Canvas, step: Step, schedule: Schedule) -> Int[Array, " B"]:
        """See `hitting_times`."""
        masked = canvas.tokens == schedule.num_codes
        table = jnp.asarray(grids.progress(schedule), jnp.float32)
        return hitting_times(canvas.order, masked, table, step.share_t)


def hitting_times(
    hit: Float[Array, "B L"],
    masked: Bool[Array, "B L"],
    share: Float[Array, " times"],
    start: float | Float[Array, ""],
) -> Int[Array, " B"]:
    """The time at which the next token of a row is hit, int32 [B].

    Going backward from the start, a position of a row is unmasked when the masked
    share falls below `hit` times that of the start, with `hit` uniform: so the chain in
    continuous time does it. The time is rounded up to one of the schedule.

    Args:
        hit: [B, L] in [0, 1).
        masked: bool [B, L].
        share: masked share of t = 0..T, rising, [T + 1].
        start: the share at the start.
    """
    following = jnp.max(jnp.where(masked, hit, 0.0), axis=-1) * start
    times = jnp.searchsorted(share, following, side="left")
    return jnp.clip(times, 1, len(share) - 1).astype(jnp.int32)
