"""The variational bound in closed form, the auxiliary term, and the choice of t.

KL(q(x_s | x_t, z) || p_theta(x_s | x_t)) of a position takes at most three distinct
values of q: at z, at x_t, and one for all other codes. With the letters of
`transition.py` and l(k) = log(A p(k) + b w) it is

    x_t = M:           h G(z)
    x_t = j, z != j:   c (G(z) + b l'(j)) + e (log e - log P_j)
    x_t = j, z = j:    q_j (log q_j - log P_j)
                         + c b (1 - r) ((K - 1) log(1 - r) - (V - l'(j)))
    G(z) = (A + b) (log(A + b) - l(z)) - b (V - l'(z))
    l' = l - log b,    V = sum_k l'(k),    P_j = f p(j) + e w,    q_j = f + e (1 - r)

V is the only sum over the vocabulary and does not depend on z, so that a further z (a
negative) costs a gather. At s = 0 the same formula is the decoder term -log p(z), and
with b = 0 an unmasked position gives 0 (Austin et al. 2021, eq. 1-3; Gu et al. 2022,
eq. 8-11, derived anew).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from cdcd_jax.diffusion.transition import Transition, normaliser

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray


class Scores(NamedTuple):
    """All that a loss needs of the logits at N candidates z per position."""

    log_p: jax.Array  # [B, L, N] log p_theta(x_0 = z | x_t)
    log_p_x_t: jax.Array  # [B, L] log p_theta(x_0 = x_t | x_t); 0 where masked
    rest: jax.Array  # [B, L] w; 1 where masked
    vocab_sum: jax.Array | None  # [B, L] V; None when the schedule is absorbing


@jax.checkpoint
def scores(
    logits: Float[Array, "B L K"],
    x_t: Int[Array, "B L"],
    candidates: Int[Array, "B L N"],
    tr: Transition,
) -> Scores:
    """Reduces logits over the vocabulary; the one place that reads all of them.

    Recomputed in the backward pass, so that nothing of size B x L x K but the logits is
    kept.

    Args:
        logits: float [B, L, K], finite.
        x_t: int32 [B, L], M = K where masked.
        candidates: int32 [B, L, N], codes 0..K - 1.
        tr: arrays [B].
    """
    num_codes = logits.shape[-1]
    tr = tr.expand(2)
    masked = x_t == num_codes
    logits = logits.astype(jnp.float32)
    shift = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    index = jnp.concatenate([jnp.where(masked, 0, x_t)[..., None], candidates], axis=-1)
    picked = jnp.take_along_axis(logits, index, axis=-1) - shift
    total, other = normaliser(logits - shift, x_t, picked[..., 0])
    log_p = picked - jnp.log(total)[..., None]
    rest = jnp.where(masked, 1.0, tr.one_minus_r + tr.r * other / total)
    vocab_sum = None
    if not tr.absorbing:
        p = jnp.exp(logits - shift - jnp.log(total)[..., None])
        vocab_sum = jnp.sum(jnp.log(rest[..., None] + tr.ratio[..., None] * p), axis=-1)
    log_p_x_t = jnp.where(masked, 0.0, log_p[..., 0])
    return Scores(log_p[..., 1:], log_p_x_t, rest, vocab_sum)


def scores_of_features(
    head: Callable[[jax.Array], jax.Array],
    features: Float[Array, "B L D"],
    x_t: Int[Array, "B L"],
    candidates: Int[Array, "B L N"],
    tr: Transition,
    chunk: int = 0,
) -> Scores:
    """`scores` of head(features), `chunk` tokens of every sequence at a time.

    The logits of a chunk are gone before those of the next are made, and are made again
    in the backward pass: nothing of size B x L x K is ever held.

    Args:
        head: features [B, l, D] -> logits [B, l, K] for any l.
        features: [B, L, D].
        x_t, candidates, tr: see `scores`.
        chunk: 0 takes all tokens at once. It need not divide L.
    """
    length = features.shape[1]
    if not 0 < chunk < length:
        return scores(head(features), x_t, candidates, tr)
    number = -(-length // chunk)

    def split(a: jax.Array) -> jax.Array:
        """[B, L, ...] -> [n, B, chunk, ...], filled up with zeros."""
        fill = [(0, 0)] * a.ndim
        fill[1] = (0, number * chunk - length)
        a = jnp.pad(a, fill)
        return jnp.moveaxis(a.reshape(a.shape[0], number, chunk, *a.shape[2:]), 1, 0)

    def merge(a: jax.Array) -> jax.Array:
        a = jnp.moveaxis(a, 0, 1)
        return a.reshape(a.shape[0], number * chunk, *a.shape[3:])[:, :length]

    @jax.checkpoint
    def body(_, part):
        features, x_t, candidates = part
        return None, scores(head(features), x_t, candidates, tr)

    parts = jax.tree.map(split, (features, x_t, candidates))
    return jax.tree.map(merge, jax.lax.scan(body, None, parts)[1])


def posterior_kl(
    z: Int[Array, "B L N"],
    x_t: Int[Array, "B L"],
    score: Scores,
    tr: Transition,
    num_codes: int,
    floor: float | Float[Array, ""] | None = None,
) -> Float[Array, "B L N"]:
    """KL(q(x_s | x_t, x_0 = z) || p_theta(x_s | x_t)) in nats, one per z.

    Args:
        z: int32 [B, L, N].
        x_t: int32 [B, L].
        score: of the candidates z.
        tr: arrays [B].
        num_codes: K.
        floor: log p_theta(x_s = z) and log p_theta(x_s = x_t) count as at least -floor
            nats. Without it a z that the model rules out has an unbounded KL.

    Returns:
        float32 [B, L, N].
    """
    tr = tr.expand(3)
    x_t = x_t[..., None]
    masked = x_t == num_codes
    log_p_j = score.log_p_x_t[..., None]

    def bounded(log_probability: jax.Array, log_scale: jax.Array) -> jax.Array:
        if floor is None:
            return log_probability
        return jnp.maximum(log_probability, -floor - log_scale)

    if tr.absorbing:
        log_p = bounded(score.log_p + tr.log_alpha_bar, jnp.log(tr.h))
        return jnp.where(masked, tr.h * tr.alpha_bar * (tr.log_alpha_bar - log_p), 0.0)
    log_w = jnp.log(score.rest)[..., None]
    log_rest = tr.log_beta_bar + log_w
    scale = jnp.where(masked, tr.h, tr.c)
    l_z = jnp.logaddexp(tr.log_alpha_bar + score.log_p, log_rest)
    l_j = jnp.logaddexp(tr.log_alpha_bar + log_p_j, log_rest)
    log_b = jnp.where(tr.beta_bar > 0, tr.log_beta_bar, 0.0)
    log_keep_j = bounded(jnp.logaddexp(tr.log_f + log_p_j, tr.log_e + log_w), 0.0)

    code = tr.alpha_bar + tr.beta_bar
    rest = score.vocab_sum[..., None] - jnp.where(masked, 0.0, l_j - log_b)
    other = scale * (
        code * (jnp.log(code) - bounded(l_z, jnp.log(scale)))
        - tr.beta_bar * (rest - (l_z - log_b))
    ) + jnp.where(masked, 0.0, tr.e_log_e - tr.e * log_keep_j)
    same = tr.q_keep * (jnp.log(tr.q_keep) - log_keep_j) + tr.c * tr.beta_bar * (
        tr.one_minus_r
    ) * ((num_codes - 1) * jnp.log(tr.one_minus_r) - rest)
    return jnp.where(z == x_t, same, other)


def position_weights(
    x_t: Int[Array, "B L"],
    t: Int[Array, " B"],
    num_codes: int,
    mask_weight: tuple[float, float],
) -> Float[Array, "B L"]:
    """Weights [B, L] of masked and unmasked positions; 1 at t = 1 (decoder term)."""
    masked_weight, unmasked_weight = mask_weight
    weight = jnp.where(x_t == num_codes, masked_weight, unmasked_weight)
    return jnp.where(t[:, None] == 1, 1.0, weight)


# how `sample_times` draws
TIME_SAMPLING = ("uniform", "stratified", "importance")
# name -> weight at a share of time
RAMPS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "falling": lambda share: 2.0 - share,
    "rising": lambda share: 1.0 + share,
    "none": jnp.ones_like,
}


def ramp(t: Int[Array, " B"], timesteps: int, kind: str) -> Float[Array, " B"]:
    """Weight of a term over time, [B], with t' = t - 1 as the reference counts.

    'falling' 2 - t'/T (its images' auxiliary term), 'rising' 1 + t'/T (its music's
    auxiliary term and all of its contrastive terms), 'none' 1.
    """
    if kind not in RAMPS:
        raise ValueError(f"unknown ramp {kind!r}: choose one of {', '.join(RAMPS)}")
    return RAMPS[kind]((t - 1) / timesteps)


class TimeHistory(NamedTuple):
    """What importance sampling of t has seen. Entry t - 1 belongs to t."""

    second_moment: jax.Array  # [T] running E[L_t^2], nats^2
    count: jax.Array  # [T] examples seen


def init_time_history(timesteps: int) -> TimeHistory:
    """Nothing seen."""
    return TimeHistory(jnp.zeros(timesteps), jnp.zeros(timesteps))


def time_probabilities(history: TimeHistory) -> Float[Array, " T"]:
    """p(t), [T]: sqrt(E[L_t^2]) once every t was seen more than 10 times, else uniform.

    (Nichol and Dhariwal 2021, section 3.3; the constants are VQ-Diffusion's, which also
    gives t = 1 the weight of t = 2.)
    """
    timesteps = history.count.shape[0]
    weight = jnp.sqrt(history.second_moment + 1e-10) + 1e-4
    if timesteps > 1:
        weight = weight.at[0].set(weight[1])
    uniform = jnp.full(timesteps, 1.0 / timesteps)
    warm = jnp.all(history.count > 10)
    return jnp.where(warm, weight / jnp.sum(weight), uniform)


def update_time_history(
    history: TimeHistory, t: Int[Array, " B"], bound: Float[Array, " B"]
) -> TimeHistory:
    """Blends the batch's mean of L_t^2 into each t that occurs, with rate 0.1.

    Args:
        t: int32 [B].
        bound: [B] nats, summed over positions, not divided by p(t).
    """
    timesteps = history.count.shape[0]
    seen = jnp.zeros(timesteps).at[t - 1].add(1.0)
    total = jnp.zeros(timesteps).at[t - 1].add(bound**2)
    mean = total / jnp.maximum(seen, 1.0)
    moment = jnp.where(
        seen > 0, 0.9 * history.second_moment + 0.1 * mean, history.second_moment
    )
    return TimeHistory(moment, history.count + seen)


def stratified_times(key: PRNGKeyArray, batch: int, timesteps: int) -> Int[Array, " B"]:
    """Draws t int32 [B] in 1..T, one in each of B equal parts, each t as likely."""
    key_offset, key_order = jax.random.split(key)
    offset = (jax.random.uniform(key_offset) + jnp.arange(batch)) / batch
    # a float32 below 1 times T can round up to T
    t = 1 + jnp.minimum(jnp.floor(offset * timesteps), timesteps - 1)
    # apart from the row, so that neighbours (a group of negatives) differ in t
    return jax.random.permutation(key_order, t).astype(jnp.int32)


def sample_times(
    key: PRNGKeyArray, batch: int, history: TimeHistory, method: str
) -> tuple[Int[Array, " B"], Float[Array, " B"]]:
    """Draws t for a batch.

    Args:
        key: random key.
        batch: B.
        history: gives T, and p(t) for 'importance'.
        method: 'uniform'; 'stratified' (one draw in each of B equal parts of 1..T, each
            t still uniform: Kingma et al. 2021, appendix I.1); or 'importance'.

    Returns:
        t int32 [B] in 1..T, and its probability p(t) [B].
    """
    timesteps = history.count.shape[0]
    if method == "importance":
        p = time_probabilities(history)
        t = jax.random.categorical(key, jnp.log(p), shape=(batch,))
        return (t + 1).astype(jnp.int32), p[t]
    if method == "uniform":
        t = jax.random.randint(key, (batch,), 1, timesteps + 1)
    elif method == "stratified":
        t = stratified_times(key, batch, timesteps)
    else:
        raise ValueError(
            f"unknown diffusion.time_sampling {method!r}: choose one of "
            f"{', '.join(TIME_SAMPLING)}"
        )
    return t.astype(jnp.int32), jnp.full(batch, 1.0 / timesteps)
