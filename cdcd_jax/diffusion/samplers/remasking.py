"""The posterior of a chain that masks tokens again (Wang et al. 2025, ReMDM)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp

from cdcd_jax.diffusion.samplers.base import (
    Canvas,
    Noise,
    Sampler,
    Step,
    draw_positions,
)

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class Remasking(Sampler):
    """Each position by itself from `remasking_law`.

    Attributes:
        remask: strength, 0 to 1.
    """

    by_masks: ClassVar[bool] = True
    remask: float = 0.1

    def advance(
        self, log_p: Float[Array, "B L K"], canvas: Canvas, step: Step, noise: Noise
    ) -> Int[Array, "B L"]:
        """See `Sampler.advance`."""
        shares = step.share_t, step.share_s
        law = remasking_law(log_p, canvas.tokens, *shares, self.remask)
        return draw_positions(law, noise)


def remasking_law(
    log_p: Float[Array, "B L K"],
    x_t: Int[Array, "B L"],
    share_t: float | Float[Array, ""],
    share_s: float | Float[Array, ""],
    strength: float,
) -> Float[Array, "B L K+1"]:
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
