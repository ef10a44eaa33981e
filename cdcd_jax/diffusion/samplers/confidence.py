"""Draws all tokens and keeps the likeliest (Chang et al. 2022, MaskGIT)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax.numpy as jnp

from cdcd_jax.diffusion.samplers.unmasking import Unmasking

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class Confidence(Unmasking):
    """By log p of what was drawn, with noise that falls to 0 with the masked share.

    Attributes:
        order_temperature: of the noise, at the start.
    """

    order_temperature: float = 1.0

    def ranked(
        self,
        log_p: Float[Array, "B L K"],
        tokens: Int[Array, "B L"],
        order: float | Float[Array, "B L"],
        share: float | Float[Array, ""],
    ) -> Float[Array, "B L"]:
        """See `confidence_order`."""
        heat = self.order_temperature * share
        return confidence_order(log_p, tokens, order, heat)


def confidence_order(
    log_p: Float[Array, "B L K"],
    tokens: Int[Array, "B L"],
    gumbel: Float[Array, "B L"],
    temperature: float | Float[Array, ""],
) -> Float[Array, "B L"]:
    """log p of the tokens drawn, and noise (MaskGIT's `mask_by_random_topk`). [B, L].

    Args:
        log_p: [B, L, K].
        tokens: int [B, L], what was drawn.
        gumbel: [B, L].
        temperature: of the noise; it falls to 0 with the masked share.
    """
    chosen = jnp.take_along_axis(log_p, tokens[..., None], axis=-1)[..., 0]
    return chosen + temperature * gumbel
