"""Inception v3 as the FID knows it (Szegedy et al. 2016; Heusel et al. 2017).

The network of 2015-12-05, with 1,008 classes, as pytorch-fid runs it: its averages
leave out the padding, and the last block takes a maximum where the paper has an
average. For inference alone; the weights come from a file (convert/inception.py), in
which the batch norms are part of the convolutions.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

FEATURES, CLASSES = 2048, 1008
SIDE = 299  # pixels
# conv(x, name, features, kernel, strides, padding): a convolution with ReLU
Conv = Callable[..., jax.Array]


class Inception(nn.Module):
    """Features and logits of pictures."""

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Resizes pictures to 299 x 299 and scales them to [-1, 1], as pytorch-fid.

        Args:
            images: [B, H, W, C], C of 1 or 3, 0 to 255, of any type.

        Returns:
            float32 [B, 2048], the last mean over the picture (pool3), and [B, 1008],
            logits without their bias, which the Inception Score is computed from (so
            in torch-fidelity, 'logits_unbiased', and in the first implementation).
        """
        x = resize(jnp.asarray(images, jnp.float32), SIDE) / 127.5 - 1
        x = jnp.broadcast_to(x, (*x.shape[:-1], 3))
        conv = _convolution
        x = conv(x, "Conv2d_1a_3x3", 32, 3, 2)
        x = conv(x, "Conv2d_2a_3x3", 32, 3, padding="VALID")
        x = _maximum(conv(x, "Conv2d_2b_3x3", 64, 3))
        x = conv(x, "Conv2d_3b_1x1", 80, 1)
        x = _maximum(conv(x, "Conv2d_4a_3x3", 192, 3, padding="VALID"))  # 35 x 35
        for letter, pooled in zip("bcd", (32, 64, 64), strict=True):
            x = Mixed(_mixed_5, pooled, name=f"Mixed_5{letter}")(x)
        x = Mixed(_mixed_6a, name="Mixed_6a")(x)  # 17 x 17
        for letter, width in zip("bcde", (128, 160, 160, 192), strict=True):
            x = Mixed(_mixed_6, width, name=f"Mixed_6{letter}")(x)
        x = Mixed(_mixed_7a, name="Mixed_7a")(x)  # 8 x 8
        x = Mixed(_mixed_7, name="Mixed_7b")(x)
        x = Mixed(_mixed_7, 1, name="Mixed_7c")(x)
        features = jnp.mean(x, (1, 2))
        return features, nn.Dense(CLASSES, use_bias=False, name="fc")(features)


def parameter_shapes() -> dict[str, Any]:
    """The shapes of an `Inception`'s parameters, as `jax.eval_shape` gives them."""
    images = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.uint8)
    return jax.eval_shape(Inception().init, jax.random.key(0), images)["params"]


class Mixed(nn.Module):
    """Branches side by side.

    Attributes:
        branches: (conv, [B, H, W, C], option) -> list of [B, H', W', C'].
        option: of the branches.
    """

    branches: Callable[[Conv, jax.Array, int], list[jax.Array]]
    option: int = 0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H', W', sum of C']."""
        return jnp.concatenate(self.branches(_convolution, x, self.option), -1)


def resize(images: jax.Array, side: int) -> jax.Array:
    """Bilinear, without antialias, to [B, side, side, C].

    PyTorch's `interpolate` with align_corners=False, which pytorch-fid uses; TensorFlow
    1 and torch-fidelity place the pixels otherwise.
    """
    shape = (len(images), side, side, images.shape[-1])
    return jax.image.resize(images, shape, "bilinear", antialias=False)


def _convolution(
    x: jax.Array,
    name: str,
    features: int,
    kernel: int | tuple[int, int],
    strides: int = 1,
    padding: str = "SAME",
) -> jax.Array:
    """A convolution with ReLU; steps of 2 take no padding."""
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = padding if strides == 1 else "VALID"
    strides = (strides, strides)
    return nn.relu(nn.Conv(features, kernel, strides, padding, name=name)(x))


def _maximum(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (3, 3), (2, 2))


def _average(x: jax.Array) -> jax.Array:
    return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def _chain(conv: Conv, x: jax.Array, name: str, *layers: tuple) -> jax.Array:
    """Convolutions `<name>_1`, `<name>_2`, ...; a layer: features, kernel, strides."""
    for i, layer in enumerate(layers, 1):
        x = conv(x, f"{name}_{i}", *layer)
    return x


def _mixed_5(conv: Conv, x: jax.Array, pooled: int) -> list[jax.Array]:
    return [
        conv(x, "branch1x1", 64, 1),
        _chain(conv, x, "branch5x5", (48, 1), (64, 5)),
        _chain(conv, x, "branch3x3dbl", (64, 1), (96, 3), (96, 3)),
        conv(_average(x), "branch_pool", pooled, 1),
    ]


def _mixed_6a(conv: Conv, x: jax.Array, _: int) -> list[jax.Array]:
    return [
        conv(x, "branch3x3", 384, 3, 2),
        _chain(conv, x, "branch3x3dbl", (64, 1), (96, 3), (96, 3, 2)),
        _maximum(x),
    ]


def _mixed_6(conv: Conv, x: jax.Array, width: int) -> list[jax.Array]:
    row, column = (1, 7), (7, 1)
    twice = ((width, 1), (width, column), (width, row), (width, column), (192, row))
    return [
        conv(x, "branch1x1", 192, 1),
        _chain(conv, x, "branch7x7", (width, 1), (width, row), (192, column)),
        _chain(conv, x, "branch7x7dbl", *twice),
        conv(_average(x), "branch_pool", 192, 1),
    ]


def _mixed_7a(conv: Conv, x: jax.Array, _: int) -> list[jax.Array]:
    seven = ((192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2))
    return [
        _chain(conv, x, "branch3x3", (192, 1), (320, 3, 2)),
        _chain(conv, x, "branch7x7x3", *seven),
        _maximum(x),
    ]


def _mixed_7(conv: Conv, x: jax.Array, maximum: int) -> list[jax.Array]:
    both = lambda x, name: [
        conv(x, f"{name}a", 384, (1, 3)),
        conv(x, f"{name}b", 384, (3, 1)),
    ]
    three = conv(x, "branch3x3_1", 384, 1)
    double = _chain(conv, x, "branch3x3dbl", (448, 1), (384, 3))
    # the maximum of the last block is thought to be a slip, but all FIDs have it
    pooled = nn.max_pool(x, (3, 3), padding="SAME") if maximum else _average(x)
    return [
        conv(x, "branch1x1", 320, 1),
        *both(three, "branch3x3_2"),
        *both(double, "branch3x3dbl_3"),
        conv(pooled, "branch_pool", 192, 1),
    ]
