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

Its doors: in come codes or values; out go heads by name, that read the same features.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.errors import UsageError
from cdcd_jax.networks import conditioners, layers, presence
from cdcd_jax.networks.blocks import BlockInputs, ModernBlock, ReferenceBlock
from cdcd_jax.networks.encoded import Encoded, Environment, join
from cdcd_jax.networks.layers import Head, normal_init
from cdcd_jax.networks.partition import constrain
from cdcd_jax.networks.positions import Grid, length_of
from cdcd_jax.networks.prompt_conditioners import KIND, WEIGHT, Mixture

FORMS = ("modern", "self", "selfcondition", "selfcross")
# What the backward pass finds instead of computing it again.
REMAT = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class Denoiser(nn.Module):
    """p_theta(x_0 | x_t, condition) as logits.

    Attributes:
        form: one of `FORMS`.
        num_codes: K.
        grid: of the tokens, see `positions`.
        width, depth, heads: of the transformer.
        mlp: 'fc' or 'conv', see `layers.MLP`.
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
        inputs: 'tokens', codes int32 [B, L] (M where masked), or 'values', float
            [B, L, C].
        outputs: name -> size of the heads; None for logits of the codes alone.
        environment: features of what it may see beside its condition (modern form), by
            an attention of each block and, on average, as it sees its time; 0 for none,
            and no parameters.

    Raises:
        UsageError: an environment for one of the reference's forms.
    """

    form: str
    num_codes: int
    grid: Grid
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
    inputs: str = "tokens"
    outputs: Mapping[str, int] | None = None
    environment: int = 0

    def setup(self) -> None:
        if self.environment and self.form != "modern":
            raise UsageError(
                f"Found an environment of {self.environment} features in the form "
                f"{self.form!r}; expected it in the form 'modern', which alone has a "
                "branch for it; take that form, or environment = 0."
            )
        init = layers.fan_in_init if self.form == "modern" else normal_init
        outputs = self.outputs or {"logits": self.num_codes}
        # named, so that the tree has `logits` where it always was
        self.read_by = {
            name: Head(size, self.dtype, init, name=name)
            for name, size in outputs.items()
        }

    def __call__(
        self,
        x_t: jax.Array,
        t: jax.Array,
        encoded: Encoded,
        environment: Environment | None = None,
    ) -> jax.Array | dict[str, jax.Array]:
        """x_t as `inputs` says, t int32 [B] -> float32 [B, L, K], logits.

        With `outputs`, what each head reads: {name: float32 [B, L, size]}.
        """
        features = self.features(x_t, t, encoded, environment)
        if self.outputs is None:
            return self.read(features)
        return {name: self.read(features, name) for name in self.outputs}

    def read(self, features: jax.Array, name: str = "logits") -> jax.Array:
        """[B, l, D] of any tokens -> what head `name` makes of it, float32."""
        return self.read_by[name](features)

    @nn.compact
    def features(
        self,
        x_t: jax.Array,
        t: jax.Array,
        encoded: Encoded,
        environment: Environment | None = None,
    ) -> jax.Array:
        """What all heads are linear functions of, [B, L, D]."""
        modern = self.form == "modern"
        if self.environment and environment is None and self.is_initializing():
            # its parameters are there whether or not anything stands beside
            environment = Environment(jnp.zeros((len(x_t), 1, self.environment)))
        init = nn.initializers.normal(self.embedding_scale)
        if self.inputs == "tokens":
            codes = self.num_codes + 1
            embed = nn.Embed(codes, self.width, embedding_init=init, name="tokens")
        else:
            embed = nn.Dense(self.width, name="patches")
        x = constrain(embed(x_t), "batch", "length", "features")
        if modern:
            table = self.param(
                "positions", init, (x_t.shape[1], self.width), jnp.float32
            )
            x, vector = x + table, self._vector(t, encoded, environment)
            if encoded.aligned is not None:
                x = x + encoded.aligned
        else:
            x, vector = x + self._factorised_positions(x_t.shape[1]), None
        x = constrain(x, "batch", "length", "features")
        x = self._blocks(x, BlockInputs(t - 1, encoded, vector, environment))
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

    def _vector(
        self, t: jax.Array, encoded: Encoded, environment: Environment | None
    ) -> jax.Array:
        time = layers.time_embedding(t / self.timesteps, 2 * (self.width // 2))
        dense = lambda name: nn.Dense(self.width, name=name)
        vector = dense("time_2")(jax.nn.silu(dense("time_1")(time)))
        if encoded.vector is not None:
            vector = vector + encoded.vector
        if environment is not None:
            beside = nn.Dense(
                self.width,
                use_bias=False,  # no environment adds nothing
                kernel_init=nn.initializers.zeros,
                name="environment",
            )(jnp.mean(environment.sequence, axis=1))
            if environment.present is not None:
                beside = jnp.where(environment.present[:, None], beside, 0)
            vector = vector + beside
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
        if self.form == "modern":
            block = ModernBlock
        else:
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
        join: of several sequences, see `encoded.join`.
        prompt_noise: see `Mixture`.
    """

    denoiser: dict[str, Any]
    conditions: dict[str, Any]
    join: str = "concat"
    prompt_noise: float = 0.0

    def setup(self) -> None:
        settings = self.denoiser
        self.network = Denoiser(**settings)
        length = length_of(settings["grid"])
        modern = settings["form"] == "modern"
        self.encoders = {
            name: conditioners.make_conditioner(
                name, spec, settings["width"], length, modern
            )
            for name, spec in self.conditions.items()
        }
        if any(spec["kind"] == KIND for spec in self.conditions.values()):
            self.prompt = Mixture(settings["width"], self.prompt_noise)

    @property
    def blurs(self) -> bool:
        """Whether there are prompts, and random numbers are added to them."""
        prompts = any(spec["kind"] == KIND for spec in self.conditions.values())
        return prompts and self.prompt_noise > 0

    def encode(
        self, condition: Mapping[str, jax.Array], drop: presence.Drop
    ) -> Encoded:
        """Arrays [B, ...] by modality -> what the denoiser takes.

        Args:
            condition, drop: see `presence.nulls`; of what is left out the null is
                taken. Of prompts `<name>/weight` [B] may say their shares, else these
                are equal. With a stream `prompt` of random numbers they are blurred.
        """
        nulls = presence.nulls(self.conditions, condition, drop)

        def encoded(name: str) -> Encoded:
            null = nulls[name]
            given = condition.get(name)
            if given is None:
                given = conditioners.empty(self.conditions[name], len(null))
            return self.encoders[name](given, null)

        parts = {name: encoded(name) for name in self.encoders}
        prompts = {n: p.prompt for n, p in parts.items() if p.prompt is not None}
        if prompts:
            share = lambda name: condition.get(f"{name}{WEIGHT}", jnp.float32(1.0))
            shares = [jnp.where(nulls[name], 0.0, share(name)) for name in prompts]
            mixed = self.prompt(list(prompts.values()), shares)
            parts["prompt"] = Encoded(vector=mixed)
        return join(list(parts.values()), self.join)

    def features(
        self,
        x_t: jax.Array,
        t: jax.Array,
        encoded: Encoded,
        environment: Environment | None = None,
    ) -> jax.Array:
        """[B, L, D]; `head` makes logits of it."""
        return self.network.features(x_t, t, encoded, environment)

    def head(self, features: jax.Array) -> jax.Array:
        """[B, l, D] of any tokens -> logits float32 [B, l, K]."""
        return self.network.read(features)

    def denoise(
        self,
        x_t: jax.Array,
        t: jax.Array,
        encoded: Encoded,
        environment: Environment | None = None,
    ) -> jax.Array:
        """See `Denoiser.__call__`."""
        return self.network(x_t, t, encoded, environment)

    def __call__(
        self,
        x_t: jax.Array,
        t: jax.Array,
        condition: Mapping[str, jax.Array],
        drop: presence.Drop,
    ) -> jax.Array:
        """Logits float32 [B, L, K]."""
        return self.denoise(x_t, t, self.encode(condition, drop))
