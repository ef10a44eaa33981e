"""Layers of the denoisers: attention, MLPs, adaptive layer norms, time embedding.

Matrix products run in `dtype`; parameters, norms and softmax are float32.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.networks.attention import attention
from cdcd_jax.networks.partition import constrain, is_split
from cdcd_jax.networks.positions import Grid, rotary_angles

Dtype = Any

# What the reference draws all Linear and Embedding weights from.
normal_init = nn.initializers.normal(0.02)
# Ours: conditions' tables of order 1; head, cross-attention and text encoder keep that
# order at any width. From 0.02 a small model takes no notice of its caption for long.
unit_init = nn.initializers.normal(1.0)
fan_in_init = nn.initializers.lecun_normal()
# PyTorch's default for convolutions, which the reference keeps.
conv_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def gelu2(x: jax.Array) -> jax.Array:
    """x sigmoid(1.702 x), the reference's GELU2."""
    return x * jax.nn.sigmoid(1.702 * x)


MLPS = ("fc", "conv")  # see `MLP`
ACTIVATIONS = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu2": gelu2,
    "silu": jax.nn.silu,
}


def layer_norm(x: jax.Array, epsilon: float = 1e-5) -> jax.Array:
    """Layer norm without weights over the last axis, in float32; returns float32."""
    x = x.astype(jnp.float32)
    mean = jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(x - mean), axis=-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + epsilon)


def rms_norm(x: jax.Array, epsilon: float = 1e-6) -> jax.Array:
    """x / rms(x) over the last axis, in float32; returns float32."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + epsilon)


def time_embedding(time: jax.Array, width: int) -> jax.Array:
    """Sine and cosine features of a time in [0, 1]: float [B] -> [B, width].

    Periods run from 1e-3 to 10 of the whole range (Vaswani et al. 2017, in the units of
    a diffusion time of 0..1000).
    """
    half = width // 2
    frequency = jnp.exp(-math.log(10000.0) * jnp.arange(half) / half)
    angle = 1000.0 * time.astype(jnp.float32)[:, None] * frequency
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def rotate(x: jax.Array, angle: np.ndarray) -> jax.Array:
    """Rotates pairs of features of [B, L, heads, size] by angles [L, size / 2]."""
    cosine, sine = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([a * cosine - b * sine, a * sine + b * cosine], axis=-1)


def per_token(module: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Applies a module to [B L, D] instead of [B, L, D], on a single device.

    On CPUs the gradient of a product that sums over two axes takes 2-3 x as long. Over
    several devices the axes stay apart, since each may be split by itself.
    """
    if is_split():
        return module(x)
    out = module(x.reshape(-1, x.shape[-1]))
    return out.reshape(*x.shape[:-1], *out.shape[1:])


@jax.custom_vjp
def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """[..., D] x [D, K] of one type -> float32 [..., K], not rounded to that type.

    The gradient comes in float32 and is rounded, so that its products run in the type
    of the operands.
    """
    return jnp.dot(x, kernel, preferred_element_type=jnp.float32)


def _product_forward(x: jax.Array, kernel: jax.Array):
    return product(x, kernel), (x, kernel)


def _product_backward(operands, gradient: jax.Array):
    x, kernel = operands
    gradient = gradient.astype(x.dtype)
    axes = tuple(range(x.ndim - 1))
    return jnp.dot(gradient, kernel.T), jnp.tensordot(x, gradient, (axes, axes))


product.defvjp(_product_forward, _product_backward)


class Head(nn.Module):
    """Features to logits: products in `dtype`, logits in float32."""

    num_codes: int
    dtype: Dtype = jnp.float32
    kernel_init: nn.initializers.Initializer = normal_init

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, L, D] -> float32 [B, L, K]."""
        shape = (x.shape[-1], self.num_codes)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros, shape[1:])
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        return per_token(lambda rows: product(rows, kernel), x) + bias


class Attention(nn.Module):
    """Multi-head attention of x to itself or to a sequence.

    Attributes:
        heads: number of heads; divides the width of x.
        qk_norm: RMS norm with a learned scale on queries and keys.
        rotary_grid: of the tokens when queries and keys are to be rotated by their
            place in it (self-attention only); None for no rotation.
        dtype: of the matrix products.
        implementation: see `networks.attention`.
        kernel_init: of all products.
        adds: false where the product that comes last starts from zero, so that a branch
            adds nothing at first.
        lasting: false where the sequence changes at every step, so that its keys and
            values are not kept.
    """

    heads: int
    qk_norm: bool = False
    rotary_grid: Grid | None = None
    dtype: Dtype = jnp.float32
    implementation: str = "auto"
    kernel_init: nn.initializers.Initializer = normal_init
    adds: bool = True
    lasting: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, sequence: jax.Array | None = None) -> jax.Array:
        """[B, L, D] (and [B, S, C]) -> [B, L, D].

        Keys and values of a sequence are taken from the collection 'cache' where it has
        them, and put there where it is mutable: so a sampler makes them once.
        """
        width = x.shape[-1]
        shape = (self.heads, width // self.heads)
        source = x if sequence is None else sequence
        kept = sequence is not None and self.lasting
        cached = kept and self.has_variable("cache", "key")

        def project(name: str, inputs: jax.Array) -> jax.Array:
            dense = nn.DenseGeneral(
                shape, kernel_init=self.kernel_init, dtype=self.dtype, name=name
            )
            out = per_token(dense, inputs)
            return constrain(out, "batch", "length", "heads", "head_size")

        def norm(x: jax.Array, name: str) -> jax.Array:
            """RMS norm and rotation where they are asked for."""
            if self.qk_norm:
                scale = self.param(name, nn.initializers.ones, shape[-1:])
                x = rms_norm(x) * scale
            if self.rotary_grid is not None:
                x = rotate(x, rotary_angles(self.rotary_grid, shape[-1]))
            return x.astype(self.dtype)

        q = norm(project("query", x), "query_scale")
        if cached:
            k, v = (self.get_variable("cache", name) for name in ("key", "value"))
        else:
            k = norm(project("key", source), "key_scale")
            v = project("value", source)
        if kept and self.is_mutable_collection("cache"):
            self.put_variable("cache", "key", k)
            self.put_variable("cache", "value", v)
        out = attention(q, k, v, self.implementation)
        init = self.kernel_init if self.adds else nn.initializers.zeros
        proj = nn.Dense(width, kernel_init=init, dtype=self.dtype, name="proj")
        return per_token(proj, out.reshape(x.shape))


class MLP(nn.Module):
    """Two layers, fully connected ('fc') or convolutions on one grid ('conv').

    Convolutions see 3 places along each of its two or three axes.
    """

    kind: str
    ratio: int
    activation: str
    grid: Grid
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, L, D] -> [B, L, D]."""
        batch, length, width = x.shape
        activation = ACTIVATIONS[self.activation]
        if self.kind == "fc":
            dense = lambda size, name: nn.Dense(
                size, kernel_init=normal_init, dtype=self.dtype, name=name
            )
            x = per_token(dense(self.ratio * width, "hidden"), x)
            x = activation(constrain(x, "batch", "length", "hidden"))
            return per_token(dense(width, "out"), x)
        conv = lambda size, name: nn.Conv(
            size,
            (3,) * len(self.grid),
            padding=1,
            kernel_init=conv_init,
            dtype=self.dtype,
            name=name,
        )
        axes = ("frame", "row", "column")[-len(self.grid) :]
        x = x.reshape(batch, *self.grid, width)
        x = conv(self.ratio * width, "hidden")(x)
        x = activation(constrain(x, "batch", *axes, "hidden"))
        return conv(width, "out")(x).reshape(batch, length, width)


class TableNorm(nn.Module):
    """Layer norm whose scale and shift come from a learned table of integers.

    y = ln(x) (1 + scale) + shift, [scale, shift] = W silu(table[index]) (the
    reference's AdaLayerNorm).
    """

    entries: int

    @nn.compact
    def __call__(self, x: jax.Array, index: jax.Array) -> jax.Array:
        """[B, L, D], int [B] -> float32 [B, L, D]."""
        width = x.shape[-1]
        table = nn.Embed(self.entries, width, embedding_init=normal_init, name="emb")
        code = jax.nn.silu(table(index))
        both = nn.Dense(2 * width, kernel_init=normal_init, name="linear")(code)
        both = constrain(both, "batch", "features")[:, None, :]
        scale, shift = jnp.split(both, 2, axis=-1)
        return layer_norm(x) * (1 + scale) + shift
