"""Encoders and decoders of waveforms at several hops, after Jukebox's VQ-VAE.

Each level has an encoder and a decoder of its own, and both work on the waveform
itself: level l halves it in stages 0..l, so that levels share nothing but the input
(Dhariwal et al. 2020, section 3; openai/jukebox, vqvae/encdec.py). Quantizing the
features is the caller's matter.
"""

import itertools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks.layers import conv_init, per_token

Dtype = Any


def conv1d(
    features: int,
    taps: int,
    padding: tuple[int, int],
    stride: int = 1,
    dilation: int = 1,
    **options: Any,
) -> nn.Conv:
    """A convolution along time: [B, T, D] -> [B, T', features]."""
    return nn.Conv(
        features,
        (taps,),
        stride,
        [padding],
        kernel_dilation=dilation,
        kernel_init=conv_init,
        **options,
    )


class Stack(nn.Module):
    """Residual blocks x + conv_1(relu(conv_3(relu(x)))), conv_3 dilated.

    Attributes:
        dilations: of the blocks, in the order in which they run.
        hidden: channels between the two convolutions.
        dtype: of the products.
    """

    dilations: tuple[int, ...]
    hidden: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, T, D] -> [B, T, D]."""
        width = x.shape[-1]
        for i, dilation in enumerate(self.dilations):
            h = conv1d(
                self.hidden,
                3,
                (dilation, dilation),
                dilation=dilation,
                dtype=self.dtype,
                name=f"hidden_{i}",
            )(nn.relu(x))
            # one tap: a product
            out = nn.Dense(
                width, kernel_init=conv_init, dtype=self.dtype, name=f"out_{i}"
            )
            x = x + per_token(out, nn.relu(h))
        return x


class Upsample(nn.Module):
    """Transposed convolution of stride s and 2 s taps: T steps become T s.

    Written as a product and a shifted sum: step t gives 2 s samples, of which the last
    s overlap the first s of step t + 1. s // 2 samples are cut off the start.
    """

    width: int
    stride: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, T, D] -> [B, T s, width]."""
        batch, length, channels = x.shape
        stride, cut = self.stride, self.stride // 2
        shape = (2 * stride, channels, self.width)
        kernel = self.param("kernel", conv_init, shape).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, shape[2:]).astype(self.dtype)
        # [B, T, D] x [D, 2 s width] -> [B, T, s width] twice
        kernel = jnp.moveaxis(kernel, 0, 1).reshape(channels, -1)
        samples = per_token(lambda rows: rows @ kernel, x.astype(self.dtype))
        first, last = jnp.split(samples, 2, axis=-1)
        first = jnp.pad(first, ((0, 0), (0, 1), (0, 0)))
        last = jnp.pad(last, ((0, 0), (1, 0), (0, 0)))
        out = (first + last).reshape(batch, (length + 1) * stride, self.width)
        return out[:, cut : cut + length * stride] + bias


class Down(nn.Module):
    """One level's stage of an encoder: for each stride it and a stack, then a conv."""

    strides: tuple[int, ...]
    width: int
    code_dim: int
    hidden: int
    dilations: tuple[int, ...]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, T, D] -> [B, T // (product of strides), code_dim]."""
        for i, stride in enumerate(self.strides):
            left = stride // 2
            x = conv1d(
                self.width,
                2 * stride,
                (left, stride - left),
                stride,
                dtype=self.dtype,
                name=f"down_{i}",
            )(x)
            x = Stack(self.dilations, self.hidden, self.dtype, name=f"stack_{i}")(x)
        return conv1d(self.code_dim, 3, (1, 1), dtype=self.dtype, name="out")(x)


class Up(nn.Module):
    """One level's stage of a decoder: a conv, then for each stride a stack and it."""

    strides: tuple[int, ...]  # in the order in which they run
    width: int
    code_dim: int
    hidden: int
    dilations: tuple[int, ...]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, T, code_dim] -> [B, T (product of strides), code_dim]."""
        x = conv1d(self.width, 3, (1, 1), dtype=self.dtype, name="in")(x)
        for i, stride in enumerate(self.strides):
            x = Stack(self.dilations, self.hidden, self.dtype, name=f"stack_{i}")(x)
            width = self.code_dim if i == len(self.strides) - 1 else self.width
            x = Upsample(width, stride, self.dtype, name=f"up_{i}")(x)
        return x


class WaveAutoencoder(nn.Module):
    """Jukebox's autoencoder without its codebooks.

    Attributes:
        downs: number of strided convolutions that each level adds to the last one's.
        strides: of those convolutions, at least 2; a level's one for all of them, or
            a tuple of them from the waveform on.
        width: channels of a level, times its multiplier.
        depth: residual blocks in a stack, times its level's multiplier.
        multipliers: one a level; () means 1 for all.
        code_dim: features of a code.
        dilation_growth: block i of an encoder's stack has the dilation growth^i.
        hidden_ratio: channels inside a residual block, of those outside (m_conv).
        reverse_decoder_dilation: decoders' stacks begin with the largest dilation.
        patch: samples that are one step from the start, 1 for Jukebox. What runs at
            the waveform's own rate is most of the work of a small model.
        bands: numbers that stand for a step instead of its samples, such as a
            spectrum's; 0 for the samples. What is [B, S] below is then [B, T, bands].
        dtype: of the products; parameters and results are float32.
    """

    downs: tuple[int, ...] = (3, 2, 2)
    strides: tuple[int | tuple[int, ...], ...] = (2, 2, 2)
    width: int = 32
    depth: int = 4
    multipliers: tuple[int, ...] = (2, 1, 1)
    code_dim: int = 64
    dilation_growth: int = 3
    hidden_ratio: float = 1.0
    reverse_decoder_dilation: bool = True
    patch: int = 1
    bands: int = 0
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        levels = range(len(self.downs))
        out = lambda level: conv1d(
            self.bands or self.patch,
            3,
            (1, 1),
            dtype=self.dtype,
            name=f"wave_{level}",
        )
        self.encoders = [
            [
                self._stage(Down, f"encoder_{level}_{j}", level, j)
                for j in levels[: level + 1]
            ]
            for level in levels
        ]
        self.decoders = [
            [
                self._stage(Up, f"decoder_{level}_{j}", level, j)
                for j in levels[: level + 1]
            ]
            for level in levels
        ]
        self.waves = [out(level) for level in levels]

    def _stage(self, kind: type[Down] | type[Up], name: str, level: int, j: int) -> Any:
        """Stage j of one level's encoder or decoder; the level gives the width."""
        multiplier = self.multipliers[level] if self.multipliers else 1
        width, depth = self.width * multiplier, self.depth * multiplier
        dilations = tuple(self.dilation_growth**i for i in range(depth))
        if kind is Up and self.reverse_decoder_dilation:
            dilations = dilations[::-1]
        strides = self._strides(j)
        return kind(
            strides if kind is Down else strides[::-1],
            width,
            self.code_dim,
            int(self.hidden_ratio * width),
            dilations,
            self.dtype,
            name=name,
        )

    def _strides(self, level: int) -> tuple[int, ...]:
        strides, number = self.strides[level], self.downs[level]
        return (strides,) * number if isinstance(strides, int) else tuple(strides)

    @property
    def hops(self) -> tuple[int, ...]:
        """Samples of waveform a code of each level stands for."""
        factors = (math.prod(self._strides(j)) for j in range(len(self.downs)))
        return tuple(
            self.patch * n for n in itertools.accumulate(factors, lambda a, b: a * b)
        )

    def encode_level(self, x: jax.Array, level: int) -> jax.Array:
        """Waveforms [B, S] -> features float32 [B, S // hop, code_dim] of one level."""
        h = x if self.bands else x.reshape(len(x), -1, self.patch)
        for stage in self.encoders[level]:
            h = stage(h)
        return h.astype(jnp.float32)

    def encode(self, x: jax.Array) -> tuple[jax.Array, ...]:
        """The features of all levels of waveforms [B, S], as `encode_level` gives."""
        return tuple(self.encode_level(x, level) for level in range(len(self.downs)))

    def decode(self, z_q: jax.Array, level: int) -> jax.Array:
        """Quantized features [B, T, code_dim] of a level -> float32 [B, T hop]."""
        h = z_q
        for stage in reversed(self.decoders[level]):
            h = stage(h)
        y = self.waves[level](h).astype(jnp.float32)
        return y if self.bands else y.reshape(len(h), -1)

    def __call__(self, x: jax.Array) -> tuple[jax.Array, ...]:
        """Encodes and decodes without quantizing, all levels; makes all parameters."""
        return tuple(self.decode(z, level) for level, z in enumerate(self.encode(x)))
