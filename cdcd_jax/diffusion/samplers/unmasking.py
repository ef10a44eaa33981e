"""Samplers that unmask tokens in an order, for schedules that mask.

A share of the masked tokens is drawn at once from p_theta(x_0 | x_t) and then stands;
which, is what such a sampler says. Here it is chance (Tang et al. 2022, Improved
VQ-Diffusion, rule 1).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import jax.numpy as jnp

from cdcd_jax.diffusion.samplers.base import Canvas, Noise, Sampler, Step

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


class Unmasking(Sampler):
    """A fixed number of tokens a step, those of highest order first."""

    by_masks: ClassVar[bool] = True

    def sharpened(self, log_p: Float[Array, "B L K"]) -> Float[Array, "B L K"]:
        """The law that tokens are drawn from, [B, L, K], not normalised."""
        return log_p

    def ranked(
        self,
        log_p: Float[Array, "B L K"],
        tokens: Int[Array, "B L"],
        order: float | Float[Array, "B L"],
        share: float | Float[Array, ""],
    ) -> Float[Array, "B L"]:
        """The order of this step, [B, L].

        Args:
            log_p: [B, L, K], as predicted.
            tokens: int32 [B, L], what was drawn.
            order: [B, L], that of the whole way, or else Gumbel noise.
            share: masked share at t.
        """
        del log_p, tokens, share
        return order

    def advance(
        self, log_p: Float[Array, "B L K"], canvas: Canvas, step: Step, noise: Noise
    ) -> Int[Array, "B L"]:
        """See `Sampler.advance`."""
        masked = canvas.tokens == log_p.shape[-1]
        number = jnp.sum(masked, axis=-1) - remaining(canvas.at_start, step.left)
        if canvas.order is not None:
            noise = noise._replace(order=canvas.order)
        return self.unmask(log_p, canvas.tokens, noise, number, step.share_t)

    def unmask(
        self,
        log_p: Float[Array, "B L K"],
        x_t: Int[Array, "B L"],
        noise: Noise,
        number: Int[Array, " B"],
        share: float | Float[Array, ""],
    ) -> Int[Array, "B L"]:
        """x_s int32 [B, L], with `number` tokens more.

        Args:
            log_p: [B, L, K], log p_theta(x_0 | x_t), -inf where truncated.
            x_t: int32 [B, L].
            noise: of this step; `order` says the order where that is random.
            number: int32 [B], tokens to unmask.
            share: masked share at t.
        """
        num_codes = log_p.shape[-1]
        law = self.sharpened(log_p) + noise.tokens[..., :num_codes]
        tokens = jnp.argmax(law, axis=-1).astype(jnp.int32)
        order = self.ranked(log_p, tokens, noise.order, share)
        return reveal(x_t, tokens, order, number, num_codes)


@dataclasses.dataclass(frozen=True)
class Random(Unmasking):
    """Any of the masked tokens."""


def remaining(
    masked_at_start: Int[Array, " B"], share: float | Float[Array, ""]
) -> Int[Array, " B"]:
    """How many tokens a row leaves masked at a share of its start: int32 [B]."""
    return jnp.floor(masked_at_start * share + 0.5).astype(jnp.int32)


def reveal(
    x_t: Int[Array, "B L"],
    tokens: Int[Array, "B L"],
    order: Float[Array, "B L"],
    number: Int[Array, " B"],
    num_codes: int,
) -> Int[Array, "B L"]:
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
