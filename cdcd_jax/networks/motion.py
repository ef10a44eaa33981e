"""The trained encoder of dances: temporal convolutions that keep time."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks.layers import layer_norm, normal_init

_KERNEL = 5
_DILATIONS = (1, 2, 4, 8)  # of the blocks in turn


class MotionEncoder(nn.Module):
    """Frames [B, F, C] -> features [B, S, size], S = F over the product of strides.

    Attributes:
        size: features.
        strides: of the convolutions that halve (2) or keep (1) the rate.
        depth: residual blocks after them.
        normalize: each example loses its mean pose and has unit size, as keypoints in
            pixels need it.
    """

    size: int
    strides: tuple[int, ...]
    depth: int
    normalize: bool = False

    @nn.compact
    def __call__(self, motion: jax.Array) -> jax.Array:
        """[B, F, C] -> [B, S, size]."""
        conv = lambda name, **kwargs: nn.Conv(
            self.size, (_KERNEL,), kernel_init=nn.initializers.he_normal(), name=name,
            **kwargs,
        )  # fmt: skip
        x = motion
        if self.normalize:
            x = x - jnp.mean(x, axis=1, keepdims=True)
            size = jnp.mean(jnp.square(x), axis=(1, 2), keepdims=True)
            x = x * jax.lax.rsqrt(size + 1e-6)
        x = nn.Dense(self.size, name="pose")(x)
        for i, stride in enumerate(self.strides):
            x = conv(f"down_{i}", strides=stride)(jax.nn.gelu(layer_norm(x)))
        for i in range(self.depth):
            y = jax.nn.gelu(layer_norm(x))
            dilation = _DILATIONS[i % len(_DILATIONS)]
            y = conv(f"block_{i}", kernel_dilation=dilation)(y)
            out = nn.Dense(self.size, kernel_init=normal_init, name=f"out_{i}")
            x = x + out(jax.nn.gelu(y))
        return layer_norm(x)
