"""What a sampler of codes decides, and what it is given at every step.

`mask_replace.CodeWalk` does the rest: it begins, asks the network's prediction to be
tempered and truncated, keeps what is known. A sampler is a frozen dataclass whose
fields are the options that it alone reads.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion import grids
from cdcd_jax.diffusion.samplers.options import SamplingOptions
from cdcd_jax.diffusion.schedule import Schedule
from cdcd_jax.diffusion.transition import Transition, transitions

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray


class Noise(NamedTuple):
    """The randomness of a step, standard Gumbel."""

    tokens: jax.Array  # [B, L, K + 1]
    order: jax.Array  # [B, L]


class Step(NamedTuple):
    """What a step takes besides tokens; the scan goes over [S]."""

    index: jax.Array
    time: jax.Array  # of the network
    jump: Transition
    share_t: jax.Array  # masked share, of T
    share_s: jax.Array
    left: jax.Array  # share of the start's masks that is left afterwards


class Canvas(NamedTuple):
    """Where a walk stands."""

    tokens: jax.Array  # int32 [B, L], x_t
    at_start: jax.Array  # int32 [B], how many were masked at first
    # [B, L], which come first, where that does not depend on what is drawn
    order: jax.Array | None
    # tokens int32 [B, L] and bool [B, L]: where true, the token stands
    known: tuple[jax.Array, jax.Array] | None


class Sampler:
    """One way from x_t to x_s. What is defined here serves most of them."""

    # goes by masks, and so knows nothing of codes that were replaced by others
    by_masks: ClassVar[bool] = False
    # visits times of its own; `sampling.grid` has none to choose
    own_times: ClassVar[bool] = False
    # the network's time is that of the canvas, not that of the step
    time_by_state: ClassVar[bool] = False

    def needs(self, steps: int, start: int) -> str:
        """Which numbers of steps fit a walk from time `start`, or '' if `steps` do."""
        return "" if 1 <= steps <= start else f"1..{start}"

    def times(
        self, options: SamplingOptions, schedule: Schedule, start: int
    ) -> Int[np.ndarray, " visited"]:
        """The times visited, int [S + 1], from the start down to 0.

        Raises:
            ValueError: options that do not fit.
        """
        return grids.grid_times(
            options.grid, options.times, schedule, start, options.steps
        )

    def jumps(
        self, times: Int[np.ndarray, " visited"]
    ) -> tuple[Int[np.ndarray, " S"], Int[np.ndarray, " S"]]:
        """From which times to which the posterior goes, int [S] each."""
        return times[:-1], times[1:]

    def left(
        self, share: Float[np.ndarray, " times"], times: Int[np.ndarray, " visited"]
    ) -> Float[np.ndarray, " S"]:
        """Of the start's masks, which share each step leaves, [S].

        Args:
            share: see `grids.progress`.
            times: as visited.
        """
        return share[times[1:]] / share[times[0]]

    def order(
        self, key: PRNGKeyArray, shape: tuple[int, int], layout: tuple[int, int]
    ) -> Float[Array, "rows L"] | None:
        """The order of the whole way, [B, L], highest first; None for none.

        Args:
            key: random key.
            shape: (B, L), or (1, L) where all rows share it.
            layout: (H, W) of the L tokens.
        """
        del key, shape, layout

    def time(self, canvas: Canvas, step: Step, schedule: Schedule) -> Int[Array, "..."]:
        """The network's time, int32 [] or [B]."""
        del canvas, schedule
        return step.time

    def advance(
        self, log_p: Float[Array, "B L K"], canvas: Canvas, step: Step, noise: Noise
    ) -> Int[Array, "B L"]:
        """x_s, int32 [B, L].

        Args:
            log_p: [B, L, K], log p_theta(x_0 | x_t), -inf where truncated.
            canvas: x_t.
            step: of this step, scalars.
            noise: of this step.
        """
        raise NotImplementedError


def steps_of(
    sampler: Sampler, schedule: Schedule, times: Int[np.ndarray, " visited"]
) -> Step:
    """The inputs of the scan along the times visited."""
    number, share = len(times) - 1, grids.progress(schedule)
    jumps = transitions(schedule, *sampler.jumps(times))
    shares = (jnp.asarray(share[t], jnp.float32) for t in (times[:-1], times[1:]))
    return Step(
        jnp.arange(number),
        jnp.asarray(times[:-1], jnp.int32),
        jax.tree.map(jnp.asarray, jumps),
        *shares,
        jnp.asarray(sampler.left(share, times), jnp.float32),
    )


def gumbel_noise(
    step: int | Int[Array, ""], key: PRNGKeyArray, shape: tuple[int, ...]
) -> Noise:
    """Fresh noise for a step of [B, L, K] logits."""
    del step
    key_tokens, key_order = jax.random.split(key)
    # mode="high": the default's tail is cut at 16 nats
    draw = lambda key, shape: jax.random.gumbel(key, shape, mode="high")
    return Noise(
        draw(key_tokens, (*shape[:2], shape[2] + 1)), draw(key_order, shape[:2])
    )


def draw_positions(law: Float[Array, "B L K"], noise: Noise) -> Int[Array, "B L"]:
    """One value of each position from log-probabilities [B, L, K + 1]: int32 [B, L]."""
    return jnp.argmax(law + noise.tokens, axis=-1).astype(jnp.int32)


def built(cls: type, options: SamplingOptions) -> Any:
    """The sampler with those of the options that it has fields for."""
    names = [f.name for f in dataclasses.fields(cls) if hasattr(options, f.name)]
    return cls(**{name: getattr(options, name) for name in names})
