"""Steps that unmask tokens in an order, for schedules that mask.

A share of the masked tokens is drawn at once from p_theta(x_0 | x_t) and then stands.
The rules say which: at random, far from each other (Besnier et al. 2025, Halton
scheduler), by purity (Tang et al. 2022, Improved VQ-Diffusion), by confidence (Chang et
al. 2022, MaskGIT), or in the order in which a chain in continuous time hits them (Zheng
et al. 2024, first-hitting). `remasking_law` (Wang et al. 2025, ReMDM) masks some again.
All are functions of arrays: noise comes from outside.
"""

import jax
import jax.numpy as jnp
import numpy as np


def spread_ranks(layout: tuple[int, int]) -> np.ndarray:
    """When each token comes, int [H * W], if any few in a row are to be far apart.

    Cells in the order in which a Halton sequence (bases 2 and 3; of a single row, 2)
    first falls into them: what is drawn at once then hangs together the least.

    Args:
        layout: (H, W) of the tokens; (1, L) of sound.
    """
    height, width = layout
    ranks, found, i = np.full(height * width, -1), 0, 0
    while found < len(ranks):
        row, column = int(_radical(i, 3) * height), int(_radical(i, 2) * width)
        if ranks[row * width + column] < 0:
            ranks[row * width + column] = found
            found += 1
        i += 1
    return ranks


def _radical(i: int, base: int) -> float:
    """The digits of i in a base, mirrored at the point: in [0, 1)."""
    value, scale = 0.0, 1.0
    while i:
        scale /= base
        i, digit = divmod(i, base)
        value += digit * scale
    return value


def spread_order(key: jax.Array, batch: int, layout: tuple[int, int]) -> jax.Array:
    """`spread_ranks` from another cell on in each row, as an order: [B, L]."""
    height, width = layout
    order = -jnp.asarray(spread_ranks(layout), jnp.float32).reshape(layout)
    key_down, key_right = jax.random.split(key)
    down = jax.random.randint(key_down, (batch,), 0, height)
    right = jax.random.randint(key_right, (batch,), 0, width)
    rolled = jax.vmap(lambda d, r: jnp.roll(order, (d, r), (0, 1)))(down, right)
    return rolled.reshape(batch, height * width)


def purity(log_p: jax.Array) -> jax.Array:
    """max_k p(x_0 = k | x_t), relative to the row's largest: [B, L, K] -> [B, L].

    (Improved VQ-Diffusion, section 4.2.)
    """
    score = jnp.exp(jnp.max(log_p, axis=-1))
    return score / (jnp.max(score, axis=-1, keepdims=True) + 1e-10)


def purity_order(score: jax.Array, gumbel: jax.Array) -> jax.Array:
    """Without replacement, in proportion to the purity (rule 2). [B, L]."""
    return jnp.log(score) + gumbel


def sharpen(log_p: jax.Array, score: jax.Array, weight: float) -> jax.Array:
    """p^(1 + weight * score), not normalised (Improved VQ-Diffusion, eq. 11)."""
    return (1.0 + weight * score[..., None]) * log_p


def confidence_order(
    log_p: jax.Array, tokens: jax.Array, gumbel: jax.Array, temperature: jax.Array
) -> jax.Array:
    """log p of the tokens drawn, and noise (MaskGIT's `mask_by_random_topk`). [B, L].

    Args:
        log_p: [B, L, K].
        tokens: int [B, L], what was drawn.
        gumbel: [B, L].
        temperature: of the noise; it falls to 0 with the masked share.
    """
    chosen = jnp.take_along_axis(log_p, tokens[..., None], axis=-1)[..., 0]
    return chosen + temperature * gumbel


def remaining(masked_at_start: jax.Array, share: jax.Array) -> jax.Array:
    """How many tokens a row leaves masked at a share of its start: int32 [B]."""
    return jnp.floor(masked_at_start * share + 0.5).astype(jnp.int32)


def reveal(
    x_t: jax.Array,
    tokens: jax.Array,
    order: jax.Array,
    number: jax.Array,
    num_codes: int,
) -> jax.Array:
    """Puts `tokens` where x_t is masked, at the `number` positions of highest order.

    Args:
        x_t, tokens: int32 [B, L].
        order: [B, L].
        number: int32 [B].
        num_codes: K, the mask token.
    """
    masked = x_t == num_codes
    rank = jnp.argsort(jnp.argsort(-jnp.where(masked, order, -jnp.inf), axis=-1))
    return jnp.where(masked & (rank < number[:, None]), tokens, x_t)


def hitting_times(
    hit: jax.Array, masked: jax.Array, share: jax.Array, start: jax.Array
) -> jax.Array:
    """The time at which the next token of a row is hit, int32 [B].

    Going backward from the start, a position of a row is unmasked when the masked
    share falls below `hit` times that of the start, with `hit` uniform: so the chain in
    continuous time does it. The time is rounded up to one of the schedule.

    Args:
        hit: [B, L] in [0, 1).
        masked: bool [B, L].
        share: masked share of t = 0..T, rising, [T + 1].
        start: the share at the start.
    """
    following = jnp.max(jnp.where(masked, hit, 0.0), axis=-1) * start
    times = jnp.searchsorted(share, following, side="left")
    return jnp.clip(times, 1, len(share) - 1).astype(jnp.int32)


def remasking_law(
    log_p: jax.Array,
    x_t: jax.Array,
    share_t: jax.Array,
    share_s: jax.Array,
    strength: float,
) -> jax.Array:
    """log p(x_s | x_t) of a chain that masks tokens again, float32 [B, L, K + 1].

    (ReMDM, eq. 5, with sigma_t = strength * sigma_max: 'rescale'.) The law of x_s given
    x_0 is that of the forward chain at any strength; 0 is the ordinary posterior.

    Args:
        log_p: [B, L, K], log p_theta(x_0 | x_t).
        x_t: int32 [B, L].
        share_t, share_s: masked shares at t and s.
        strength: from 0 to 1.
    """
    num_codes = log_p.shape[-1]
    kept_t, kept_s = 1.0 - share_t, 1.0 - share_s  # alpha_t, alpha_s of the paper
    most = jnp.where(kept_t > 0, share_s / jnp.where(kept_t > 0, kept_t, 1.0), 1.0)
    sigma = strength * jnp.minimum(1.0, most)
    shown = (kept_s - (1.0 - sigma) * kept_t) / share_t
    hidden = (share_s - sigma * kept_t) / share_t
    is_x_t = jnp.arange(num_codes + 1) == x_t[..., None]
    stays = jnp.where(is_x_t, jnp.log(1.0 - sigma), -jnp.inf)
    stays = stays.at[..., -1].set(jnp.log(sigma))
    log_p = jax.nn.log_softmax(log_p)
    hidden = jnp.broadcast_to(jnp.log(jnp.maximum(hidden, 0.0)), x_t.shape)
    drawn = jnp.concatenate([jnp.log(shown) + log_p, hidden[..., None]], axis=-1)
    return jnp.where((x_t == num_codes)[..., None], drawn, stays)
