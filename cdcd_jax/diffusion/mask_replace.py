"""Mask and replace as a `Process`: codes 0..K - 1, a mask, and the samplers of both.

The formulas stand in `schedule`, `transition`, `objective` and `samplers`; here they
are what `process` asks of a diffusion.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion import grids, objective, schedule
from cdcd_jax.diffusion.guidance import truncate
from cdcd_jax.diffusion.process import Terms
from cdcd_jax.diffusion.samplers import SAMPLERS
from cdcd_jax.diffusion.samplers.base import (
    Canvas,
    Noise,
    Sampler,
    Step,
    gumbel_noise,
    steps_of,
)
from cdcd_jax.diffusion.samplers.options import SamplingOptions
from cdcd_jax.diffusion.samplers.times import sampler_of, time_grid
from cdcd_jax.diffusion.schedule import Schedule
from cdcd_jax.diffusion.transition import one_step_table, sample_prior, sample_x_t

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

# (step, key, (B, L, K)) -> the randomness of a step
MakeNoise = Callable[[jax.Array, jax.Array, tuple[int, ...]], Noise]


@dataclasses.dataclass(frozen=True)
class MaskReplace:
    """Discrete diffusion of tokens [B, L]; a prediction is logits [B, L, K].

    Attributes:
        schedule: the noise levels.
        mask_weight: of masked and unmasked positions in training.
        auxiliary_weight: of -log p(x_0 | x_t) in training.
        auxiliary_ramp: see `objective.ramp`.
    """

    schedule: Schedule
    mask_weight: tuple[float, float] = (1.0, 1.0)
    auxiliary_weight: float = 0.0
    auxiliary_ramp: str = "none"

    @property
    def timesteps(self) -> int:
        """T."""
        return self.schedule.timesteps

    @property
    def methods(self) -> tuple[str, ...]:
        """All samplers there are now."""
        return tuple(SAMPLERS)

    def noised(
        self, key: PRNGKeyArray, x_0: Int[Array, "B L"], t: Int[Array, " B"]
    ) -> Int[Array, "B L"]:
        """See `sample_x_t`."""
        return sample_x_t(key, x_0, t, self.schedule)

    def terms(
        self,
        prediction: Float[Array, "B L K"],
        x_0: Int[Array, "B L"],
        x_t: Int[Array, "B L"],
        t: Int[Array, " B"],
    ) -> Terms:
        """The step's KL, and what is trained: the case of no negatives.

        Args:
            prediction: logits [B, L, K].
            x_0, x_t: int32 [B, L].
            t: int32 [B], 1..T.
        """
        tr, z = one_step_table(self.schedule).at(t - 1), x_0[..., None]
        score = objective.scores(prediction, x_t, z, tr)
        num_codes = self.schedule.num_codes
        kl = objective.posterior_kl(z, x_t, score, tr, num_codes)[..., 0]
        weight = objective.position_weights(x_t, t, num_codes, self.mask_weight)
        ramp = objective.ramp(t, self.timesteps, self.auxiliary_ramp)
        auxiliary = jnp.sum(-weight * score.log_p[..., 0], axis=1)
        training = jnp.sum(weight * kl, axis=1)
        training += self.auxiliary_weight * ramp * auxiliary
        return Terms(self.timesteps * jnp.sum(kl, axis=1), self.timesteps * training)

    def prior_term(self, x_0: Int[Array, "B L"]) -> Float[Array, " B"]:
        """See `schedule.prior_term`; nats an example, [B]."""
        each = schedule.prior_term(self.schedule)
        return jnp.full(x_0.shape[0], each * x_0[0].size, jnp.float32)

    def check(self, options: SamplingOptions, start: int | None = None) -> None:
        """Raises ValueError if nothing can be drawn with these options, from a time on.

        An optimised grid may lack, since an evaluation is yet to find it.
        """
        if options.grid == grids.OPTIMISED and not options.times:
            options = dataclasses.replace(options, grid="cosine")
        time_grid(options, self.schedule, start)

    def walk(
        self,
        options: SamplingOptions,
        start: tuple[Int[Array, "B L"], int] | None = None,
        *,
        layout: tuple[int, int] | None = None,
        shared: bool = False,
        noise: MakeNoise = gumbel_noise,
    ) -> CodeWalk:
        """The road of these options.

        Args:
            options: see `SamplingOptions`.
            start: tokens int32 [B, L] and a time; noised to that time and denoised from
                there (variation) instead of a start from the prior.
            layout: (H, W) of the L tokens, for 'spread'; None for one row.
            shared: every row gets the same noise, so that rows differ by their law
                alone.
            noise: see `MakeNoise`.

        Raises:
            ValueError: see `time_grid`.
        """
        first = self.timesteps if start is None else start[1]
        visited = time_grid(options, self.schedule, first)
        sampler = sampler_of(options)
        times = None if sampler.time_by_state else visited[:-1]
        inputs = steps_of(sampler, self.schedule, visited)
        road = (inputs, times, self.schedule, options, sampler)
        return CodeWalk(*road, start, layout, shared, noise)


@dataclasses.dataclass(frozen=True, eq=False)
class CodeWalk:
    """The walk of a sampler of codes; see `process.Walk`. Its state is a `Canvas`."""

    inputs: Step  # leaves [S]
    times: np.ndarray | None  # int [S], or None where the canvas decides
    schedule: Schedule
    options: SamplingOptions
    sampler: Sampler
    start: tuple[jax.Array, int] | None
    layout: tuple[int, int] | None
    shared: bool
    noise: MakeNoise

    @property
    def timesteps(self) -> int:
        """T."""
        return self.schedule.timesteps

    def begin(
        self,
        keys: tuple[PRNGKeyArray, PRNGKeyArray],
        shape: tuple[int, int],
        known: tuple[Int[Array, "B L"], Bool[Array, "B L"]] | None,
    ) -> Canvas:
        """The first canvas, of which what is known stands already."""
        key_start, key_order = keys
        own_shape = (1, shape[1]) if self.shared else shape
        tokens = _keep(known, self._first(key_start, shape, own_shape))
        layout = self.layout or (1, shape[1])
        order = self.sampler.order(key_order, own_shape, layout)
        if order is not None:
            order = _to_all(shape[0], order)
        at_start = jnp.sum(tokens == self.schedule.num_codes, axis=-1)
        return Canvas(tokens, at_start, order, known)

    def _first(
        self, key: jax.Array, shape: tuple[int, int], own_shape: tuple[int, int]
    ) -> jax.Array:
        if self.start is None:
            if self.sampler.by_masks:
                return jnp.full(shape, self.schedule.num_codes, jnp.int32)
            return _to_all(shape[0], sample_prior(key, own_shape, self.schedule))
        given, first = self.start

        def noised(x: jax.Array) -> jax.Array:
            if self.sampler.by_masks:
                # the chain would leave codes that were replaced as they are
                share = grids.progress(self.schedule)[first]
                hidden = jax.random.uniform(key, x.shape) < share
                return jnp.where(hidden, self.schedule.num_codes, x)
            t = jnp.full(own_shape[0], first)
            return sample_x_t(key, x, t, self.schedule)

        # one key for all rows, of which each is drawn as if it were alone
        one = jax.vmap(lambda x: noised(x[None])[0])
        return (one if self.shared else noised)(given)

    def seen(self, canvas: Canvas) -> Int[Array, "B L"]:
        """x_t."""
        return canvas.tokens

    def time(self, canvas: Canvas, step: Step) -> Int[Array, " B"]:
        """int32 [B]."""
        t = self.sampler.time(canvas, step, self.schedule)
        return jnp.broadcast_to(t, canvas.tokens.shape[0])

    def advance(
        self,
        key: PRNGKeyArray,
        canvas: Canvas,
        logits: Float[Array, "B L K"],
        step: Step,
    ) -> Canvas:
        """One step, from logits [B, L, K]."""
        options, batch = self.options, canvas.tokens.shape[0]
        logits = logits.astype(jnp.float32) / options.temperature
        log_p = truncate(jax.nn.log_softmax(logits), options.top_p, options.top_k)
        rows = 1 if self.shared else batch
        noise = self.noise(step.index, key, (rows, *log_p.shape[1:]))
        noise = jax.tree.map(functools.partial(_to_all, batch), noise)
        x_s = self.sampler.advance(log_p, canvas, step, noise)
        return canvas._replace(tokens=_keep(canvas.known, x_s))


def _keep(known: tuple[jax.Array, jax.Array] | None, tokens: jax.Array) -> jax.Array:
    return tokens if known is None else jnp.where(known[1], known[0], tokens)


def _to_all(batch: int, a: jax.Array) -> jax.Array:
    return jnp.broadcast_to(a, (batch, *a.shape[1:]))
