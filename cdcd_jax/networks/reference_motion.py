"""The dance encoder of CDCD's code, for its weights (codecs/dance_codec/motion.py).

It takes frames as the channels of a convolution along 800 projected features, so that
nothing of its result lies at a time: a whole dance becomes one vector. The weights come
from `convert.cdcd`, their norms folded in; training from scratch is better off with
`motion.MotionEncoder`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks.layers import conv_init, normal_init

WIDTHS = (512, 512, 1024)  # of AIST++; TikTok's first is 256
PROJECTED = 800
DILATIONS = (1, 3, 9, 27)
TAPS = (6, 4, 4, 4)  # of the convolutions between the blocks


def _leaky(x: jax.Array) -> jax.Array:
    return jax.nn.leaky_relu(x, 0.2)


def _conv(features: int, taps: int, name: str, dilation: int = 1) -> nn.Conv:
    return nn.Conv(
        features,
        (taps,),
        padding="VALID",
        kernel_dilation=dilation,
        kernel_init=conv_init,
        name=name,
    )


class Block(nn.Module):
    """shortcut(x) + out(leaky(hidden(reflected(leaky(x)))))."""

    dilation: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, P, D] -> [B, P, D]."""
        width, d = x.shape[-1], self.dilation
        y = jnp.pad(_leaky(x), ((0, 0), (d, d), (0, 0)), mode="reflect")
        y = _leaky(_conv(width, 3, "hidden", d)(y))
        return _conv(width, 1, "shortcut")(x) + _conv(width, 1, "out")(y)


class ReferenceEncoder(nn.Module):
    """The reference's MotionEncoder.

    Attributes:
        widths: of its three stages; the last is also the number of features.
    """

    widths: tuple[int, ...] = WIDTHS

    @nn.compact
    def __call__(self, motion: jax.Array) -> jax.Array:
        """Frames [B, F, C] -> features [B, 1, widths[-1]]."""
        x = nn.Dense(PROJECTED, kernel_init=normal_init, name="lin1")(motion)
        x = jnp.swapaxes(x, 1, 2)  # the frames are the channels
        for i, width in enumerate(self.widths):
            x = _leaky(x) if i else x
            x = _conv(width, TAPS[i], f"conv_{i}")(x)
            x = x if i else _leaky(x)
            for j, dilation in enumerate(DILATIONS):
                x = Block(dilation, name=f"block_{i}_{j}")(x)
        x = _conv(1, TAPS[-1], f"conv_{len(self.widths)}")(_leaky(x))
        lin2 = nn.Dense(self.widths[-1], kernel_init=normal_init, name="lin2")
        return lin2(jnp.swapaxes(x, 1, 2))


class ReferenceMotion(nn.Module):
    """The encoder and the part of the reference's `lin1` that its features meet.

    The reference multiplies [dance, video, genre] by one matrix; that is the sum of a
    product of each, and its bias is here.

    Attributes:
        widths: of the encoder; () for those of AIST++.
        size: features of the product.
    """

    widths: tuple[int, ...] = ()
    size: int = 1024

    @nn.compact
    def __call__(self, motion: jax.Array) -> jax.Array:
        """Frames [B, F, C] -> a sequence of one, [B, 1, size]."""
        x = ReferenceEncoder(self.widths or WIDTHS, name="encoder")(motion)
        return nn.Dense(self.size, kernel_init=normal_init, name="lin1")(x)
