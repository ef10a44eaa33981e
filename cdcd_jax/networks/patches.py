"""Pictures cut into patches and joined again, and an autoencoder of patches.

It takes each patch by itself: equal patches have equal codes. Convolutions let a code
say something of its neighbours, so that even an empty patch takes one of many codes and
a model has more to predict. Where pictures are small and plain, patches by themselves
are the better tokens.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks.layers import per_token


def to_patches(x: jax.Array, patch: int) -> jax.Array:
    """Pictures [B, H, W, C] -> their patches [B, L, patch * patch * C], row by row.

    L = (H / patch) * (W / patch); `patch` divides both sides. A patch is flat as
    [patch, patch, C] is.
    """
    b, h, w, c = x.shape
    x = x.reshape(b, h // patch, patch, w // patch, patch, c).swapaxes(2, 3)
    return x.reshape(b, -1, patch * patch * c)


def from_patches(x: jax.Array, patch: int, size: tuple[int, int]) -> jax.Array:
    """Patches [B, L, patch * patch * C] -> pictures [B, H, W, C]; undoes `to_patches`.

    Args:
        size: (H, W), pixels.
    """
    h, w = size
    x = x.reshape(len(x), h // patch, w // patch, patch, patch, -1).swapaxes(2, 3)
    return x.reshape(len(x), h, w, -1)


class PatchAutoencoder(nn.Module):
    """Two layers a patch each way, without its codebook.

    Attributes:
        resolution: pixels, of squares.
        image_channels: of a picture, C.
        patch: pixels a side.
        width: hidden features.
        code_dim: features of a code.
        dtype: of the products; parameters and results are float32.
    """

    resolution: int
    image_channels: int
    patch: int
    width: int
    code_dim: int
    dtype: Any = jnp.float32

    def setup(self) -> None:
        size = self.patch**2 * self.image_channels
        dense = lambda n: nn.Dense(n, dtype=self.dtype)
        self.encoder = [dense(self.width), dense(self.code_dim)]
        self.decoder = [dense(self.width), dense(size)]

    @property
    def hops(self) -> tuple[int, ...]:
        """Pixels a side that a code stands for."""
        return (self.patch,)

    def encode(self, x: jax.Array) -> tuple[jax.Array, ...]:
        """Pictures [B, H, W, C] -> one level of float32 [B, h, w, code_dim]."""
        b, h, w, _ = x.shape
        x = _both(self.encoder, to_patches(x, self.patch)).astype(jnp.float32)
        return (x.reshape(b, h // self.patch, w // self.patch, self.code_dim),)

    def decode(self, z_q: jax.Array, level: int = 0) -> jax.Array:
        """Quantized features [B, h, w, code_dim] -> float32 [B, H, W, C]."""
        del level
        b, h, w, c = z_q.shape
        x = _both(self.decoder, z_q.reshape(b, h * w, c)).astype(jnp.float32)
        return from_patches(x, self.patch, (h * self.patch, w * self.patch))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Encodes and decodes without quantizing; makes all parameters."""
        return self.decode(*self.encode(x))


def _both(layers: list[nn.Dense], x: jax.Array) -> jax.Array:
    first, second = layers
    return per_token(second, jax.nn.gelu(per_token(first, x)))
