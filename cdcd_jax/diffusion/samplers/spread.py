"""Tokens far from each other first (Besnier et al. 2025, Halton scheduler)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion.samplers.unmasking import Unmasking

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray


@dataclasses.dataclass(frozen=True)
class Spread(Unmasking):
    """Along a Halton sequence, from another cell on in each row."""

    def order(
        self, key: PRNGKeyArray, shape: tuple[int, int], layout: tuple[int, int]
    ) -> Float[Array, "rows L"]:
        """See `spread_order`."""
        return spread_order(key, shape[0], layout)


def spread_ranks(layout: tuple[int, int]) -> Int[np.ndarray, " L"]:
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


def spread_order(
    key: PRNGKeyArray, batch: int, layout: tuple[int, int]
) -> Float[Array, "B L"]:
    """`spread_ranks` from another cell on in each row, as an order: [B, L]."""
    height, width = layout
    order = -jnp.asarray(spread_ranks(layout), jnp.float32).reshape(layout)
    key_down, key_right = jax.random.split(key)
    down = jax.random.randint(key_down, (batch,), 0, height)
    right = jax.random.randint(key_right, (batch,), 0, width)
    rolled = jax.vmap(lambda d, r: jnp.roll(order, (d, r), (0, 1)))(down, right)
    return rolled.reshape(batch, height * width)
