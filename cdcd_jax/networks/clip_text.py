"""The text tower of CLIP: tokens of `data.bpe` to features (Radford et al. 2021).

A transformer with causal attention and QuickGELU. Weights come from `convert.clip`.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks.layers import gelu2, normal_init, per_token

Dtype = Any


class Block(nn.Module):
    """x + attention(ln(x)), then x + mlp(ln(x)).

    Attributes:
        heads: of the attention.
        causal: each token sees itself and what is before it.
        dtype: of the products.
        kernel_init: of all products.
    """

    heads: int
    causal: bool = True
    dtype: Dtype = jnp.float32
    kernel_init: nn.initializers.Initializer = normal_init

    @nn.compact
    def __call__(self, x: jax.Array, seen: jax.Array | None = None) -> jax.Array:
        """[B, L, D] -> [B, L, D]; seen: bool [B, L], the tokens that may be seen."""
        width = x.shape[-1]

        def dense(size: int, name: str, inputs: jax.Array) -> jax.Array:
            module = nn.Dense(
                size, kernel_init=self.kernel_init, dtype=self.dtype, name=name
            )
            return per_token(module, inputs)

        h = clip_norm("ln1")(x)
        shape = (*x.shape[:2], self.heads, width // self.heads)
        q, k, v = (dense(width, n, h).reshape(shape) for n in ("query", "key", "value"))
        mask = None if seen is None else seen[:, None, None, :]
        h = jax.nn.dot_product_attention(q, k, v, mask=mask, is_causal=self.causal)
        x = x + dense(width, "proj", h.reshape(x.shape))
        h = gelu2(dense(4 * width, "hidden", clip_norm("ln2")(x)))
        return x + dense(width, "out", h)


class ClipText(nn.Module):
    """CLIP's text tower; the defaults are those of ViT-B/32.

    VQ-Diffusion and CDCD condition on the sequence with `normalize`, 77 x 512 features
    that text_projection is not applied to (clip_text_embedding.py).

    Attributes:
        vocabulary: number of tokens; the largest one ends a text.
        length: tokens of a text, L.
        width: features, D.
        layers: number of blocks.
        heads: of the attention; divides the width.
        projection: features of the projected text, P; 0 for no projection.
        normalize: divide each token's features of the sequence by their norm.
        dtype: of the products; norms and results are float32.
    """

    vocabulary: int = 49408
    length: int = 77
    width: int = 512
    layers: int = 12
    heads: int = 8
    projection: int = 512
    normalize: bool = False
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Features of every token and of the text, which lie at its end token.

        Args:
            tokens: int [B, L], zeros after the end token. Nothing masks the zeros.

        Returns:
            float32 [B, L, D] after the last norm (Hugging Face's last_hidden_state),
            and [B, P], its row of the end token times text_projection (text_embeds;
            [B, D], pooler_output, without a projection).
        """
        table = nn.Embed(
            self.vocabulary, self.width, embedding_init=normal_init, name="tokens"
        )
        shape = (self.length, self.width)
        positions = self.param("positions", nn.initializers.normal(0.01), shape)
        x = table(tokens) + positions[: tokens.shape[1]]
        for i in range(self.layers):
            x = Block(self.heads, dtype=self.dtype, name=f"block_{i}")(x)
        sequence = clip_norm("ln_final")(x)
        end = jnp.argmax(tokens, axis=-1)
        pooled = jnp.take_along_axis(sequence, end[:, None, None], axis=1)[:, 0]
        if self.projection:
            init = nn.initializers.normal(self.width**-0.5)
            shape = (self.width, self.projection)
            pooled = pooled @ self.param("projection", init, shape)
        if self.normalize:
            sequence = sequence / jnp.linalg.norm(sequence, axis=-1, keepdims=True)
        return sequence, pooled


def clip_norm(name: str) -> nn.LayerNorm:
    """Layer norm in float32, whose variance is not a difference of large numbers."""
    return nn.LayerNorm(
        epsilon=1e-5, dtype=jnp.float32, use_fast_variance=False, name=name
    )
