"""The image tower of CLIP: pictures to features (Radford et al. 2021), a ViT.

Its features and the projected ones of `networks.ClipText` lie in one space. Weights
come from `convert.clip_score`.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks.clip_text import Block, clip_norm

Dtype = Any


class ClipImage(nn.Module):
    """CLIP's image tower; the defaults are those of ViT-B/32.

    Attributes:
        resolution: pixels a side.
        patch: pixels a side that become one position; divides the resolution.
        width: features, D.
        layers: number of blocks.
        heads: of the attention; divides the width.
        projection: features of the picture, P.
        dtype: of the products; norms and results are float32.
    """

    resolution: int = 224
    patch: int = 32
    width: int = 768
    layers: int = 12
    heads: int = 12
    projection: int = 512
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Features of pictures, which lie at the token of the class.

        Args:
            pixels: float [B, R, R, 3], R the resolution, less the mean and over the
                deviation of CLIP (`metrics.clip_score.prepare`).

        Returns:
            float32 [B, P] (Hugging Face's image_embeds, before it is normalized).
        """
        init = nn.initializers.normal(self.width**-0.5)
        size = (self.patch, self.patch)
        patches = nn.Conv(
            self.width, size, size, use_bias=False, dtype=self.dtype, name="patches"
        )
        x = patches(pixels)
        x = x.reshape(len(x), -1, self.width).astype(jnp.float32)
        first = self.param("class", init, (self.width,))
        first = jnp.broadcast_to(first, (len(x), 1, self.width))
        x = jnp.concatenate([first, x], axis=1)  # [B, 1 + (R / patch)^2, D]
        x = x + self.param("positions", init, x.shape[1:])
        x = clip_norm("ln_first")(x)
        for i in range(self.layers):
            x = Block(self.heads, False, dtype=self.dtype, name=f"block_{i}")(x)
        pooled = clip_norm("ln_final")(x[:, 0])
        shape = (self.width, self.projection)
        return pooled @ self.param("projection", init, shape)
