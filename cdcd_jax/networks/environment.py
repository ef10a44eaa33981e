"""What a denoiser shows of its state to those that draw beside it (CoDi's V).

An encoder of the noisy tokens and their time gives a few vectors of length 1, the
slots, to which the denoisers of other modalities attend (Tang et al., NeurIPS 2023,
section 3.4). The slots of all modalities lie in the space of prompts, with which a
contrastive loss compares them (`tasks.alignment`), so that a denoiser is not surprised
by what it was never trained beside.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks.denoiser import Denoiser
from cdcd_jax.networks.encoded import Encoded
from cdcd_jax.networks.layers import Attention, fan_in_init, normal_init
from cdcd_jax.networks.positions import Grid
from cdcd_jax.networks.towers import unit


class EnvironmentEncoder(nn.Module):
    """Noisy tokens int32 [B, L] at t int32 [B] -> slots float32 [B, S, E].

    Attributes:
        num_codes: K; token K is a mask.
        grid: of the tokens, see `positions`.
        timesteps: T.
        features: E.
        slots: S; 1 for a pooled vector alone, as in the paper's code.
        width, depth, heads: of its transformer.
    """

    num_codes: int
    grid: Grid
    timesteps: int
    features: int
    slots: int
    width: int
    depth: int
    heads: int

    @nn.compact
    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """Each slot has the length 1."""
        seen = Denoiser(
            form="modern",
            num_codes=self.num_codes,
            grid=self.grid,
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            mlp="fc",
            mlp_ratio=2,
            activation="silu",
            timesteps=self.timesteps,
            embedding_scale=1.0,  # what is there weighs no less than how late it is
            name="network",
        ).features(x_t, t, Encoded())
        asks = self.param("asks", normal_init, (self.slots, self.width))
        asks = jnp.broadcast_to(asks, (len(x_t), *asks.shape))
        pooled = Attention(
            self.heads,
            qk_norm=True,
            kernel_init=fan_in_init,
            lasting=False,
            name="pool",
        )(asks, seen)
        return unit(nn.Dense(self.features, name="slots")(pooled))
