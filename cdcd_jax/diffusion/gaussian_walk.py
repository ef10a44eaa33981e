"""The way back of Gaussian diffusion: a `Walk` of arrays.

Between any two times t > s, from a clean code and the noise as they were predicted,

    x_s = sqrt(alpha_bar_s) clean_s + direction eps + sigma n,     n ~ N(0, I)

where a sampler says direction and sigma (`samplers/ddpm.py`, `samplers/ddim.py`). Of
one modality, or of constant weights, clean_s is the code as predicted at t. Where
weights change it moves along, clean_s = clean_t + sum_i (W_s^i - W_t^i) E_i(x_i), with
the codes that heads predicted: for one step the posterior's mean less w_t E(x).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion import grids
from cdcd_jax.diffusion.aggregation import Aggregation
from cdcd_jax.diffusion.gaussian_schedule import Level, Levels
from cdcd_jax.diffusion.predictions import moved, read
from cdcd_jax.diffusion.samplers import GAUSSIAN_SAMPLERS
from cdcd_jax.diffusion.samplers.base import built
from cdcd_jax.diffusion.samplers.options import SamplingOptions, choose

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

# options of tokens, and the value at which they do nothing
OF_TOKENS = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}


class ValueStep(NamedTuple):
    """What a step takes besides x; the scan goes over [S]."""

    time: jax.Array  # of the network
    level: Level  # of t
    signal: jax.Array  # sqrt(alpha_bar_s)
    direction: jax.Array  # of the predicted noise
    sigma: jax.Array  # of fresh noise
    weights: dict[str, jax.Array] | None  # W_t by modality
    shift: dict[str, jax.Array] | None  # W_s - W_t by modality


class Place(NamedTuple):
    """Where a walk stands."""

    x: jax.Array  # [B, ...], x_t
    # x_0 and a bool of its shape: where true, it is to come out unchanged
    known: tuple[jax.Array, jax.Array] | None


def visited(
    options: SamplingOptions, levels: Levels, start: int | None = None
) -> Int[np.ndarray, " visited"]:
    """The times visited, int [S + 1], from the start (T) down to 0.

    Raises:
        ValueError: options that do not fit.
    """
    choose("method", options.method, GAUSSIAN_SAMPLERS)
    built(GAUSSIAN_SAMPLERS[options.method], options)
    choose("grid", options.grid, grids.GRIDS)
    last = levels.timesteps
    start = last if start is None else start
    if not 1 <= start <= last:
        raise ValueError(f"cannot start at time {start}: choose 1..{last}")
    if not 1 <= options.steps <= start:
        raise ValueError(
            f"sampling.steps = {options.steps} does not fit method {options.method!r} "
            f"over {start} times: choose 1..{start}"
        )
    for name, idle in OF_TOKENS.items():
        if getattr(options, name) != idle:
            raise ValueError(
                f"sampling.{name} = {getattr(options, name)} is of tokens, and method "
                f"{options.method!r} draws numbers: leave it at {idle}"
            )
    share = levels.noise / levels.noise[-1]
    return grids.GRIDS[options.grid](share, start, options.steps)


def steps_of(
    options: SamplingOptions,
    levels: Levels,
    aggregation: Aggregation | None,
    times: Int[np.ndarray, " visited"],
) -> ValueStep:
    """The inputs of the scan along the times visited.

    The sample is the clean code at t = 1, so that the last step keeps its weights.
    """
    t, s = times[:-1], times[1:]
    direction, sigma = built(GAUSSIAN_SAMPLERS[options.method], options).spread(
        levels, t, s
    )
    weights = shift = None
    if aggregation is not None:
        table, near = aggregation.weights, np.maximum(s, 1)
        weights = {name: jnp.asarray(w[t]) for name, w in table.items()}
        shift = {name: jnp.asarray(w[near] - w[t]) for name, w in table.items()}
    return ValueStep(
        jnp.asarray(t, jnp.int32),
        levels.at(t),
        levels.at(s).signal,
        jnp.asarray(direction),
        jnp.asarray(sigma),
        weights,
        shift,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianWalk:
    """The walk of a sampler of arrays; see `process.Walk`. Its state is a `Place`."""

    inputs: ValueStep  # leaves [S]
    times: np.ndarray  # int [S]
    timesteps: int  # T
    prediction: str  # what an array says, see `predictions`
    moves: bool  # weights change with t
    start: Callable[[jax.Array], jax.Array] | None  # key -> x at the first time
    shared: bool = False  # every row is drawn from the same noise

    def without_last(self) -> tuple[GaussianWalk, ValueStep]:
        """The walk but for its last step, and that step.

        At t = 0 a walk is at the clean code as it was predicted last. Who also wants
        what else the network said there evaluates it outside of the scan.
        """
        before, last = (
            jax.tree.map(lambda a, part=part: a[part], self.inputs)
            for part in (np.s_[:-1], np.s_[-1])
        )
        walk = dataclasses.replace(self, inputs=before, times=self.times[:-1])
        return walk, last

    def _noise(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Standard normal noise of this shape; the same in every row where shared."""
        own = (1, *shape[1:]) if self.shared else shape
        return jnp.broadcast_to(jax.random.normal(key, own), shape)

    def begin(
        self,
        keys: tuple[PRNGKeyArray, PRNGKeyArray],
        shape: tuple[int, ...],
        known: tuple[Float[Array, "B ..."], Bool[Array, "B ..."]] | None,
    ) -> Place:
        """x at the first time; what is known stands in it under its noise.

        At every step the known part of x_0 takes the place of what was predicted
        there, so that this part of the chain is the posterior of the truth, and comes
        out as it is. One modality of several is no part of x: who knows it puts its
        code among those that are predicted.
        """
        key, _ = keys
        if self.start is not None:
            x = self.start(key)
        else:
            x = self._noise(key, shape)
        if known is not None:
            level = jax.tree.map(lambda a: a[0], self.inputs.level)
            noise = self._noise(jax.random.fold_in(key, 1), shape)
            x = jnp.where(known[1], level.signal * known[0] + level.noise * noise, x)
        return Place(x, known)

    def seen(self, place: Place) -> Float[Array, "B ..."]:
        """x_t."""
        return place.x

    def time(self, place: Place, step: ValueStep) -> Int[Array, " B"]:
        """int32 [B]."""
        return jnp.broadcast_to(step.time, place.x.shape[0])

    def advance(
        self, key: PRNGKeyArray, place: Place, prediction: Any, step: ValueStep
    ) -> Place:
        """One step, from noise, x_0 or v, from codes by modality, or from both.

        Raises:
            ValueError: weights that change, and no codes.
        """
        noise = self._noise(key, place.x.shape)
        return place._replace(x=self.jump(place, prediction, step, noise))

    def jump(
        self,
        place: Place,
        prediction: Any,
        step: ValueStep,
        noise: Float[Array, "B ..."],
    ) -> Float[Array, "B ..."]:
        """x_s, [B, ...], from the noise of this step."""
        said = read(self.prediction, prediction, place.x, step.level, step.weights)
        clean, eps = said.clean, said.noise
        if self.moves:
            clean = clean + moved(said.codes, step.shift)
        if place.known is not None:
            x_0, given = place.known
            clean = jnp.where(given, x_0, clean)
            true = (place.x - step.level.signal * x_0) / step.level.noise
            eps = jnp.where(given, true, eps)
        return step.signal * clean + step.direction * eps + step.sigma * noise
