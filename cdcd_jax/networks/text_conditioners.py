"""Conditioners of texts: a small encoder that is trained along, and CLIP's tower."""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax

from cdcd_jax.networks.clip_text import ClipText
from cdcd_jax.networks.encoded import Conditioner, Encoded
from cdcd_jax.networks.text_encoder import Reader, TextEncoder, seen


class Text(Conditioner):
    """Tokens of a text, through a small encoder that is trained with the denoiser.

    Attributes:
        shape: (S,), tokens of a text; 0 fills up.
        vocabulary: number of tokens.
        size, depth, heads: see `TextEncoder`; size 0 for the width.
        queries: that read the text for the vector.
        align: features for each token of the picture, which reads the text with a
            query of its own: what is where is then known before anything is seen.
        attend: also a sequence, to attend to.
    """

    integers: ClassVar[bool] = True
    tower: ClassVar[bool] = True
    # tokens read a text with the width of the denoiser
    at_width: ClassVar[bool] = True

    shape: tuple[int, ...]
    vocabulary: int
    size: int = 0
    depth: int = 2
    heads: int = 4
    queries: int = 8
    align: bool = True
    attend: bool = True

    @classmethod
    def gives_sequence(cls, spec: Mapping[str, Any]) -> bool:
        return spec.get("attend", cls.attend)

    @nn.compact
    def __call__(self, tokens: jax.Array, drop: jax.Array) -> Encoded:
        """drop: bool [B], where true the text is replaced by the null."""
        size = self.size or self.width
        encoder = TextEncoder(
            self.vocabulary,
            *(self.shape[0], size, self.depth, self.heads),
            name="tower",
        )
        x, readable = self.fixed(encoder(tokens)), seen(tokens)
        aligned = sequence = vector = None
        if self.modern:
            reader = Reader(self.queries, self.heads, size, name="reader")
            read = reader(x, readable)
            vector = self.to_vector(read.reshape(len(x), -1), drop)
        if self.align and self.modern:
            reader = Reader(self.length, self.heads, self.width, name="aligned")
            aligned = self.or_null("null_aligned", reader(x, readable), drop)
        if self.attend:
            sequence = self.or_null("null", x, drop)
        return Encoded(sequence, vector, aligned)


class ClipTextTower(Conditioner):
    """Tokens of a text, through CLIP's tower; see `ClipText` for the attributes."""

    integers: ClassVar[bool] = True
    tower: ClassVar[bool] = True

    shape: tuple[int, ...] = (77,)
    vocabulary: int = 49408
    size: int = 512
    depth: int = 12
    heads: int = 8
    projection: int = 512
    normalize: bool = True

    @nn.compact
    def __call__(self, tokens: jax.Array, drop: jax.Array) -> Encoded:
        """drop: bool [B], where true the text is replaced by the null."""
        tower = ClipText(
            self.vocabulary,
            self.shape[0],
            self.size,
            self.depth,
            self.heads,
            self.projection,
            self.normalize,
            name="tower",
        )
        sequence, pooled = self.fixed(tower(tokens))
        vector = self.to_vector(pooled, drop)
        return Encoded(self.or_null("null", sequence, drop), vector)
