"""A small encoder of texts that is trained from scratch with what it conditions."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks.clip_text import Block
from cdcd_jax.networks.layers import fan_in_init, layer_norm, unit_init


class TextEncoder(nn.Module):
    """Tokens int [B, S] -> features of each [B, S, size] and of the text [B, size].

    A transformer in which each token sees all tokens but the fillings (0).

    Attributes:
        vocabulary: number of tokens; 0 fills up.
        length: S.
        size, depth, heads: of the transformer.
    """

    vocabulary: int
    length: int
    size: int
    depth: int
    heads: int

    @nn.compact
    def __call__(self, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The second result is the mean over the text's own tokens."""
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
        weight = seen[..., None] / jnp.sum(seen, axis=1)[:, None, None]
        return x, jnp.sum(weight * x, axis=1)
