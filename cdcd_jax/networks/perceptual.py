"""LPIPS (Zhang et al. 2018): distance of images in the features of a VGG16.

The weights come from files (convert/lpips.py); untrained ones measure little.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

# Features of the convolutions of each stage; a 2 x 2 maximum stands between stages.
STAGES = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)
# LPIPS's own mean and deviation of pixels, for images in [-1, 1].
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


class VGG16(nn.Module):
    """The convolutions of VGG16 (Simonyan and Zisserman 2015)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        """[B, H, W, 3], of mean 0 -> five features, each before the next maximum."""
        out = []
        for i, stage in enumerate(STAGES):
            if i:
                x = nn.max_pool(x, (2, 2), (2, 2))
            for j, features in enumerate(stage):
                conv = nn.Conv(features, (3, 3), padding=1, name=f"conv_{i}_{j}")
                x = nn.relu(conv(x))
            out.append(x)
        return out


class Perceptual(nn.Module):
    """LPIPS of two batches of images of 16 pixels a side or more."""

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """[B, H, W, C] twice, C of 1 or 3, in [-1, 1] -> float32 [B]."""
        three = lambda x: jnp.broadcast_to(x.astype(jnp.float32), (*x.shape[:-1], 3))
        both = jnp.concatenate([three(x), three(y)])
        both = (both - jnp.asarray(_SHIFT)) / jnp.asarray(_SCALE)
        total = jnp.zeros(len(x))
        for i, features in enumerate(VGG16(name="vgg")(both)):
            length = jnp.sqrt(jnp.sum(features**2, -1, keepdims=True) + 1e-20)
            a, b = jnp.split(features / (length + 1e-10), 2)
            weight = self.param(f"lin_{i}", nn.initializers.ones, (a.shape[-1],))
            total += jnp.mean(jnp.square(a - b) @ weight, axis=(1, 2))
        return total
