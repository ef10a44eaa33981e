"""The surest positions first, drawn in proportion to their purity.

(Tang et al. 2022, Improved VQ-Diffusion, rule 2.)
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax.numpy as jnp

from cdcd_jax.diffusion.samplers.unmasking import Unmasking

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class Purity(Unmasking):
    """By max_k p(x_0 = k | x_t), which also sharpens what is drawn.

    Attributes:
        purity_weight: r; sharpens p to the power 1 + r * purity.
    """

    purity_weight: float = 0.0

    def sharpened(self, log_p: Float[Array, "B L K"]) -> Float[Array, "B L K"]:
        """See `sharpen`."""
        return sharpen(log_p, purity(log_p), self.purity_weight)

    def ranked(
        self,
        log_p: Float[Array, "B L K"],
        tokens: Int[Array, "B L"],
        order: float | Float[Array, "B L"],
        share: float | Float[Array, ""],
    ) -> Float[Array, "B L"]:
        """See `purity_order`."""
        del tokens, share
        return purity_order(purity(log_p), order)


def purity(log_p: Float[Array, "B L K"]) -> Float[Array, "B L"]:
    """max_k p(x_0 = k | x_t), relative to the row's largest: [B, L, K] -> [B, L].

    (Improved VQ-Diffusion, section 4.2.)
    """
    score = jnp.exp(jnp.max(log_p, axis=-1))
    return score / (jnp.max(score, axis=-1, keepdims=True) + 1e-10)


def purity_order(
    score: Float[Array, "B L"], gumbel: float | Float[Array, "B L"]
) -> Float[Array, "B L"]:
    """Without replacement, in proportion to the purity (rule 2). [B, L]."""
    return jnp.log(score) + gumbel


def sharpen(
    log_p: Float[Array, "B L K"], score: Float[Array, "B L"], weight: float
) -> Float[Array, "B L K"]:
    """p^(1 + weight * score), not normalised (Improved VQ-Diffusion, eq. 11)."""
    return (1.0 + weight * score[..., None]) * log_p
