"""One sampler: from the prior, or from given tokens, back to 0 along a grid of times.

Network-agnostic: it takes a function tokens_to_logits(x_t, t). One `lax.scan`, meant to
stand inside one `jit`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion.schedule import Schedule
from cdcd_jax.diffusion.transition import (
    log_posterior,
    sample_prior,
    sample_x_t,
    transitions,
)

# x_t int32 [B, L], t int32 [] -> logits float [B, L, K]
TokensToLogits = Callable[[jax.Array, jax.Array], jax.Array]

METHODS = ("ancestral", "strided")


class Sample(NamedTuple):
    """What the sampler returns."""

    tokens: jax.Array  # int32 [B, L], codes only
    canvases: jax.Array | None  # int32 [S, B, L] x_s after each step, or None


def time_grid(
    method: str, timesteps: int, steps: int, start: int | None = None
) -> np.ndarray:
    """The times visited, int [S + 1], from the start (T) down to 0.

    Args:
        method: 'ancestral' visits every time, 'strided' `steps` jumps of near equal
            length with the exact posterior between them.
        timesteps: T.
        steps: S. For 'ancestral' it must be the number of times from the start on.
        start: the time to start at, T when None.

    Raises:
        ValueError: unknown method, or more steps than times.
    """
    start = timesteps if start is None else start
    if method not in METHODS:
        raise ValueError(
            f"unknown sampling.method {method!r}: choose one of {', '.join(METHODS)}"
        )
    if not 1 <= start <= timesteps:
        raise ValueError(f"cannot start at time {start}: choose 1..{timesteps}")
    if not 1 <= steps <= start or (method == "ancestral" and steps != start):
        need = f"exactly {start}" if method == "ancestral" else f"1..{start}"
        raise ValueError(
            f"sampling.steps = {steps} does not fit method {method!r} over {start} "
            f"times: choose {need}"
        )
    # half up, so that a grid is the same on every platform
    return np.floor(start * np.arange(steps, -1, -1) / steps + 0.5).astype(np.int64)


def guide(
    logits: jax.Array, null_logits: jax.Array, scale: float | jax.Array
) -> jax.Array:
    """Classifier-free guidance l_null + scale (l - l_null) on log-probabilities.

    (Ho and Salimans 2021; for tokens Tang et al. 2022, eq. 5.) Shapes [..., K].
    """
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    log_null = jax.nn.log_softmax(null_logits.astype(jnp.float32))
    return log_null + scale * (log_p - log_null)


def truncate(logits: jax.Array, top_p: float, top_k: int) -> jax.Array:
    """Rules out the tail of each distribution by -inf.

    Args:
        logits: [..., K].
        top_p: keeps a code while the probability before it, in falling order, is below
            top_p; 1.0 keeps all.
        top_k: keeps the k most likely codes, and those as likely as the k-th; 0 keeps
            all.
    """
    num_codes = logits.shape[-1]
    if 0 < top_k < num_codes:
        kth = jax.lax.top_k(logits, top_k)[0][..., -1:]
        logits = jnp.where(logits < kth, -jnp.inf, logits)
    if top_p < 1.0:
        ordered = jnp.sort(logits, axis=-1, descending=True)
        p = jax.nn.softmax(ordered, axis=-1)
        before = jnp.cumsum(p, axis=-1) - p
        last = jnp.sum(before < top_p, axis=-1, keepdims=True) - 1
        least = jnp.take_along_axis(ordered, jnp.maximum(last, 0), axis=-1)
        logits = jnp.where(logits < least, -jnp.inf, logits)
    return logits


def sample(
    tokens_to_logits: TokensToLogits,
    schedule: Schedule,
    key: jax.Array,
    shape: tuple[int, int],
    *,
    method: str = "strided",
    steps: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    known: tuple[jax.Array, jax.Array] | None = None,
    start: tuple[jax.Array, int] | None = None,
    canvases: bool = False,
) -> Sample:
    """Draws x_0 with the exact posterior between the times of a grid.

    Args:
        tokens_to_logits: of p_theta(x_0 | x_t).
        schedule: noise levels.
        key: random key.
        shape: (B, L).
        method, steps: see `time_grid`.
        temperature: divides the logits.
        top_p, top_k: see `truncate`.
        known: tokens int32 [B, L] and bool [B, L]; where true, the token stands from
            the first step on and is returned unchanged (completion, inpainting).
        start: tokens int32 [B, L] and a time; noised to that time and denoised from
            there (variation) instead of a start from the prior.
        canvases: also return every intermediate x_s.

    Raises:
        ValueError: see `time_grid`.
    """
    key_start, key_steps = jax.random.split(key)
    if start is None:
        times = time_grid(method, schedule.timesteps, steps)
        x = sample_prior(key_start, shape, schedule)
    else:
        times = time_grid(method, schedule.timesteps, steps, start[1])
        x = sample_x_t(key_start, start[0], jnp.full(shape[0], start[1]), schedule)

    def keep_known(tokens: jax.Array) -> jax.Array:
        return tokens if known is None else jnp.where(known[1], known[0], tokens)

    def step(x_t: jax.Array, inputs) -> tuple[jax.Array, jax.Array | None]:
        jump, t, key = inputs
        logits = tokens_to_logits(x_t, t).astype(jnp.float32) / temperature
        log_p = log_posterior(truncate(logits, top_p, top_k), x_t, jump)
        # mode="high": the default's tail is cut at 16 nats
        x_s = jax.random.categorical(key, log_p, mode="high").astype(jnp.int32)
        x_s = keep_known(x_s)
        return x_s, (x_s if canvases else None)

    jumps = jax.tree.map(jnp.asarray, transitions(schedule, times[:-1], times[1:]))
    inputs = (
        jumps,
        jnp.asarray(times[:-1], jnp.int32),
        jax.random.split(key_steps, len(times) - 1),
    )
    tokens, trajectory = jax.lax.scan(step, keep_known(x), inputs)
    return Sample(tokens, trajectory)
