"""A small encoder of texts that is trained from scratch with what it conditions."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks.clip_text import Block
from cdcd_jax.networks.layers import fan_in_init, layer_norm, unit_init


class TextEncoder(nn.Module):
    """Tokens int [B, S] -> features of each [B, S, size] and of the text [B, N size].

    A transformer in which each token sees all tokens but the fillings (0), whose
    features are zero. The text as a whole is read by N learned queries: its mean says
    too little of a single word.

    Attributes:
        vocabulary: number of tokens; 0 fills up.
        length: S.
        size, depth, heads: of the transformer.
        queries: N.
    """

    vocabulary: int
    length: int
    size: int
    depth: int
    heads: int
    queries: int

    @nn.compact
    def __call__(self, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
        """See the class."""
        table = nn.Embed(
            self.vocabulary, self.size, embedding_init=unit_init, name="tokens"
        )
        positions = self.param("positions", unit_init, (self.length, self.size))
        x = table(tokens) + positions
        real = tokens > 0
        # a text of fillings alone, as initialisation has it, sees itself
        seen = real | ~jnp.any(real, axis=1, keepdims=True)
        for i in range(self.depth):
            block = Block(
                self.heads, causal=False, kernel_init=fan_in_init, name=f"block_{i}"
            )
            x = block(x, seen)
        x = layer_norm(x)
        query = self.param("queries", unit_init, (1, self.queries, 1, self.size))
        key, value = (
            nn.Dense(self.size, name=n)(x)[:, :, None] for n in ("key", "value")
        )
        read = jax.nn.dot_product_attention(
            jnp.broadcast_to(query, (len(x), *query.shape[1:])),
            *(key, value),
            mask=seen[:, None, None, :],
        )
        return jnp.where(real[..., None], x, 0.0), read.reshape(len(x), -1)
