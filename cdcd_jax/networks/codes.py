"""Codes of modalities: E_i from an array into the space of z, and the way back.

All codes have one shape, [B, L, C], that they may be summed in (`aggregation`). What a
head of the network says of modality i ([B, size], or [B, L, size] where the head is not
pooled) is read here too: as a loss, as nats, as the array itself, and as a code again.
`KINDS` is the one table; what a kind needs to know stands in its attributes.
"""

import math
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.diffusion.gaussian_terms import (
    decoder_nats,
    levels_of_tokens,
    tokens_of_levels,
)
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.patches import from_patches, to_patches


class Code(nn.Module):
    """What all kinds share.

    Attributes:
        space: (L, C) of z.
    """

    # the head reads the mean over tokens
    pooled: ClassVar[bool] = True
    # one of finitely many codes, which may be taken off a sum without an error
    discrete: ClassVar[bool] = True

    space: tuple[int, int]

    @property
    def size(self) -> int:
        """Of the head: features of a token, or of all where it is pooled."""
        raise NotImplementedError

    def check(self, name: str) -> None:
        """Raises UsageError where modality `name` does not fit into the space."""

    def __call__(self, x: jax.Array) -> jax.Array:
        """E(x), float32 [B, L, C]; of a picture or a vector, or of a class's table."""
        raise NotImplementedError

    def loss(self, said: jax.Array, x: jax.Array) -> jax.Array:
        """What the head is trained by, [B]."""
        return self.nats(said, x)

    def nats(self, said: jax.Array, x: jax.Array) -> jax.Array:
        """-log p(x | z) of what the head said, [B]."""
        raise NotImplementedError

    def recode(self, said: jax.Array) -> jax.Array:
        """The expected code, float32 [B, L, C]."""
        raise NotImplementedError

    def drawn(self, said: jax.Array) -> jax.Array:
        """The likeliest x, or its mean."""
        raise NotImplementedError


class _Table(Code):
    """Codes of symbols: `rows`, a table of signs, which are far from each other."""

    def log_p(self, said: jax.Array) -> jax.Array:
        """Logarithms of probabilities in place of logits, in their shape."""
        raise NotImplementedError

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.rows[x].reshape(-1, *self.space)

    def table(self, symbols: int, features: int) -> jax.Array:
        """float32 [symbols, features], at first random +1 or -1, no two rows equal."""
        return self.param("table", signs, (symbols, features))


def signs(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Rows of random signs, float32 [symbols, features], no two of them equal.

    Args:
        shape: with 2^features >= symbols.
    """
    symbols, features = shape
    bits = _bits(symbols)
    if features > 2 * bits + 24:  # where two are equal in one of 2^25 tables at most
        return jax.random.rademacher(key, shape, jnp.float32)
    key_numbers, key_rest = jax.random.split(key)
    # different numbers, written in bits
    numbers = jax.random.permutation(key_numbers, 2**bits)[:symbols, None]
    told = 2.0 * ((numbers >> jnp.arange(bits)) & 1) - 1.0
    rest = jax.random.rademacher(key_rest, (symbols, features - bits), jnp.float32)
    return jnp.concatenate([told, rest], axis=1)


def _bits(symbols: int) -> int:
    """Signs that it takes to tell so many symbols apart."""
    return (symbols - 1).bit_length()


class LabelCode(_Table):
    """A class, int32 [B]: a row of signs as large as z.

    Attributes:
        num_classes: number of classes.
    """

    num_classes: int

    @property
    def size(self) -> int:
        return self.num_classes

    def check(self, name: str) -> None:
        whole, bits = math.prod(self.space), _bits(self.num_classes)
        if bits > whole:
            raise UsageError(
                f"Found modality {name!r} of {self.num_classes} classes in {whole} "
                f"numbers of z; expected {bits} of them or more; raise model.channels, "
                "or enlarge model.grid."
            )

    def setup(self) -> None:
        self.rows = self.table(self.num_classes, math.prod(self.space))

    def nats(self, said: jax.Array, x: jax.Array) -> jax.Array:
        return _cross_entropy(said, x)

    def log_p(self, said: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(said)

    def recode(self, said: jax.Array) -> jax.Array:
        return (jax.nn.softmax(said) @ self.rows).reshape(-1, *self.space)

    def drawn(self, said: jax.Array) -> jax.Array:
        return jnp.argmax(said, axis=-1).astype(jnp.int32)


class TokensCode(_Table):
    """Tokens int32 [B, S], such as a caption's: each a row of signs, end to end.

    Attributes:
        num_codes: K.
        length: S.
    """

    num_codes: int
    length: int

    @property
    def pooled(self) -> bool:  # each token of z reads its own where they share evenly
        return self.length % self.space[0] != 0

    @property
    def size(self) -> int:
        return self.num_codes * (
            self.length if self.pooled else self.length // self.space[0]
        )

    def check(self, name: str) -> None:
        whole = math.prod(self.space)
        features = whole // self.length
        if whole % self.length or features < _bits(self.num_codes):
            raise UsageError(
                f"Found modality {name!r} of {self.length} tokens of {self.num_codes} "
                f"codes in {whole} numbers of z; expected a length that divides them, "
                f"with {_bits(self.num_codes)} numbers a token or more; change its "
                "length or model.channels."
            )

    def setup(self) -> None:
        self.rows = self.table(self.num_codes, math.prod(self.space) // self.length)

    def nats(self, said: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.sum(_cross_entropy(self._logits(said), x), axis=-1)

    def loss(self, said: jax.Array, x: jax.Array) -> jax.Array:
        return self.nats(said, x) / self.length

    def log_p(self, said: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(self._logits(said)).reshape(said.shape)

    def recode(self, said: jax.Array) -> jax.Array:
        return (jax.nn.softmax(self._logits(said)) @ self.rows).reshape(-1, *self.space)

    def drawn(self, said: jax.Array) -> jax.Array:
        return jnp.argmax(self._logits(said), axis=-1).astype(jnp.int32)

    def _logits(self, said: jax.Array) -> jax.Array:
        """[B, S, K] of what the head said."""
        return said.reshape(-1, self.length, self.num_codes)


class ImageCode(Code):
    """A picture, int32 [B, N] of K levels: its patches. -1 is an unknown pixel.

    Of such a one the code is 0, which its head learns to say; it has no likelihood.

    Attributes:
        levels: K.
        pixels: (H, W, channels).
        patch: pixels a side of a token of z.
        deviation: of the decoder p(x | z) = N(said, deviation^2), in pixels in [-1, 1].
    """

    pooled: ClassVar[bool] = False
    discrete: ClassVar[bool] = False

    levels: int
    pixels: tuple[int, int, int]
    patch: int
    deviation: float = 0.2

    @property
    def size(self) -> int:
        return self.space[1]

    def check(self, name: str) -> None:
        (height, width, channels), (length, features) = self.pixels, self.space
        across = height // self.patch * (width // self.patch)
        fits = not (height % self.patch or width % self.patch)
        if not fits or (across, self.patch**2 * channels) != self.space:
            raise UsageError(
                f"Found modality {name!r} of {height} x {width} pixels of {channels} "
                f"channels with model.patch = {self.patch}; expected patches as z has "
                f"them, {length} of {features} numbers; correct model.patch, "
                "model.grid or model.channels."
            )

    def __call__(self, x: jax.Array) -> jax.Array:
        known = x >= 0  # elsewhere it is 0, in the middle
        return self.cut(jnp.where(known, levels_of_tokens(x, self.levels), 0.0))

    def cut(self, pixels: jax.Array) -> jax.Array:
        """What is said of each pixel, [B, N] -> [B, L, C]."""
        return to_patches(pixels.reshape(-1, *self.pixels), self.patch)

    def loss(self, said: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.mean(jnp.square(said - self(x)), axis=(1, 2))

    def nats(self, said: jax.Array, x: jax.Array) -> jax.Array:
        nats = decoder_nats(self(x), said, self.deviation, self.levels)
        return jnp.sum(jnp.where(self.cut(x >= 0), nats, 0.0), axis=(1, 2))

    def recode(self, said: jax.Array) -> jax.Array:
        return said

    def drawn(self, said: jax.Array) -> jax.Array:
        joined = from_patches(said, self.patch, self.pixels[:2])
        return tokens_of_levels(joined.reshape(len(said), -1), self.levels)


class VectorCode(Code):
    """A vector, float32 [B, F], of length 1 if `weight` is to mean what it does.

    Turned into the space of z without a loss, and as long there as a picture.

    Attributes:
        features: F.
        deviation: of the decoder p(x | z) = N(said, deviation^2 / F).
    """

    discrete: ClassVar[bool] = False

    features: int
    deviation: float = 0.2

    @property
    def size(self) -> int:
        return self.features

    def check(self, name: str) -> None:
        whole = math.prod(self.space)
        if self.features > whole:
            raise UsageError(
                f"Found modality {name!r} of {self.features} features in {whole} "
                "numbers of z; expected no more than these; shorten it, or raise "
                "model.channels."
            )

    def setup(self) -> None:
        whole = math.prod(self.space)
        init = nn.initializers.orthogonal(math.sqrt(whole))
        self.turn = self.param("turn", init, (self.features, whole))

    def __call__(self, x: jax.Array) -> jax.Array:
        return (x @ self.turn).reshape(-1, *self.space)

    def loss(self, said: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(said - x), axis=-1)

    def nats(self, said: jax.Array, x: jax.Array) -> jax.Array:
        sigma = self.deviation / math.sqrt(self.features)
        return jnp.sum(decoder_nats(x, said, sigma, 0), axis=-1)

    def recode(self, said: jax.Array) -> jax.Array:
        return self(said)

    def drawn(self, said: jax.Array) -> jax.Array:
        return said


KINDS: dict[str, type[Code]] = {
    "image": ImageCode,
    "masked_image": ImageCode,
    "label": LabelCode,
    "vector": VectorCode,
    "tokens": TokensCode,
}


def _cross_entropy(logits: jax.Array, x: jax.Array) -> jax.Array:
    """-log p of x int32 [...] by logits [..., K]."""
    log_p = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_p, x[..., None], axis=-1)[..., 0]
