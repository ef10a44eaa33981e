"""Vector quantizers as pure functions: nearest codes, EMA codebooks, Gumbel codes.

A codebook is [K, D]. Gradient codebooks are parameters that `codebook_loss` moves; EMA
codebooks are state that `update_ema` moves, and which revives unused codes. Figures of
how a codebook is used are made from counts of its codes.
"""

import math

import jax
import jax.numpy as jnp
from flax import struct


def nearest_codes(z: jax.Array, codebook: jax.Array) -> jax.Array:
    """Index of the nearest code, the first on ties: [..., D] and [K, D] -> int32 [...].

    Distances are float32 on every platform: a rounded product would choose other
    codes where two are almost as near.
    """
    z, codebook = z.astype(jnp.float32), codebook.astype(jnp.float32)
    product = jnp.dot(z, codebook.T, precision=jax.lax.Precision.HIGHEST)
    # the same order of terms as the reference, ||z||^2 + ||e||^2 - 2 z e
    squares = jnp.sum(z**2, -1, keepdims=True) + jnp.sum(codebook**2, -1)
    return jnp.argmin(squares - 2.0 * product, axis=-1).astype(jnp.int32)


def unit(x: jax.Array) -> jax.Array:
    """Vectors [..., D] at length 1, float32; zeros stay."""
    x = x.astype(jnp.float32)
    # the maximum inside of the root keeps the gradient of zeros finite
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return x / jnp.sqrt(jnp.maximum(square, 1e-24))


def straight_through(z: jax.Array, z_q: jax.Array) -> jax.Array:
    """The value of z_q with the gradient of z."""
    return z + jax.lax.stop_gradient(z_q - z)


def commitment_loss(z: jax.Array, z_q: jax.Array) -> jax.Array:
    """Mean square of z - z_q, which pulls z to its code (van den Oord et al. 2017)."""
    return jnp.mean(jnp.square(z - jax.lax.stop_gradient(z_q)))


def codebook_loss(z: jax.Array, z_q: jax.Array) -> jax.Array:
    """Mean square of z - z_q, which pulls the code to z."""
    return jnp.mean(jnp.square(jax.lax.stop_gradient(z) - z_q))


# -- how a codebook is used ------------------------------------------------------------


def code_counts(codes: jax.Array, num_codes: int) -> jax.Array:
    """How often each code occurs: int [...] in [0, K) -> float32 [K]."""
    return jnp.zeros(num_codes, jnp.float32).at[codes.reshape(-1)].add(1.0)


def usage(counts: jax.Array, at_least: float = 1.0) -> jax.Array:
    """Share of the codes that were counted `at_least` times: [K] -> [] in [0, 1]."""
    return jnp.mean((counts >= at_least).astype(jnp.float32))


def perplexity(counts: jax.Array) -> jax.Array:
    """exp of the entropy of the codes: [K] -> [] in [1, K]; 1 where nothing counted."""
    p = counts / jnp.maximum(jnp.sum(counts), 1e-30)
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(p, p)))


# -- codebooks that follow the data ----------------------------------------------------


@struct.dataclass
class EmaCodebook:
    """A codebook and the moving averages it is the quotient of."""

    codebook: jax.Array  # float32 [K, D]
    sums: jax.Array  # float32 [K, D], of the vectors of each code
    counts: jax.Array  # float32 [K], vectors of each code a step


def init_ema(codebook: jax.Array, expected_count: float = 1.0) -> EmaCodebook:
    """Averages that stand for `expected_count` vectors a code, all equal to it."""
    codebook = jnp.asarray(codebook, jnp.float32)
    counts = jnp.full(len(codebook), expected_count, jnp.float32)
    return EmaCodebook(codebook, expected_count * codebook, counts)


def update_ema(
    state: EmaCodebook,
    z: jax.Array,
    codes: jax.Array,
    key: jax.Array,
    *,
    decay: float,
    revive_below: float,
    order: jax.Array | None = None,
    restart: bool = True,
) -> tuple[EmaCodebook, dict[str, jax.Array]]:
    """One step of Jukebox's rule (Dhariwal et al. 2020; bottleneck.py, update_k).

    Averages move by 1 - decay; codes whose average count is then below `revive_below`
    become random rows of z, with averages of just that many vectors, so that the next
    step does not fall back to the old place. Where z has fewer rows than there are
    codes, it is repeated with a little noise. A code that is never revived and has no
    vectors stays.

    Args:
        state: before the step.
        z: [N, D], all of a step's vectors, over all devices.
        codes: int32 [N], their codes.
        key: of the choice of rows.
        decay: of the averages, in [0, 1).
        revive_below: vectors a step; 0 revives none.
        order: int [N], a permutation instead of a random one.
        restart: whether averages of revived codes begin anew; Jukebox's go on.

    Returns:
        The state after the step, and figures: `usage` (share of the codes with at least
        `revive_below` vectors a step), `perplexity` (of this step's codes) and
        `revived` (how many codes).
    """
    num_codes = len(state.codebook)
    z = jax.lax.stop_gradient(z.astype(jnp.float32))
    now = code_counts(codes, num_codes)
    total = jnp.zeros_like(state.sums).at[codes].add(z)
    sums = decay * state.sums + (1.0 - decay) * total
    counts = decay * state.counts + (1.0 - decay) * now
    # an average that has faded away no longer says where its code is
    known = counts > 1e-6
    mean = sums / jnp.where(known, counts, 1.0)[:, None]
    used = counts >= revive_below
    codebook = jnp.where(known[:, None], mean, state.codebook)
    rows = _random_rows(z, num_codes, key, order)
    codebook = jnp.where(used[:, None], codebook, rows)
    if restart:
        sums = jnp.where(used[:, None], sums, revive_below * rows)
        counts = jnp.where(used, counts, revive_below)
    figures = {
        "usage": jnp.mean(used.astype(jnp.float32)),
        "perplexity": perplexity(now),
        "revived": jnp.sum(~used).astype(jnp.float32),
    }
    return EmaCodebook(codebook, sums, counts), figures


def _random_rows(
    z: jax.Array, number: int, key: jax.Array, order: jax.Array | None
) -> jax.Array:
    """`number` rows of z [N, D], different ones as far as N goes."""
    key, noise_key = jax.random.split(key)
    if len(z) < number:
        z = jnp.tile(z, (math.ceil(number / len(z)), 1))
        noise = jax.random.normal(noise_key, z.shape)
        z = z + 0.01 / math.sqrt(z.shape[-1]) * noise
    if order is None:
        order = jax.random.permutation(key, len(z))
    return z[order[:number]]


# -- Gumbel codes ----------------------------------------------------------------------


def gumbel_codes(
    logits: jax.Array, key: jax.Array | None = None, gumbel: jax.Array | None = None
) -> jax.Array:
    """Codes of logits [..., K]: int32 [...].

    The most likely ones, or with a key a sample of softmax(logits), as the reference
    encodes at all times. `gumbel` [..., K] is noise instead of the key's.
    """
    return jnp.argmax(_noisy(logits, key, gumbel), axis=-1).astype(jnp.int32)


def gumbel_embed(
    logits: jax.Array,
    embed: jax.Array,
    key: jax.Array | None,
    temperature: float | jax.Array,
    hard: bool = True,
    gumbel: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Codes as vectors that pass a gradient to the logits (Jang et al. 2017).

    Args:
        logits: [..., K].
        embed: [K, D].
        key: of the noise; None for none.
        temperature: of the softmax.
        hard: one code a position, with the gradient of the softmax.
        gumbel: [..., K], noise instead of the key's.

    Returns:
        z_q [..., D], and the mean divergence of softmax(logits) from uniform, [] nats.
    """
    logits = logits.astype(jnp.float32)
    weights = jax.nn.softmax(_noisy(logits, key, gumbel) / temperature, axis=-1)
    if hard:
        chosen = jax.nn.one_hot(jnp.argmax(weights, -1), weights.shape[-1])
        weights = straight_through(weights, chosen)
    p = jax.nn.softmax(logits, axis=-1)
    kl = jnp.sum(p * jnp.log(p * logits.shape[-1] + 1e-10), axis=-1)
    precision = jax.lax.Precision.HIGHEST
    return jnp.dot(weights, embed, precision=precision), jnp.mean(kl)


def _noisy(
    logits: jax.Array, key: jax.Array | None, gumbel: jax.Array | None
) -> jax.Array:
    logits = logits.astype(jnp.float32)
    if gumbel is None and key is not None:
        gumbel = jax.random.gumbel(key, logits.shape)
    return logits if gumbel is None else logits + gumbel
