"""Gaussian diffusion of arrays as a `Process`: one code, or several aggregated.

The formulas stand in `gaussian_schedule`, `aggregation`, `predictions` and
`gaussian_terms`; here they are what `process` asks of a diffusion. The way back stands
in `gaussian_walk`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion import aggregation, gaussian_terms, predictions
from cdcd_jax.diffusion.aggregation import Aggregation, aggregate, rowwise
from cdcd_jax.diffusion.gaussian_schedule import VARIANCES, Levels
from cdcd_jax.diffusion.gaussian_walk import GaussianWalk, steps_of, visited
from cdcd_jax.diffusion.predictions import PREDICTIONS, Reading
from cdcd_jax.diffusion.process import Terms
from cdcd_jax.diffusion.samplers import GAUSSIAN_SAMPLERS
from cdcd_jax.diffusion.samplers.options import SamplingOptions

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray

LOSSES = ("simple", "bound")


@dataclasses.dataclass(frozen=True, eq=False)
class Gaussian:
    """Diffusion of x [B, ...], in which all but noise is gone at T.

    Without an aggregation x_0 is an array. With one it is a mapping, by modality, of
    codes that all have the shape of x_t. A prediction is an array of the kind
    `prediction`; codes by modality, as heads say them, encoded again; or both, a
    `Predicted`. Where weights change with t codes are needed, since an array says
    nothing of how the code moves.

    Attributes:
        levels: the noise levels.
        prediction: 'noise', 'x_0' (the clean code) or 'v', what an array says.
        variance: of p_theta(x_{t-1} | x_t) in the bound: 'posterior', or 'beta'.
        loss: what is trained: 'simple', the squared error of what is predicted, summed
            over dimensions, or 'bound'.
        num_levels: K of the decoder at t = 1, see `gaussian_terms`; 0 for numbers that
            are no levels, of which the bound is that of a density.
        aggregation: weights of modalities, or None.
        primary: the modality that the decoder is of; needs an aggregation.

    Raises:
        ValueError: values that are not among these, or do not fit each other.
    """

    levels: Levels
    prediction: str = "noise"
    variance: str = "posterior"
    loss: str = "simple"
    num_levels: int = 0
    aggregation: Aggregation | None = None
    primary: str = ""

    def __post_init__(self) -> None:
        for name, known in (
            ("prediction", PREDICTIONS),
            ("variance", VARIANCES),
            ("loss", LOSSES),
        ):
            if (value := getattr(self, name)) not in known:
                raise ValueError(
                    f"unknown {name} {value!r}: choose one of {', '.join(known)}"
                )
        if self.num_levels < 0 or self.num_levels == 1:
            raise ValueError(
                f"num_levels = {self.num_levels}: a decoder needs at least 2, or 0 for "
                "a density"
            )
        weights = {} if self.aggregation is None else self.aggregation.weights
        if weights and self.aggregation.timesteps != self.timesteps:
            raise ValueError(
                f"weights of {self.aggregation.timesteps} times, but levels of "
                f"{self.timesteps}: make both with one T"
            )
        if self.primary not in (weights or ("",)):
            raise ValueError(
                f"primary = {self.primary!r} has no weight: choose one of "
                f"{', '.join(sorted(weights)) or 'none, without an aggregation'}"
            )
        if weights and not weights[self.primary][1] > 0:
            raise ValueError(
                f"the primary modality {self.primary!r} has the weight "
                f"{weights[self.primary][1]} at t = 1, where it is decoded: give it "
                "one above 0"
            )

    @property
    def timesteps(self) -> int:
        """T."""
        return self.levels.timesteps

    @property
    def methods(self) -> tuple[str, ...]:
        """All samplers of arrays there are now."""
        return tuple(GAUSSIAN_SAMPLERS)

    def clean(
        self,
        x_0: Float[Array, "B ..."] | Mapping[str, Any],
        t: int | Int[Array, " B"],
    ) -> Float[Array, "B ..."]:
        """The clean code at t: x_0, or the sum of codes by their weights at t.

        Raises:
            ValueError: no aggregation and a mapping, or the other way round.
        """
        if isinstance(x_0, Mapping) != (self.aggregation is not None):
            kinds = ("codes by modality", "one array")
            found, expected = kinds if isinstance(x_0, Mapping) else kinds[::-1]
            raise ValueError(
                f"x_0 is {found}, and the process has "
                f"{'no' if self.aggregation is None else 'an'} aggregation: give "
                f"{expected}"
            )
        return aggregate(x_0, self.weights(t)) if self.aggregation else x_0

    def weights(self, t: int | Int[Array, "*B"]) -> dict[str, Array] | None:
        """W_t by modality, of the shape of t; None without an aggregation."""
        return self.aggregation and self.aggregation.at(t)

    def noised(
        self,
        key: PRNGKeyArray,
        x_0: Float[Array, "B ..."] | Mapping[str, Any],
        t: Int[Array, " B"],
    ) -> Float[Array, "B ..."]:
        """x_t ~ q(x_t | x_0), t int32 [B] in 1..T."""
        return self._under(key, x_0, t, False)

    def _under(self, key: PRNGKeyArray, x_0: Any, t: jax.Array, shared: bool) -> Any:
        """The same, with one noise for all rows where it is shared."""
        clean, level = self.clean(x_0, t), self.levels.at(t)
        shape = (1, *clean.shape[1:]) if shared else clean.shape
        noise = jax.random.normal(key, shape, clean.dtype)
        return (
            rowwise(level.signal, clean) * clean + rowwise(level.noise, clean) * noise
        )

    def read(
        self, prediction: Any, x_t: Float[Array, "B ..."], t: Int[Array, " B"]
    ) -> Reading:
        """What a prediction says of the clean code and of the noise at t, int32 [B]."""
        level, weights = self.levels.at(t), self.weights(t)
        return predictions.read(self.prediction, prediction, x_t, level, weights)

    def terms(
        self,
        prediction: Any,
        x_0: Float[Array, "B ..."] | Mapping[str, Any],
        x_t: Float[Array, "B ..."],
        t: Int[Array, " B"],
    ) -> Terms:
        """T x the step's KL, or the decoder's term at t = 1; and what is trained.

        Args:
            prediction: see the class.
            x_0: an array, or codes by modality.
            x_t: [B, ...].
            t: int32 [B], 1..T.
        """
        said = self.read(prediction, x_t, t)
        nats = self.decoded(said, x_0, t) + self.denoised(said, x_0, x_t, t)
        nats = self.timesteps * nats
        if self.loss == "bound":
            return Terms(nats, nats)
        level = self.levels.at(t)
        told, true = (
            predictions.join(self.prediction, clean, noise, level)
            for clean, noise in (said[:2], self._true(x_0, x_t, t))
        )
        return Terms(nats, jnp.sum(_flat(jnp.square(told - true)), axis=1))

    def denoised(
        self,
        said: Reading,
        x_0: Float[Array, "B ..."] | Mapping[str, Any],
        x_t: Float[Array, "B ..."],
        t: Int[Array, " B"],
    ) -> Float[Array, " B"]:
        """The step's KL in nats an example, [B]; 0 at t = 1."""
        noise_error = said.noise - self._true(x_0, x_t, t)[1]
        added_error = 0.0
        if self.aggregation is not None and not self.aggregation.constant:
            w = self.aggregation.per_step(self.levels)
            w = {name: jnp.asarray(w[name])[t - 1] for name in w}
            added_error = predictions.moved(said.codes, w) - aggregate(x_0, w)
        return gaussian_terms.step_kl(self._steps, t, noise_error, added_error)

    def decoded(
        self,
        said: Reading,
        x_0: Float[Array, "B ..."] | Mapping[str, Any],
        t: Int[Array, " B"],
    ) -> Float[Array, " B"]:
        """-log p(x_0 | x_1) in nats an example, [B]; 0 where t is not 1.

        Of several modalities it is that of the primary one: its own predicted code, or
        what is left of the predicted sum when the other codes are taken off. So p is
        that of the primary given the others, whose decoders the task has.
        """
        x, mean, weight = x_0, said.clean, 1.0
        if self.aggregation:
            x, weight = x_0[self.primary], self.aggregation.weights[self.primary][1]
            if said.codes is not None:
                mean = said.codes[self.primary]
            else:
                mean = x + (said.clean - self.clean(x_0, 1)) / weight
        first = rowwise(t == 1, x)
        # elsewhere the mean may be far off, where a gradient is no number
        mean = jnp.where(first, mean, x)
        nats = gaussian_terms.decoder_nats(
            x, mean, float(self.last_sigma / weight), self.num_levels
        )
        return jnp.sum(_flat(jnp.where(first, nats, 0.0)), axis=1)

    def prior_term(
        self, x_0: Float[Array, "B ..."] | Mapping[str, Any]
    ) -> Float[Array, " B"]:
        """See `aggregation.prior_kl`; nats an example, [B]."""
        return aggregation.prior_kl(self.clean(x_0, self.timesteps), self.levels)

    def prior_distance(
        self, x_0: Float[Array, "B ..."] | Mapping[str, Any]
    ) -> Float[Array, ""]:
        """The mean prior term of a batch, nats a dimension; see `check_prior`."""
        size = np.prod(jax.tree.leaves(x_0)[0].shape[1:], dtype=int)
        return jnp.mean(self.prior_term(x_0)) / size

    def check(self, options: SamplingOptions, start: int | None = None) -> None:
        """Raises ValueError if nothing can be drawn with these options, from a time on.

        Args:
            options: see `GaussianOptions`.
            start: the first time; None for T.
        """
        visited(options, self.levels, start)

    def walk(
        self,
        options: SamplingOptions,
        start: tuple[Float[Array, "B ..."] | Mapping[str, Any], int] | None = None,
        shared: bool = False,
    ) -> GaussianWalk:
        """The road of these options.

        Args:
            options: see `GaussianOptions`.
            start: x_0, or codes, and a time; noised to that time and denoised from
                there instead of a start from the prior.
            shared: every row is drawn from the same noise.

        Raises:
            ValueError: see `gaussian_walk.visited`.
        """
        times = visited(options, self.levels, None if start is None else start[1])
        begun = None
        if start is not None:
            x_0, first = start
            rows = jax.tree.leaves(x_0)[0].shape[0]
            begun = lambda key: self._under(key, x_0, jnp.full(rows, first), shared)
        steps = steps_of(options, self.levels, self.aggregation, times)
        moves = self.aggregation is not None and not self.aggregation.constant
        return GaussianWalk(
            steps, times[:-1], self.timesteps, self.prediction, moves, begun, shared
        )

    @property
    def last_sigma(self) -> float:
        """The standard deviation of the decoder at t = 1.

        That of beta_1; or, since a posterior has none there, that of t = 2, as in
        DDPM's code.
        """
        if self.variance == "beta" or self.timesteps == 1:
            return float(np.sqrt(self.levels.noise[1]))
        return float(np.sqrt(self.levels.posterior_variance(2, 1)))

    @functools.cached_property
    def _steps(self) -> gaussian_terms.StepTable:
        return gaussian_terms.step_table(self.levels, self.variance)

    def _true(self, x_0: Any, x_t: jax.Array, t: jax.Array) -> tuple:
        """The clean code and the noise in x_t."""
        clean = self.clean(x_0, t)
        return predictions.split("x_0", clean, x_t, self.levels.at(t))


def _flat(a: jax.Array) -> jax.Array:
    return a.reshape(a.shape[0], -1)
