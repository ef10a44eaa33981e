"""The denoiser: noisy tokens, time and an encoded condition -> logits of x_0.

Four forms in one module. 'self', 'selfcondition' and 'selfcross' hold the weights of
the reference's three transformers (VQ-Diffusion and CDCD, transformer_utils.py): tables
of t' = t - 1, factorised position tables, and the condition as nothing, a class
table in every block, or a sequence for cross-attention. 'modern' is ours: time is
continuous, so that one network serves any T and any grid of times; time and condition
vector set scale, shift and gate of every branch (after Peebles and Xie 2023, but all
branches start open); queries and keys are normalised; positions are rotary in both axes
of the grid; cross-attention is there when the condition has a sequence, and what a
condition says of each token is added to it.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks import conditioners, layers
from cdcd_jax.networks.layers import MLP, Attention, Head, TableNorm, normal_init
from cdcd_jax.networks.partition import constrain

FORMS = ("modern", "self", "selfcondition", "selfcross")
# What the backward pass finds instead of computing it again.
REMAT = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class BlockInputs(NamedTuple):
    """What every block sees besides the tokens."""

    time_index: jax.Array  # int32 [B], t' = t - 1
    encoded: conditioners.Encoded
    vector: jax.Array | None  # [B, D], time and condition (modern form)


class ReferenceBlock(nn.Module):
    """A block of the reference's 'self', 'selfcondition' or 'selfcross' transformer."""

    form: str
    heads: int
    mlp: str
    mlp_ratio: int
    activation: str
    grid: tuple[int, int]
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
    """Self-attention, cross-attention to a sequence if there is one, and MLP."""

    heads: int
    mlp: str
    mlp_ratio: int
    activation: str
    grid: tuple[int, int]
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
        mlp = MLP(
            self.mlp, self.mlp_ratio, self.activation, self.grid, self.dtype, name="mlp"
        )
        return branch(x, mlp), None


class Denoiser(nn.Module):
    """p_theta(x_0 | x_t, condition) as logits.

    Attributes:
        form: one of `FORMS`.
        num_codes: K.
        grid: (H, W) of the tokens, row-major; (1, L) for sound.
        width, depth, heads: of the transformer.
        mlp: 'fc' or 'conv' (3 x 3 on the grid).
        mlp_ratio: hidden width over width.
        activation: a key of `layers.ACTIVATIONS`.
        timesteps: T; the length of the learned time tables, and the unit of t.
        num_classes: of the class table in the 'selfcondition' form.
        position_grid: size of the learned position tables of the reference forms; None
            for `grid`. Larger tables are read row-major and cut to L, as the reference
            does.
        scan_layers: stacks the blocks' parameters and scans over them.
        remat: 'none', 'full' (keep only the blocks' inputs) or 'dots' (keep matrix
            products).
        dtype: of the matrix products; logits are float32.
        attention: see `networks.attention`.
        embedding_scale: deviation of what the tables of tokens and, in the modern form,
            of positions start from.
    """

    form: str
    num_codes: int
    grid: tuple[int, int]
    width: int
    depth: int
    heads: int
    mlp: str
    mlp_ratio: int
    activation: str
    timesteps: int
    num_classes: int = 0
    position_grid: tuple[int, int] | None = None
    scan_layers: bool = False
    remat: str = "none"
    dtype: Any = jnp.float32
    attention: str = "auto"
    embedding_scale: float = 0.02

    def setup(self) -> None:
        init = layers.fan_in_init if self.form == "modern" else normal_init
        self.logits = Head(self.num_codes, self.dtype, init)

    def __call__(
        self, x_t: jax.Array, t: jax.Array, encoded: conditioners.Encoded
    ) -> jax.Array:
        """Tokens int32 [B, L] (M where masked), t int32 [B] -> float32 [B, L, K]."""
        return self.logits(self.features(x_t, t, encoded))

    @nn.compact
    def features(
        self, x_t: jax.Array, t: jax.Array, encoded: conditioners.Encoded
    ) -> jax.Array:
        """What the logits are a linear function of, [B, L, D]."""
        modern = self.form == "modern"
        init = nn.initializers.normal(self.embedding_scale)
        x = nn.Embed(
            self.num_codes + 1, self.width, embedding_init=init, name="tokens"
        )(x_t)
        x = constrain(x, "batch", "length", "features")
        if modern:
            table = self.param(
                "positions", init, (x_t.shape[1], self.width), jnp.float32
            )
            x, vector = x + table, self._vector(t, encoded)
            if encoded.aligned is not None:
                x = x + encoded.aligned
        else:
            x, vector = x + self._factorised_positions(x_t.shape[1]), None
        x = constrain(x, "batch", "length", "features")
        x = self._blocks(x, BlockInputs(t - 1, encoded, vector))
        if modern:
            both = nn.Dense(
                2 * self.width, kernel_init=nn.initializers.zeros, name="modulation"
            )(jax.nn.silu(vector))
            both = constrain(both, "batch", "features")[:, None, :]
            scale, shift = jnp.split(both, 2, axis=-1)
            x = layers.layer_norm(x) * (1 + scale) + shift
        else:
            x = nn.LayerNorm(epsilon=1e-5, name="norm")(x)
        return constrain(x.astype(self.dtype), "batch", "length", "features")

    def _vector(self, t: jax.Array, encoded: conditioners.Encoded) -> jax.Array:
        time = layers.time_embedding(t / self.timesteps, 2 * (self.width // 2))
        dense = lambda name: nn.Dense(self.width, name=name)
        vector = dense("time_2")(jax.nn.silu(dense("time_1")(time)))
        if encoded.vector is not None:
            vector = vector + encoded.vector
        return constrain(vector, "batch", "features")

    def _factorised_positions(self, length: int) -> jax.Array:
        height, width = self.position_grid or self.grid
        table = lambda name, size: self.param(
            name, normal_init, (size, self.width), jnp.float32
        )
        rows, columns = table("rows", height), table("columns", width)
        return (rows[:, None, :] + columns[None, :, :]).reshape(-1, self.width)[:length]

    def _blocks(self, x: jax.Array, inputs: BlockInputs) -> jax.Array:
        kwargs = dict(
            heads=self.heads,
            mlp=self.mlp,
            mlp_ratio=self.mlp_ratio,
            activation=self.activation,
            grid=self.grid,
            dtype=self.dtype,
            attention=self.attention,
        )
        block = ModernBlock
        if self.form != "modern":
            block = ReferenceBlock
            kwargs.update(
                form=self.form, timesteps=self.timesteps, num_classes=self.num_classes
            )
        if self.remat != "none":
            block = nn.remat(
                block, policy=REMAT[self.remat], prevent_cse=not self.scan_layers
            )
        if self.scan_layers:
            stack = nn.scan(
                block,
                variable_axes={"params": 0, "cache": 0},
                split_rngs={"params": True},
                in_axes=nn.broadcast,
                length=self.depth,
                metadata_params={nn.PARTITION_NAME: "layers"},
            )
            return stack(**kwargs, name="blocks")(x, inputs)[0]
        for i in range(self.depth):
            x, _ = block(**kwargs, name=f"blocks_{i}")(x, inputs)
        return x


class ConditionalDenoiser(nn.Module):
    """Conditioners and denoiser together, so that they share one parameter tree.

    Attributes:
        denoiser: the settings of `Denoiser`.
        conditions: modality -> settings of its conditioner.
        join: of several sequences, see `conditioners.join`.
    """

    denoiser: dict[str, Any]
    conditions: dict[str, Any]
    join: str = "concat"

    def setup(self) -> None:
        settings = self.denoiser
        self.network = Denoiser(**settings)
        length = settings["grid"][0] * settings["grid"][1]
        modern = settings["form"] == "modern"
        self.encoders = {
            name: conditioners.make_conditioner(
                name, spec, settings["width"], length, modern
            )
            for name, spec in self.conditions.items()
        }

    def encode(
        self, condition: dict[str, jax.Array], drop: jax.Array
    ) -> conditioners.Encoded:
        """Arrays [B, ...] by modality; drop bool [B]: where true, all nulls at once."""
        return conditioners.join(
            [self.encoders[name](condition[name], drop) for name in self.encoders],
            self.join,
        )

    def features(
        self, x_t: jax.Array, t: jax.Array, encoded: conditioners.Encoded
    ) -> jax.Array:
        """[B, L, D]; `head` makes logits of it."""
        return self.network.features(x_t, t, encoded)

    def head(self, features: jax.Array) -> jax.Array:
        """[B, l, D] of any tokens -> logits float32 [B, l, K]."""
        return self.network.logits(features)

    def denoise(
        self, x_t: jax.Array, t: jax.Array, encoded: conditioners.Encoded
    ) -> jax.Array:
        """See `Denoiser.__call__`."""
        return self.network(x_t, t, encoded)

    def __call__(
        self,
        x_t: jax.Array,
        t: jax.Array,
        condition: dict[str, jax.Array],
        drop: jax.Array,
    ) -> jax.Array:
        """Logits float32 [B, L, K]."""
        return self.denoise(x_t, t, self.encode(condition, drop))
