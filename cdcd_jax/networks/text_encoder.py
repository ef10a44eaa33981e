"""A small encoder of texts that is trained from scratch with what it conditions."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks.clip_text import Block
from cdcd_jax.networks.layers import fan_in_init, layer_norm, unit_init


class TextEncoder(nn.Module):
    """Tokens int [B, S] -> features of each, float32 [B, S, size].

    A transformer in which each token sees all tokens but the fillings (0), whose
    features are zero.

    Attributes:
        vocabulary: number of tokens; 0 fills up.
        length: S.
        size, depth, heads: of the transformer.
        dtype: of its products.
    """

    vocabulary: int
    length: int
    size: int
    depth: int
    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """See the class."""
        table = nn.Embed(
            self.vocabulary, self.size, embedding_init=unit_init, name="tokens"
        )
        positions = self.param("positions", unit_init, (self.length, self.size))
        x = table(tokens) + positions
        for i in range(self.depth):
            block = Block(
                self.heads,
                causal=False,
                dtype=self.dtype,
                kernel_init=fan_in_init,
                name=f"block_{i}",
            )
            x = block(x, seen(tokens))
        return jnp.where((tokens > 0)[..., None], layer_norm(x), 0.0)


def seen(tokens: jax.Array) -> jax.Array:
    """Which tokens of a text are read, bool [B, S]: all but the fillings.

    A text of fillings alone, as initialisation has it, is read whole.
    """
    real = tokens > 0
    return real | ~jnp.any(real, axis=1, keepdims=True)


class Reader(nn.Module):
    """Learned queries read a text: [B, S, C] -> [B, N, size].

    A mean over the text says too little of a single word; a query finds the words that
    it needs.

    Attributes:
        queries: N.
        heads: of the attention; divides `size`.
        size: of what is read.
    """

    queries: int
    heads: int
    size: int

    @nn.compact
    def __call__(self, x: jax.Array, seen: jax.Array) -> jax.Array:
        """seen: bool [B, S], false where there is nothing to read."""
        shape = (self.heads, self.size // self.heads)
        query = self.param("queries", unit_init, (1, self.queries, *shape))
        key, value = (nn.DenseGeneral(shape, name=n)(x) for n in ("key", "value"))
        read = jax.nn.dot_product_attention(
            jnp.broadcast_to(query, (len(x), *query.shape[1:])),
            *(key, value),
            mask=seen[:, None, None, :],
        )
        return nn.Dense(self.size, name="out")(read.reshape(*read.shape[:2], -1))
