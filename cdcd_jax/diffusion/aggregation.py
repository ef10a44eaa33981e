"""Several modalities in one code: forward aggregation (Chen et al. 2024, MT-Diffusion).

With E_i(x_i) the code of modality i, all of one shape, a step adds codes to the chain,

    q(z_t | z_{t-1}, X) = N(sqrt(alpha_t) (z_{t-1} + sum_i w_t^i E_i(x_i)), beta_t I)

so that, from z_0 = 0, the marginal is that of a clean code which changes with t,

    q(z_t | X) = N(sqrt(alpha_bar_t) sum_i W_t^i E_i(x_i), (1 - alpha_bar_t) I)
    W_t = sum_{s <= t} w_s / sqrt(alpha_bar_{s-1})
    w_t = sqrt(alpha_bar_{t-1}) (W_t - W_{t-1}),   W_0 = 0

The paper leaves open how w is chosen. A constant w makes sqrt(alpha_bar_T) W_T large,
and the chain then never comes to its prior. So W is chosen, and w follows: a constant W
is ordinary diffusion of one aggregated code, which all enters at the first step; a ramp
shows a modality earlier or later on the way from noise to data. (W, its inverse and the
posterior are derived; the kernel is the paper's.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion.gaussian_schedule import Levels

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, Shaped

# nats a dimension that the code at T may be from the prior
PRIOR_LIMIT = 0.01
STEEPNESS = 12.0  # of the sigmoid ramp
# name -> how far a ramp is at a share of the way from t = 1 to T, from 0 to 1
WEIGHT_RAMPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda share: share,
    "sigmoid": lambda share: (
        0.5 + 0.5 * np.tanh(STEEPNESS / 2 * (share - 0.5)) / np.tanh(STEEPNESS / 4)
    ),
}


def per_step_weights(
    marginal: Float[np.ndarray, " times"], levels: Levels
) -> Float[np.ndarray, " T"]:
    """w_t of t = 1..T, [T], from W_t of t = 0..T, [T + 1]."""
    return np.exp(0.5 * levels.log_alpha_bar[:-1]) * np.diff(marginal)


def marginal_weights(
    per_step: Float[np.ndarray, " T"], levels: Levels
) -> Float[np.ndarray, " times"]:
    """W_t of t = 0..T, [T + 1], from w_t of t = 1..T, [T]."""
    return np.append(
        0.0, np.cumsum(per_step * np.exp(-0.5 * levels.log_alpha_bar[:-1]))
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Aggregation:
    """W_t^i by modality, float64 [T + 1] each, of which entry 0 is 0.

    Raises:
        ValueError: none, of unequal lengths, not finite, or not 0 at t = 0.
    """

    weights: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        if not self.weights:
            raise ValueError("no modality has a weight: give one by name at least")
        if len({len(w) for w in self.weights.values()}) > 1:
            lengths = {name: len(w) for name, w in self.weights.items()}
            raise ValueError(
                f"weights of unequal lengths {lengths}: give T + 1 of each"
            )
        for name, w in self.weights.items():
            if not np.all(np.isfinite(w)) or w[0] != 0:
                raise ValueError(
                    f"the weights of {name} are not finite, or not 0 at t = 0: "
                    f"{np.asarray(w).tolist()[:3]}..."
                )

    @property
    def timesteps(self) -> int:
        """T."""
        return len(next(iter(self.weights.values()))) - 1

    @property
    def constant(self) -> bool:
        """Whether no weight changes from t = 1 to T."""
        return all(np.all(w[1:] == w[1]) for w in self.weights.values())

    def at(self, t: int | Int[Array, "*B"]) -> dict[str, Float[Array, "*B"]]:
        """W_t by name, of the shape of t, on the device."""
        return {name: jnp.asarray(w)[t] for name, w in self.weights.items()}

    def per_step(self, levels: Levels) -> dict[str, Float[np.ndarray, " T"]]:
        """w_t of t = 1..T by name, [T]."""
        return {name: per_step_weights(w, levels) for name, w in self.weights.items()}


def make_aggregation(
    weights: Mapping[str, Any],
    timesteps: int,
    ramp: str = "linear",
) -> Aggregation:
    """Marginal weights from what a config says of them.

    Args:
        weights: by modality a number, or a ramp (from, to) from data, t = 1, to the
            prior, t = T: (1.0, 0.1) is shown late when samples are drawn.
        timesteps: T.
        ramp: a key of `WEIGHT_RAMPS`.

    Raises:
        ValueError: see `Aggregation`; an unknown ramp, or not one or two numbers.
    """
    if ramp not in WEIGHT_RAMPS:
        raise ValueError(
            f"unknown ramp {ramp!r} of weights: choose one of {', '.join(WEIGHT_RAMPS)}"
        )
    far = WEIGHT_RAMPS[ramp](np.arange(timesteps) / max(timesteps - 1, 1))
    found = {}
    for name, given in weights.items():
        ends = np.atleast_1d(np.asarray(given))
        if ends.shape not in ((1,), (2,)) or ends.dtype.kind not in "iuf":
            raise ValueError(
                f"the weight of {name} is {given!r}: give a number, or (from, to)"
            )
        ends = ends.astype(np.float64)
        if not np.all(np.isfinite(ends)):
            raise ValueError(f"the weight of {name} is {given!r}: give finite numbers")
        found[name] = np.append(0.0, ends[0] + (ends[-1] - ends[0]) * far)
    return Aggregation(found)


def aggregate(
    codes: Mapping[str, Float[Array, "B ..."]],
    weights: Mapping[str, float | Float[Array, "..."]],
) -> Float[Array, "B ..."]:
    """sum_i W^i E_i(x_i), [B, ...].

    Args:
        codes: by modality, all of one shape [B, ...].
        weights: by modality, scalars or [B].

    Raises:
        ValueError: names that do not fit, or codes of unequal shapes.
    """
    if set(codes) != set(weights):
        raise ValueError(
            f"codes of {', '.join(sorted(codes)) or 'nothing'}, but weights of "
            f"{', '.join(sorted(weights))}: give a code of each modality that has one"
        )
    if len({jnp.shape(code) for code in codes.values()}) > 1:
        shapes = {name: jnp.shape(code) for name, code in codes.items()}
        raise ValueError(f"codes of unequal shapes {shapes}: all have that of z")
    # in one order, so that a sum does not depend on who made the mapping
    return sum(rowwise(weights[n], codes[n]) * codes[n] for n in sorted(codes))


def rowwise(
    a: float | Shaped[Array, "*B"], like: Float[Array, "..."]
) -> float | Shaped[Array, "..."]:
    """[B] as [B, 1, ...] of the rank of another array; scalars as they are."""
    return jnp.reshape(a, (-1,) + (1,) * (like.ndim - 1)) if jnp.ndim(a) else a


def prior_kl(code: Float[Array, "B ..."], levels: Levels) -> Float[Array, " B"]:
    """KL(q(z_T | X) || N(0, I)) in nats an example, [B].

    Args:
        code: the clean code at T, sum_i W_T^i E_i(x_i), [B, ...].
        levels: noise levels.
    """
    alpha_bar = levels.alpha_bar[-1]
    size = np.prod(code.shape[1:], dtype=int)
    spread = -alpha_bar - np.log1p(-alpha_bar)  # of the variance, tiny
    energy = jnp.sum(jnp.square(code.reshape(code.shape[0], -1)), axis=1)
    return 0.5 * (alpha_bar * energy + size * spread)


def check_prior(nats: float, levels: Levels) -> None:
    """Raises if the codes at T can still be told from noise.

    Args:
        nats: a dimension; the mean of `prior_kl` over examples and dimensions.
        levels: noise levels.

    Raises:
        ValueError: more than `PRIOR_LIMIT`, or not a number.
    """
    if not nats <= PRIOR_LIMIT:
        energy = 2 * nats / levels.alpha_bar[-1]
        raise ValueError(
            f"the clean code at T = {levels.timesteps} is {nats:.3g} nats a "
            f"dimension from the prior, at most {PRIOR_LIMIT} are allowed: samples "
            "start from noise, which it must look like. Schedule "
            f"{levels.name!r} leaves sqrt(alpha_bar_T) = "
            f"{np.exp(0.5 * levels.log_alpha_bar[-1]):.3g} of the code, whose mean "
            f"square is about {energy:.3g}: make the weights or the codes smaller (a "
            "mean square of 1 is meant), let weights fall towards T, or take a "
            "schedule that ends in more noise, such as 'linear' or 'cosine'"
        )
