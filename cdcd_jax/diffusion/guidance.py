"""What is made of logits before a token is drawn: guidance, truncation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from cdcd_jax.diffusion import grids
from cdcd_jax.diffusion.samplers.options import SamplingOptions
from cdcd_jax.diffusion.schedule import Schedule

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

# `sampling.guidance_schedule` -> how much of the guidance there is at a masked share
GUIDANCE: dict[str, Callable[[jax.Array], jax.Array]] = {
    "constant": jnp.ones_like,
    "rising": lambda share: 1.0 - share,
    "falling": lambda share: share,
}


def guide(
    logits: Float[Array, "*B K"],
    null_logits: Float[Array, "*B K"],
    scale: float | Float[Array, "..."],
) -> Float[Array, "*B K"]:
    """Classifier-free guidance l_null + scale (l - l_null) on log-probabilities.

    (Ho and Salimans 2021; for tokens Tang et al. 2022, eq. 5.) Shapes [..., K].
    """
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    log_null = jax.nn.log_softmax(null_logits.astype(jnp.float32))
    return log_null + scale * (log_p - log_null)


def guidance_at(
    options: SamplingOptions, schedule: Schedule, t: Int[Array, "*B"]
) -> Float[Array, "*B"]:
    """The guidance scale at time t, in the shape of t."""
    share = jnp.asarray(grids.progress(schedule), jnp.float32)[t]
    weight = GUIDANCE[options.guidance_schedule](share)
    return 1.0 + (options.guidance_scale - 1.0) * weight


def truncate(
    logits: Float[Array, "*B K"], top_p: float, top_k: int
) -> Float[Array, "*B K"]:
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
