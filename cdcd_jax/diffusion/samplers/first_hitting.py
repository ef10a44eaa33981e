"""The order and the times at which a chain in continuous time unmasks.

(Zheng et al. 2024, first-hitting sampler.) With as many steps as tokens it draws from
p(x_0) where the conditionals are exact.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion import grids
from cdcd_jax.diffusion.samplers.base import Canvas, Step
from cdcd_jax.diffusion.samplers.options import SamplingOptions
from cdcd_jax.diffusion.samplers.unmasking import Unmasking
from cdcd_jax.diffusion.schedule import Schedule


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
    ) -> np.ndarray:
        """The start throughout, since the times are drawn."""
        return np.append(np.full(options.steps, start), 0)

    def jumps(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """None is taken; these are as good as any."""
        return times[:-1], np.zeros_like(times[:-1])

    def left(self, share: np.ndarray, times: np.ndarray) -> np.ndarray:
        """As many tokens at every step."""
        number = len(times) - 1
        return 1.0 - np.arange(1, number + 1) / number

    def order(
        self, key: jax.Array, shape: tuple[int, int], layout: tuple[int, int]
    ) -> jax.Array:
        """Where between 0 and the start's share each token is hit, uniform."""
        del layout
        return jax.random.uniform(key, shape)

    def time(self, canvas: Canvas, step: Step, schedule: Schedule) -> jax.Array:
        """See `hitting_times`."""
        masked = canvas.tokens == schedule.num_codes
        table = jnp.asarray(grids.progress(schedule), jnp.float32)
        return hitting_times(canvas.order, masked, table, step.share_t)


def hitting_times(
    hit: jax.Array, masked: jax.Array, share: jax.Array, start: jax.Array
) -> jax.Array:
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
