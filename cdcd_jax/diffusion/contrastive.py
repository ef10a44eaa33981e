"""Contrastive objectives: a sample's loss against that of its negatives, and vectors.

The first in the three forms that the paper (Zhu et al., ICLR 2023, section 3), its code
and InfoNCE suggest. d(z) is the diffusion loss of tokens z at one time t under a
condition c, in nats summed over positions: the variational term (level 'step') or
-log p(x_0 = z | x_t, c) (level 'sample'). These functions return one value an example,
in nats a token of the bound, that is T (or 1 / p(t)) times nats over L.

Of vectors that two sides give of the same examples: `symmetric_infonce`, in nats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

FORMS = ("difference", "difference_paper", "infonce")
CRITICS = ("conditional", "ratio")
LEVELS = ("step", "sample")
NEGATIVES = ("intra", "inter", "both")
PATHS = ("shared", "parallel")
MOST_SCALE = 100.0  # of cosines, as in CLIP (Radford et al., ICML 2021)


def _mean_valid(d: jax.Array, valid: jax.Array) -> jax.Array:
    count = jnp.sum(valid, axis=-1)
    return jnp.sum(jnp.where(valid, d, 0.0), axis=-1) / jnp.maximum(count, 1)


def difference(
    d_negative: Float[Array, "B N"],
    valid: Bool[Array, "B N"],
    time_weight: Float[Array, " B"],
    scale: Float[Array, " B"],
) -> Float[Array, " B"]:
    """-w_t mean_j d(z^j): what the reference's code adds to the bound.

    Args:
        d_negative: [B, N] nats, each position bounded (`posterior_kl`'s floor).
        valid: bool [B, N]; a negative that does not exist is left out.
        time_weight: [B], w_t.
        scale: [B], 1 / (p(t) L).

    Returns:
        [B].
    """
    return -time_weight * scale * _mean_valid(d_negative, valid)


def difference_paper(
    d_positive: Float[Array, " B"],
    d_negative: Float[Array, "B N"],
    valid: Bool[Array, "B N"],
    scale: Float[Array, " B"],
) -> Float[Array, " B"]:
    """d(x_0) - C sum_j d(z^j) with C = 1/N: the final form of the paper's section 3.

    Shapes as in `difference`; d_positive is [B].
    """
    return scale * (d_positive - _mean_valid(d_negative, valid))


def infonce(
    d_positive: Float[Array, " B"],
    d_negative: Float[Array, "B N"],
    valid: Bool[Array, "B N"],
    temperature: float,
    timesteps: int,
    length: int,
    importance: Float[Array, " B"],
) -> Float[Array, " B"]:
    """Cross-entropy of picking x_0 among {x_0, z^1..z^N} by exp(-d / temperature).

    d is scaled by T / L, so that the temperature (nats a token) does not depend on the
    length; the importance weight stays outside of the logarithm. Bounded below by 0.

    Args:
        d_positive: [B] nats.
        d_negative: [B, N] nats.
        valid: bool [B, N].
        temperature: tau > 0.
        timesteps: T.
        length: L.
        importance: [B], 1 / (T p(t)).

    Returns:
        [B].
    """
    d = jnp.concatenate([d_positive[:, None], d_negative], axis=-1)
    exists = jnp.concatenate([jnp.ones_like(valid[:, :1]), valid], axis=-1)
    advantage = (d_positive[:, None] - d) * (timesteps / length / temperature)
    return importance * jax.nn.logsumexp(
        jnp.where(exists, advantage, -jnp.inf), axis=-1
    )


def nce_accuracy(
    d_positive: Float[Array, " B"],
    d_negative: Float[Array, "B N"],
    valid: Bool[Array, "B N"],
) -> Float[Array, ""]:
    """Share of examples whose own tokens score strictly better than all negatives.

    Examples without a valid negative do not count; nan when there is none at all.
    """
    best = jnp.min(jnp.where(valid, d_negative, jnp.inf), axis=-1)
    counts = jnp.any(valid, axis=-1)
    wins = jnp.where(counts, d_positive < best, False)
    return jnp.sum(wins) / jnp.sum(counts)


def bounded_scale(free: Float[Array, ""]) -> Float[Array, ""]:
    """What cosines are multiplied by, in [1, `MOST_SCALE`], of any number that learns.

    Its logarithm is ln(MOST_SCALE) / (1 + exp(-free)): no gradient ends at a bound, and
    0 gives 10.
    """
    return jnp.exp(jnp.log(MOST_SCALE) * jax.nn.sigmoid(free))


def symmetric_infonce(
    a: Float[Array, "B D"],
    b: Float[Array, "B D"],
    scale: Float[Array, ""] | float,
    same: Bool[Array, "B B"] | None = None,
) -> Float[Array, " B"]:
    """Cross-entropy of finding an example's other side among all, mean of both ways.

    l_ij = scale a_i.b_j; the loss is -log softmax_j(l_ij)_i / 2 - log softmax_j(l_ji)_i
    / 2. Bounded below by 0; log B where the sides have nothing in common.

    Args:
        a, b: [B, D] of length 1, row i of both of example i.
        scale: of the cosines, one over the temperature.
        same: bool [B, B], true where i and j say the same, so that neither is a
            negative of the other; each example's own other side counts anyway. It is
            symmetric.

    Returns:
        [B].
    """
    logits = scale * (a @ b.T)
    own = jnp.diagonal(logits)
    if same is not None:
        left_out = same & ~jnp.eye(len(a), dtype=bool)
        logits = jnp.where(left_out, -jnp.inf, logits)
    total = jax.nn.logsumexp(logits, axis=1) + jax.nn.logsumexp(logits, axis=0)
    return total / 2 - own
