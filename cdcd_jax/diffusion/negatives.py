"""Negatives made on the device from the batch itself, without a collective.

Intra: the same sample with its order destroyed, chunks of time or 2-D patches permuted.
Inter: other samples of the same group of consecutive examples whose condition differs.
A group never crosses a shard or a microbatch, so that losses do not depend on the
number of devices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Int, PRNGKeyArray, Shaped


def chunk_layout(
    grid: tuple[int, int], chunks: tuple[int, int]
) -> Int[np.ndarray, "C size"]:
    """Positions of each chunk of a token grid.

    Args:
        grid: (H, W); (1, L) for music.
        chunks: pieces along each axis; (1, 8) cuts time in 8.

    Returns:
        int [C, H/ch * W/cw]: row c holds the positions of chunk c, row-major. Along an
        axis of length 1 of a (1, L) grid, trailing positions that do not fill a chunk
        are left out and stay in place.

    Raises:
        ValueError: a 2-D grid that the chunks do not divide, or fewer than 2 chunks.
    """
    (height, width), (rows, columns) = grid, chunks
    trailing = width % columns if height == 1 else 0
    fits = height % rows == 0 and (width - trailing) % columns == 0
    if not fits or rows * columns < 2 or trailing == width:
        raise ValueError(
            f"contrastive.chunks = {chunks} does not cut a grid of {grid} into two or "
            "more equal pieces: choose divisors of the grid"
        )
    index = np.arange(height * width).reshape(height, width)[:, : width - trailing]
    h, w = height // rows, (width - trailing) // columns
    pieces = index.reshape(rows, h, columns, w).transpose(0, 2, 1, 3)
    return pieces.reshape(rows * columns, h * w)


def intra(
    key: PRNGKeyArray,
    tokens: Int[Array, "B L"],
    num_negatives: int,
    grid: tuple[int, int],
    chunks: tuple[int, int],
) -> Int[Array, "B N L"]:
    """The sample with its chunks permuted, anew for every example and negative.

    The identity is never drawn: where a permutation comes out as the identity, the
    chunks are rotated by one place instead.

    Args:
        tokens: int32 [B, L] with L = H W.

    Returns:
        int32 [B, N, L].
    """
    layout = chunk_layout(grid, chunks)
    number, size = layout.shape
    batch, length = tokens.shape
    noise = jax.random.uniform(key, (batch, num_negatives, number))
    order = jnp.argsort(noise, axis=-1)
    same = jnp.all(order == jnp.arange(number), axis=-1, keepdims=True)
    order = jnp.where(same, jnp.roll(order, 1, axis=-1), order)
    source = jnp.asarray(layout)[order]  # [B, N, C, size]
    index = jnp.broadcast_to(jnp.arange(length), (batch, num_negatives, length))
    index = index.at[..., layout.reshape(-1)].set(
        source.reshape(batch, num_negatives, number * size)
    )
    return jnp.take_along_axis(tokens[:, None, :], index, axis=-1)


def check_group(group: int, batch: int, num_negatives: int) -> None:
    """Raises ValueError where `inter` cannot find negatives in groups of that size."""
    if group < 1 or batch % group or group <= num_negatives:
        raise ValueError(
            f"contrastive.group = {group} must divide the (micro)batch of {batch} "
            f"examples and exceed contrastive.num_negatives = {num_negatives}"
        )


def inter(
    key: PRNGKeyArray,
    tokens: Int[Array, "B L"],
    identity: Shaped[Array, "B ..."],
    num_negatives: int,
    group: int,
) -> tuple[Int[Array, "B N L"], Bool[Array, "B N"]]:
    """Other examples of the same group with another condition, without repetition.

    Args:
        tokens: int32 [B, L].
        identity: [B, ...] the condition that must differ (a label, a caption's tokens).
        num_negatives: N, below `group`.
        group: examples a group; divides B.

    Returns:
        int32 [B, N, L], and bool [B, N]: False where the group holds too few examples
        of another condition; such an entry must not be used.

    Raises:
        ValueError: the group does not divide the batch or is too small.
    """
    batch, length = tokens.shape
    check_group(group, batch, num_negatives)
    flat = identity.reshape(batch // group, group, -1)
    other = jnp.any(flat[:, :, None] != flat[:, None, :], axis=-1)  # [G, g, g]
    noise = jax.random.uniform(key, other.shape)
    # sorted, since the partitioner would gather the operand of a top-k
    noise = jnp.where(other, noise, -1.0)
    index = jnp.argsort(noise, axis=-1, descending=True)[..., :num_negatives]
    rank = jnp.take_along_axis(noise, index, axis=-1)
    grouped = tokens.reshape(batch // group, group, length)
    picked = jax.vmap(lambda rows, i: rows[i])(grouped, index)
    return (
        picked.reshape(batch, num_negatives, length),
        (rank >= 0).reshape(batch, num_negatives),
    )
