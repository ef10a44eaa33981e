"""One jump from time t back to time s < t: coefficients, forward noise, posterior.

With p(k) = p_theta(x_0 = k | x_t) and j = x_t, the posterior over x_s is

    x_t = M:  p(x_s = k) = h (A p(k) + b),  p(x_s = M) = gamma_bar_s / gamma_bar_t
    x_t = j:  p(x_s = k) = c (A p(k) + b w)   for k != j,  p(x_s = M) = 0
              p(x_s = j) = f p(j) + e w

    A = alpha_bar_s          h = gamma / gamma_bar_t
    b = beta_bar_s           c = beta / beta_bar_t
    w = 1 - r p(j)           r = alpha_bar_t / (alpha_bar_t + beta_bar_t)
    f = (alpha + beta) A / (alpha_bar_t + beta_bar_t)
    e = (alpha + beta) b / beta_bar_t

where alpha, beta, gamma belong to the jump s -> t. q(x_s | x_t, x_0) is the same with
p = [k = x_0]. All coefficients are ratios that stay finite at both ends of a schedule;
with beta = 0 an unmasked token stays as it is (c = 0, r = f = e = 1).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion.schedule import Schedule

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "alpha_bar",
        "beta_bar",
        "log_alpha_bar",
        "log_beta_bar",
        "ratio",
        "stay",
        "h",
        "c",
        "log_f",
        "e",
        "log_e",
        "e_log_e",
        "r",
        "one_minus_r",
        "q_keep",
    ],
    meta_fields=["absorbing"],
)
@dataclasses.dataclass(frozen=True)
class Transition:
    """Coefficients of jumps t -> s, float32 [J] (see the file's head)."""

    alpha_bar: jax.Array  # A
    beta_bar: jax.Array  # b
    log_alpha_bar: jax.Array
    log_beta_bar: jax.Array  # -inf where b = 0
    ratio: jax.Array  # A / b; 1 where b = 0
    stay: jax.Array  # gamma_bar_s / gamma_bar_t
    h: jax.Array
    c: jax.Array
    log_f: jax.Array
    e: jax.Array
    log_e: jax.Array  # -inf where e = 0
    e_log_e: jax.Array
    r: jax.Array
    one_minus_r: jax.Array
    q_keep: jax.Array  # q(x_s = j | x_t = j, x_0 = j) = f + e (1 - r)
    absorbing: bool  # beta = 0 in the whole schedule

    def at(self, index: int | Int[Array, "..."]) -> Transition:
        """The jumps numbered by `index` (int, any shape)."""
        return jax.tree.map(lambda a: a[index], self)

    def expand(self, ndim: int) -> Transition:
        """Appends axes to arrays [B], so that they broadcast against [B, ...]."""
        return jax.tree.map(
            lambda a: jnp.reshape(a, a.shape + (1,) * (ndim - a.ndim)), self
        )


def _log(x: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(x)


def _divide(x: np.ndarray, y: np.ndarray, where_zero: float) -> np.ndarray:
    return np.divide(x, y, out=np.full_like(x, where_zero), where=y > 0)


def transitions(
    schedule: Schedule, source: Int[np.ndarray, " J"], target: Int[np.ndarray, " J"]
) -> Transition:
    """Coefficients of the jumps from times `source` (t) back to times `target` (s).

    Args:
        schedule: the noise levels.
        source: int [J], 1..T.
        target: int [J], 0..T - 1, each below its source.

    Raises:
        ValueError: a jump that does not go backward inside 0..T.
    """
    t, s = np.asarray(source), np.asarray(target)
    if np.any(s >= t) or np.any(s < 0) or np.any(t > schedule.timesteps):
        raise ValueError(
            f"jumps {list(zip(t.tolist(), s.tolist(), strict=True))} must go from "
            f"1..{schedule.timesteps} back to an earlier time"
        )
    k = schedule.num_codes
    a_s, a_t = schedule.alpha_bar[s], schedule.alpha_bar[t]
    m_s, m_t = schedule.uniform_mass[s], schedule.uniform_mass[t]
    code_s, code_t = a_s + m_s, a_t + m_t
    b_s, b_t = m_s / k, m_t / k
    g_t = schedule.gamma_bar[t]
    alpha = a_t / a_s
    beta = (a_s * m_t - a_t * m_s) / (code_s * a_s) / k
    gamma = (code_s - code_t) / code_s
    r = _divide(a_t, a_t + b_t, 1.0)
    f = np.where(m_t > 0, (alpha + beta) * _divide(a_s, a_t + b_t, 1.0), 1.0)
    e = _divide((alpha + beta) * b_s, b_t, 1.0)
    one_minus_r = _divide(b_t, a_t + b_t, 0.0)
    values = dict(
        alpha_bar=a_s,
        beta_bar=b_s,
        log_alpha_bar=_log(a_s),
        log_beta_bar=_log(b_s),
        ratio=_divide(a_s, b_s, 1.0),
        stay=_divide(schedule.gamma_bar[s], g_t, 0.0),
        h=_divide(gamma, g_t, 0.0),
        c=_divide(beta, b_t, 0.0),
        log_f=_log(f),
        e=e,
        log_e=_log(e),
        e_log_e=np.where(e > 0, e * _log(np.where(e > 0, e, 1.0)), 0.0),
        r=r,
        one_minus_r=one_minus_r,
        q_keep=f + e * one_minus_r,
    )
    # numpy, so that a table is a constant of whatever is traced with it
    values = {name: v.astype(np.float32) for name, v in values.items()}
    return Transition(**values, absorbing=not schedule.has_uniform)


def one_step_table(schedule: Schedule) -> Transition:
    """The jumps t -> t - 1 for t = 1..T; entry t - 1 belongs to t."""
    t = np.arange(1, schedule.timesteps + 1)
    return jax.tree.map(jnp.asarray, transitions(schedule, t, t - 1))


def sample_x_t(
    key: PRNGKeyArray, x_0: Int[Array, "B ..."], t: Int[Array, " B"], schedule: Schedule
) -> Int[Array, "B ..."]:
    """Draws x_t ~ q(x_t | x_0).

    Args:
        key: random key.
        x_0: int32 [B, ...], codes 0..K - 1.
        t: int32 [B], 0..T.

    Returns:
        int32 [B, ...], with M = K where masked.
    """

    def level(values: np.ndarray) -> jax.Array:
        v = jnp.asarray(values, jnp.float32)[t]
        return v.reshape(v.shape + (1,) * (x_0.ndim - 1))

    replaced = level(schedule.uniform_mass)
    masked = level(schedule.uniform_mass + schedule.gamma_bar)
    key_kind, key_code = jax.random.split(key)
    u = jax.random.uniform(key_kind, x_0.shape)
    x_t = x_0
    if schedule.has_uniform:
        code = jax.random.randint(key_code, x_0.shape, 0, schedule.num_codes)
        x_t = jnp.where(u < replaced, code, x_t)
    if schedule.has_mask:
        x_t = jnp.where((u >= replaced) & (u < masked), schedule.num_codes, x_t)
    return x_t.astype(jnp.int32)


def sample_prior(
    key: PRNGKeyArray, shape: tuple[int, ...], schedule: Schedule
) -> Int[Array, "..."]:
    """Draws x_T from the prior: M with gamma_bar_T, else a uniform code. int32."""
    key_mask, key_code = jax.random.split(key)
    code = jax.random.randint(key_code, shape, 0, schedule.num_codes)
    masked = jax.random.uniform(key_mask, shape) < schedule.gamma_bar[-1]
    return jnp.where(masked, schedule.num_codes, code).astype(jnp.int32)


def normaliser(
    shifted: Float[Array, "B L K"],
    x_t: Int[Array, "B L"],
    shifted_j: Float[Array, "B L"],
) -> tuple[Float[Array, "B L"], Float[Array, "B L"]]:
    """sum_k exp(l_k), and the same without k = x_t, so that 1 - p(x_t) does not cancel.

    Args:
        shifted: logits [B, L, K] minus their maximum.
        x_t: int32 [B, L], M = K where masked (then nothing is left out).
        shifted_j: [B, L], the entry at x_t; ignored where masked.
    """
    num_codes = shifted.shape[-1]
    is_j = jnp.arange(num_codes) == x_t[..., None]
    other = jnp.sum(jnp.where(is_j, 0.0, jnp.exp(shifted)), axis=-1)
    return other + jnp.where(x_t == num_codes, 0.0, jnp.exp(shifted_j)), other


def log_posterior(
    logits: Float[Array, "B L K"], x_t: Int[Array, "B L"], tr: Transition
) -> Float[Array, "B L K+1"]:
    """log p_theta(x_s | x_t), the mixture of q(x_s | x_t, x_0) over p_theta(x_0 | x_t).

    Args:
        logits: float [B, L, K], of p_theta(x_0 | x_t); -inf rules a code out.
        x_t: int32 [B, L], M = K where masked.
        tr: arrays [B] or scalars, the jump of each example.

    Returns:
        float32 [B, L, K + 1], normalised; the last entry is the mask.
    """
    num_codes = logits.shape[-1]
    tr = tr.expand(2)
    masked = x_t == num_codes
    logits = logits.astype(jnp.float32)
    shifted = logits - jnp.max(logits, axis=-1, keepdims=True)
    j = jnp.where(masked, 0, x_t)[..., None]
    shifted_j = jnp.take_along_axis(shifted, j, axis=-1)[..., 0]
    total, other = normaliser(shifted, x_t, shifted_j)
    log_p = shifted - jnp.log(total)[..., None]
    log_p_j = shifted_j - jnp.log(total)
    rest = tr.one_minus_r + tr.r * other / total
    log_w = jnp.where(masked, 0.0, jnp.log(rest))
    log_scale = jnp.log(jnp.where(masked, tr.h, tr.c))
    generic = log_scale[..., None] + jnp.logaddexp(
        tr.log_alpha_bar[..., None] + log_p, (tr.log_beta_bar + log_w)[..., None]
    )
    keep = jnp.logaddexp(tr.log_f + log_p_j, tr.log_e + log_w)
    if tr.absorbing:
        keep = jnp.zeros_like(keep)
    is_j = jnp.arange(num_codes) == jnp.where(masked, -1, x_t)[..., None]
    codes = jnp.where(is_j, keep[..., None], generic)
    mask = jnp.where(masked, jnp.log(tr.stay), -jnp.inf)
    return jnp.concatenate([codes, mask[..., None]], axis=-1)
