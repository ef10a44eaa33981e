"""The image autoencoder of VQGAN (Esser et al. 2021) around a quantizer.

A stack of residual blocks a level, half the size from level to level, attention where
the grid has a given height; the weights of taming-transformers fit (convert/taming.py),
and those of its kin, which have no attention in the middle or other groups.
Images are [B, H, W, C]; the quantizer is not in here (networks/quantizer.py).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks.attention import attention
from cdcd_jax.networks.layers import conv_init

Dtype = Any


def group_count(channels: int, at_most: int = 32) -> int:
    """The largest number of groups up to `at_most` that divides the channels."""
    return max(n for n in range(1, at_most + 1) if channels % n == 0)


def space_to_depth(x: jax.Array, patch: int) -> jax.Array:
    """[B, H, W, C] -> [B, H / p, W / p, p p C]."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // patch, patch, width // patch, patch, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, height // patch, width // patch, -1)


def depth_to_space(x: jax.Array, patch: int) -> jax.Array:
    """[B, h, w, p p C] -> [B, h p, w p, C]; undoes `space_to_depth`."""
    batch, height, width, _ = x.shape
    x = x.reshape(batch, height, width, patch, patch, -1)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, height * patch, width * patch, -1)


def conv(features: int, size: int, dtype: Dtype, name: str, **kwargs: Any) -> nn.Conv:
    """A convolution that keeps the size unless `kwargs` say otherwise."""
    kwargs.setdefault("padding", size // 2)
    return nn.Conv(
        features, (size, size), dtype=dtype, kernel_init=conv_init, name=name, **kwargs
    )


def group_norm(x: jax.Array, dtype: Dtype, name: str, groups: int = 32) -> jax.Array:
    """Group norm with statistics in float32, of at most so many groups."""
    groups = group_count(x.shape[-1], groups)
    return nn.GroupNorm(groups, epsilon=1e-6, dtype=dtype, name=name)(x)


class ResBlock(nn.Module):
    """Norm, swish, 3 x 3, twice, beside a 1 x 1 where the channels change."""

    features: int
    groups: int = 32
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, features]."""
        y = nn.silu(group_norm(x, self.dtype, "norm1", self.groups))
        y = conv(self.features, 3, self.dtype, "conv1")(y)
        y = nn.silu(group_norm(y, self.dtype, "norm2", self.groups))
        y = conv(self.features, 3, self.dtype, "conv2")(y)
        if x.shape[-1] != self.features:
            x = conv(self.features, 1, self.dtype, "nin_shortcut")(x)
        return x + y


class AttentionBlock(nn.Module):
    """Attention of one head over all positions, added to its input."""

    groups: int = 32
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, C]."""
        batch, features = len(x), x.shape[-1]
        y = group_norm(x, self.dtype, "norm", self.groups)
        q, k, v = (
            conv(features, 1, self.dtype, name)(y).reshape(batch, -1, 1, features)
            for name in "qkv"
        )
        # one wide head, which the fused kernels do not take
        y = attention(q, k, v, "xla").reshape(x.shape)
        return x + conv(features, 1, self.dtype, "proj_out")(y)


class Middle(nn.Module):
    """Two residual blocks, with attention between them or without."""

    features: int
    attention: bool = True
    groups: int = 32
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, features] -> the same shape."""
        of_all = dict(groups=self.groups, dtype=self.dtype)
        x = ResBlock(self.features, **of_all, name="block_1")(x)
        if self.attention:
            x = AttentionBlock(**of_all, name="attn_1")(x)
        return ResBlock(self.features, **of_all, name="block_2")(x)


class Encoder(nn.Module):
    """Image to grid; attributes as in `ImageAutoencoder`, but for positions."""

    resolution: int
    channels: int
    channel_mult: tuple[int, ...]
    num_res_blocks: int
    attention_resolutions: tuple[int, ...]
    latent_channels: int
    mid_attention: bool = True
    groups: int = 32
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, h, w, latent_channels]."""
        of_all = dict(groups=self.groups, dtype=self.dtype)
        x = conv(self.channels, 3, self.dtype, "conv_in")(x)
        for level, mult in enumerate(self.channel_mult):
            name = f"down_{level}"
            if level:
                # an odd row and column at the end, and none at the front
                pad = ((0, 1), (0, 1))
                x = conv(
                    x.shape[-1],
                    3,
                    self.dtype,
                    f"down_{level - 1}_downsample",
                    strides=2,
                    padding=pad,
                )(x)
            for i in range(self.num_res_blocks):
                features = self.channels * mult
                x = ResBlock(features, **of_all, name=f"{name}_block_{i}")(x)
                if self.resolution // 2**level in self.attention_resolutions:
                    x = AttentionBlock(**of_all, name=f"{name}_attn_{i}")(x)
        x = Middle(x.shape[-1], self.mid_attention, **of_all, name="mid")(x)
        x = nn.silu(group_norm(x, self.dtype, "norm_out", self.groups))
        return conv(self.latent_channels, 3, self.dtype, "conv_out")(x)


class Decoder(nn.Module):
    """Grid to the features before the last convolution."""

    resolution: int
    channels: int
    channel_mult: tuple[int, ...]
    num_res_blocks: int
    attention_resolutions: tuple[int, ...]
    mid_attention: bool = True
    groups: int = 32
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, h, w, latent_channels] -> [B, H, W, channels * channel_mult[0]]."""
        of_all = dict(groups=self.groups, dtype=self.dtype)
        features = self.channels * self.channel_mult[-1]
        x = conv(features, 3, self.dtype, "conv_in")(x)
        x = Middle(features, self.mid_attention, **of_all, name="mid")(x)
        for level in reversed(range(len(self.channel_mult))):
            features = self.channels * self.channel_mult[level]
            for i in range(self.num_res_blocks + 1):
                x = ResBlock(features, **of_all, name=f"up_{level}_block_{i}")(x)
                if self.resolution // 2**level in self.attention_resolutions:
                    x = AttentionBlock(**of_all, name=f"up_{level}_attn_{i}")(x)
            if level:
                x = x.repeat(2, axis=1).repeat(2, axis=2)
                x = conv(features, 3, self.dtype, f"up_{level}_upsample")(x)
        return nn.silu(group_norm(x, self.dtype, "norm_out", self.groups))


class ImageAutoencoder(nn.Module):
    """Images to vectors of codes and back.

    Attributes:
        resolution: height of the images in pixels, from which the levels' follow.
        image_channels: C.
        channels, channel_mult: features of level l are channels * channel_mult[l].
        num_res_blocks: a level; the decoder has one more.
        attention_resolutions: heights of grids, in positions, that have attention.
        latent_channels: between encoder or decoder and the 1 x 1 around the codes.
        code_dim: D of the codebook.
        patch: pixels a side of what the first convolution sees as one position; more
            than 1 is faster and ours.
        gumbel_codes: K, where the encoder gives logits; 0 where it gives vectors.
        mid_attention: whether the coarsest grid has attention once more, in the middle.
        groups: of each norm, the largest divisor of its features up to this.
        dtype: of the convolutions.
    """

    resolution: int
    image_channels: int
    channels: int
    channel_mult: tuple[int, ...]
    num_res_blocks: int
    attention_resolutions: tuple[int, ...]
    latent_channels: int
    code_dim: int
    patch: int = 1
    gumbel_codes: int = 0
    mid_attention: bool = True
    groups: int = 32
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        """Names are those of taming-transformers, dots as underscores."""
        shape = dict(
            resolution=self.resolution // self.patch,
            channels=self.channels,
            channel_mult=tuple(self.channel_mult),
            num_res_blocks=self.num_res_blocks,
            attention_resolutions=tuple(self.attention_resolutions),
            mid_attention=self.mid_attention,
            groups=self.groups,
            dtype=self.dtype,
        )
        self.encoder = Encoder(latent_channels=self.latent_channels, **shape)
        self.quant_conv = conv(self.code_dim, 1, self.dtype, None)
        if self.gumbel_codes:
            self.proj = conv(self.gumbel_codes, 1, self.dtype, None)
        self.post_quant_conv = conv(self.latent_channels, 1, self.dtype, None)
        self.decoder = Decoder(**shape)
        out_channels = self.image_channels * self.patch**2
        self.conv_out = conv(out_channels, 3, self.dtype, None)

    @property
    def hops(self) -> tuple[int, ...]:
        """Pixels a position, of the one level of codes."""
        return (self.patch * 2 ** (len(self.channel_mult) - 1),)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Without a quantizer, [B, H, W, C] -> [B, H, W, C]; touches all weights."""
        (z,) = self.encode(x)
        return self.decode(z[..., :1] + jnp.zeros(self.code_dim, z.dtype))

    def encode(self, x: jax.Array) -> tuple[jax.Array]:
        """Images [B, H, W, C] in [-1, 1] -> (z,), before the codebook.

        z is float32 [B, h, w, code_dim], or logits [B, h, w, K] of Gumbel codes.
        """
        if self.patch > 1:
            x = space_to_depth(x, self.patch)
        z = self.quant_conv(self.encoder(x.astype(self.dtype)))
        if self.gumbel_codes:
            z = self.proj(z)
        return (z.astype(jnp.float32),)

    def decode(self, z_q: jax.Array, level: int = 0) -> jax.Array:
        """Codes' vectors [B, h, w, code_dim] -> float32 [B, H, W, C], not clamped."""
        del level  # there is one
        return self.out(self.decoder_features(z_q))

    def decoder_features(self, z_q: jax.Array) -> jax.Array:
        """[B, h, w, code_dim] -> what the last convolution sees."""
        return self.decoder(self.post_quant_conv(z_q.astype(self.dtype)))

    def out(self, features: jax.Array) -> jax.Array:
        """The last convolution, `conv_out`, and the pixels: float32 [B, H, W, C]."""
        x = self.conv_out(features).astype(jnp.float32)
        return depth_to_space(x, self.patch) if self.patch > 1 else x
