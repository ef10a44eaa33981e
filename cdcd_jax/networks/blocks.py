"""A block of a denoiser: attention to the tokens, to what is given, and an MLP.

The reference's block is set by tables of time and class, the modern one by a vector of
both; see `denoiser`.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks import layers
from cdcd_jax.networks.encoded import Encoded, Environment
from cdcd_jax.networks.layers import MLP, Attention, TableNorm
from cdcd_jax.networks.partition import constrain
from cdcd_jax.networks.positions import Grid


class BlockInputs(NamedTuple):
    """What every block sees besides the tokens."""

    time_index: jax.Array  # int32 [B], t' = t - 1
    encoded: Encoded
    vector: jax.Array | None  # [B, D], time and condition (modern form)
    environment: Environment | None


class ReferenceBlock(nn.Module):
    """A block of the reference's 'self', 'selfcondition' or 'selfcross' transformer."""

    form: str
    heads: int
    mlp: str
    mlp_ratio: int
    activation: str
    grid: Grid
    timesteps: int
    num_classes: int
    dtype: Any
    attention: str

    @nn.compact
    def __call__(self, x: jax.Array, inputs: BlockInputs) -> tuple[jax.Array, None]:
        """[B, L, D] -> [B, L, D]."""
        t = inputs.time_index
        x = constrain(x, "batch", "length", "features")
        attention = lambda name: Attention(
            self.heads, dtype=self.dtype, implementation=self.attention, name=name
        )
        y = TableNorm(self.timesteps, name="ln1")(x, t)
        x = x + attention("attn1")(y)
        if self.form == "selfcross":
            y = TableNorm(self.timesteps, name="ln1_1")(x, t)
            x = x + attention("attn2")(y, inputs.encoded.sequence)
        if self.form == "selfcondition":
            # one more entry than classes: the null
            norm = TableNorm(self.num_classes + 1, name="ln2")
            y = norm(x, inputs.encoded.label)
        else:
            y = nn.LayerNorm(epsilon=1e-5, name="ln2")(x)
        mlp = MLP(
            self.mlp, self.mlp_ratio, self.activation, self.grid, self.dtype, name="mlp"
        )
        return x + mlp(y), None


class ModernBlock(nn.Module):
    """Self-attention, cross-attention to a sequence if there is one, and MLP.

    Between them a third attention to the environment, where there is one. It adds
    nothing at first, and time does not scale it: `modulation` is as wide without.
    """

    heads: int
    mlp: str
    mlp_ratio: int
    activation: str
    grid: Grid
    dtype: Any
    attention: str

    @nn.compact
    def __call__(self, x: jax.Array, inputs: BlockInputs) -> tuple[jax.Array, None]:
        """[B, L, D] -> [B, L, D]."""
        width = x.shape[-1]
        x = constrain(x, "batch", "length", "features")
        sequence = inputs.encoded.sequence
        branches = 2 if sequence is None else 3
        modulation = nn.Dense(
            3 * branches * width, kernel_init=nn.initializers.zeros, name="modulation"
        )(jax.nn.silu(inputs.vector))
        modulation = constrain(modulation, "batch", "features")[:, None, :]
        parts = iter(jnp.split(modulation, 3 * branches, axis=-1))

        def branch(x: jax.Array, module) -> jax.Array:
            scale, shift, gate = next(parts), next(parts), next(parts)
            y = layers.layer_norm(x) * (1 + scale) + shift
            y = constrain(y.astype(self.dtype), "batch", "length", "features")
            y = constrain(module(y), "batch", "length", "features")
            return x + (1 + gate) * y

        attention = lambda name, **kwargs: Attention(
            self.heads,
            qk_norm=True,
            dtype=self.dtype,
            implementation=self.attention,
            name=name,
            **kwargs,
        )
        x = branch(x, attention("attn1", rotary_grid=self.grid))
        if sequence is not None:
            cross = attention("attn2", kernel_init=layers.fan_in_init)
            x = branch(x, lambda y: cross(y, sequence.astype(self.dtype)))
        environment = inputs.environment
        if environment is not None:
            beside = attention(
                "attn3",
                kernel_init=layers.fan_in_init,
                adds=False,
                lasting=False,
            )
            y = layers.layer_norm(x).astype(self.dtype)
            y = beside(y, environment.sequence.astype(self.dtype))
            if environment.present is not None:
                y = jnp.where(environment.present[:, None, None], y, 0)
            x = x + constrain(y, "batch", "length", "features")
        mlp = MLP(
            self.mlp, self.mlp_ratio, self.activation, self.grid, self.dtype, name="mlp"
        )
        return branch(x, mlp), None
