"""The bound of Gaussian diffusion in nats: a step's KL, the decoder, and their sum.

A pixel is a token of K levels, x = 2 token / (K - 1) - 1, and the decoder of DDPM gives
a level the mass that N(mean, sigma^2) has in its cell, of which the first and the last
are open (Ho et al. 2020, eq. 13). So a bound is nats of tokens, as in discrete
diffusion.

For several modalities X = (x_1, ..) in one chain z, with decoders p(x_i | z_t):

    (A) -log p(X) <= KL_T + sum_{t >= 2} E KL_t - E_{q(z_1 | X)} sum_i log p(x_i | z_1)

which decodes at the end of the chain. Where heads are read at every time, the chain may
stop at any; let it stop at tau with probability pi_tau, so that p(X) is a mixture:

    (B) -log p(X) <= KL_T + sum_t Pr(tau < t) E KL_t
                     - sum_tau pi_tau E_{q(z_tau | X)} sum_i log p(x_i | z_tau)

(A) is the case tau = 1. (B) is the bound of the chain from tau on, of each tau, and
Jensen's inequality. Both are derived; the names L0..L3 are the paper's (MT-Diffusion,
theorem 1), and what they hold is inferred.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr

from cdcd_jax.diffusion.aggregation import rowwise
from cdcd_jax.diffusion.gaussian_schedule import Levels

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


def levels_of_tokens(tokens: Int[Array, "..."], num_levels: int) -> Float[Array, "..."]:
    """x in [-1, 1] of tokens 0..K - 1, in their shape."""
    return 2.0 * tokens / (num_levels - 1) - 1.0


def tokens_of_levels(x: Float[Array, "..."], num_levels: int) -> Int[Array, "..."]:
    """The tokens in whose cells x lies; the cells of both ends are open."""
    token = jnp.round((x + 1.0) * (num_levels - 1) / 2.0)
    return jnp.clip(token, 0, num_levels - 1).astype(jnp.int32)


def decoder_nats(
    x: Float[Array, "B ..."],
    mean: Float[Array, "B ..."],
    sigma: float,
    num_levels: int,
) -> Float[Array, "B ..."]:
    """-log p(x) of each dimension, nats, in the shape of x.

    Args:
        x: levels of tokens, or anything where there are none.
        mean: of the Gaussian.
        sigma: its standard deviation.
        num_levels: K; 0 for the density of x itself.
    """
    if not num_levels:
        return 0.5 * jnp.square((x - mean) / sigma) + np.log(sigma * np.sqrt(2 * np.pi))
    half = 1.0 / (num_levels - 1)
    lower, upper = (x - half - mean) / sigma, (x + half - mean) / sigma
    token = tokens_of_levels(x, num_levels)
    first, last = token == 0, token == num_levels - 1
    # in the left tail, where the log of a normal's mass is exact
    right = lower + upper > 0
    below, above = (
        jnp.where(right, -upper, lower),
        jnp.where(right, -lower, upper),
    )
    log_above = log_ndtr(above)
    inner = log_above + jnp.log(-jnp.expm1(log_ndtr(below) - log_above))
    ends = jnp.where(first, log_ndtr(upper), log_ndtr(-lower))
    return -jnp.where(first | last, ends, inner)


class StepTable(NamedTuple):
    """Of the KL of a step t -> t - 1, by t: float64 [T], entry t - 1; 0 at t = 1."""

    noise: np.ndarray  # c_t / (sqrt(2) sigma_t)
    scale: np.ndarray  # 1 / (sqrt(2) sigma_t)
    spread: np.ndarray  # nats a dimension of the variances alone


def step_table(levels: Levels, variance: str) -> StepTable:
    """What the KL of every step is made of.

    Raises:
        ValueError: see `Levels.model_variance`.
    """
    t = np.arange(2, levels.timesteps + 1)
    beta, model = levels.beta(t, t - 1), levels.model_variance(t, t - 1, variance)
    scale = 1 / np.sqrt(2 * model)
    noise = scale * beta / np.sqrt((1 - beta) * levels.noise[t])
    # posterior over model; at 'posterior' exactly 1
    ratio = levels.posterior_variance(t, t - 1) / model
    spread = 0.5 * (ratio - 1 - np.log(ratio))
    return StepTable(*(np.append(0.0, a) for a in (noise, scale, spread)))


def step_kl(
    table: StepTable,
    t: Int[Array, " B"],
    noise_error: Float[Array, "B ..."],
    added_error: Float[Array, "B ..."] | float = 0.0,
) -> Float[Array, " B"]:
    """KL(q(z_{t-1} | z_t, X) || p_theta(z_{t-1} | z_t)) in nats an example, [B].

    The means differ by c_t (eps_theta - eps) + sum_i w_t^i (E_i(x_theta) - E_i(x)), up
    to the sign, with c_t = beta_t / sqrt(alpha_t (1 - alpha_bar_t)).

    Args:
        table: see `step_table`.
        t: int32 [B]; 0 nats at t = 1, which has a decoder instead.
        noise_error: eps_theta - eps, [B, ...].
        added_error: the sum over modalities, [B, ...].
    """
    at_t = (jnp.asarray(a)[t - 1] for a in table)
    noise, scale, spread = (rowwise(a, noise_error) for a in at_t)
    each = jnp.square(noise * noise_error + scale * added_error) + spread
    return jnp.sum(each.reshape(each.shape[0], -1), axis=1)


class Bound(NamedTuple):
    """A bound on -log p(X) in nats, by what it is made of."""

    reconstruction: jax.Array  # L0: of the primary modality
    denoising: jax.Array  # L1
    others: jax.Array  # L2: of the other modalities; 0 where there is one alone
    prior: jax.Array  # L3

    @property
    def total(self) -> Float[Array, "..."]:
        """The bound."""
        return self.reconstruction + self.denoising + self.others + self.prior


def bound(
    prior: Float[Array, "*B"],
    kl: Float[Array, "T ..."],
    decoders: Mapping[str, Float[Array, "T ..."]],
    primary: str,
    stop: Float[np.ndarray, " T"] | None = None,
) -> Bound:
    """Form (A), or form (B) where the chain may stop early.

    Args:
        prior: nats.
        kl: of t = 1..T, means over q(z_t | X), in nats; the first is not used.
        decoders: by modality -log p(x_i | z_t) of t = 1..T, means over q(z_t | X).
        primary: the modality of L0.
        stop: pi_tau, [T]; None for (A), which decodes z_1 alone.

    Raises:
        ValueError: no such modality, or pi that is no distribution over the T times.
    """
    if primary not in decoders:
        raise ValueError(
            f"no decoder of {primary!r}: choose one of {', '.join(decoders)}"
        )
    if stop is None:
        stop = np.eye(len(kl))[0]
    weigh = lambda w, a: jnp.tensordot(jnp.asarray(w), a, axes=1)
    said = {name: weigh(stop, a) for name, a in decoders.items()}
    others = sum((a for n, a in said.items() if n != primary), jnp.zeros_like(prior))
    return Bound(said[primary], weigh(passed(stop), kl), others, prior)


def passed(stop: Float[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
    """Pr(tau < t) of t = 1..T, [T], from pi_tau, [T].

    With it the term of (B) at t is Pr(tau < t) KL_t + pi_t times the decoders' at t.

    Raises:
        ValueError: not a distribution.
    """
    stop = np.asarray(stop, np.float64)
    if np.any(stop < 0) or abs(stop.sum() - 1) > 1e-6:
        raise ValueError(
            f"the chances to stop at t = 1..{len(stop)} have the sum {stop.sum():.6g}, "
            f"the least is {stop.min():.3g}: expected a distribution"
        )
    return np.append(0.0, np.cumsum(stop)[:-1])
