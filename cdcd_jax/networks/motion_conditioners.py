"""Conditioners of dances: one that keeps their time, and CDCD's own."""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks.encoded import Conditioner, Encoded
from cdcd_jax.networks.layers import unit_init
from cdcd_jax.networks.motion import MotionEncoder
from cdcd_jax.networks.reference_motion import ReferenceMotion


class Motion(Conditioner):
    """A dance, through temporal convolutions that keep its time.

    Attributes:
        shape: (frames, channels).
        frame_rate: frames a second, for people.
        align: features for each token, at its time.
        attend: also a sequence, to attend to.
        size, strides, depth, normalize: of the encoder, see `MotionEncoder`; size 0 for
            the width.
    """

    tower: ClassVar[bool] = True

    shape: tuple[int, ...]
    frame_rate: int = 60
    align: bool = True
    attend: bool = False
    size: int = 0
    strides: tuple[int, ...] = (2, 2)
    depth: int = 4
    normalize: bool = False

    @classmethod
    def gives_sequence(cls, spec: Mapping[str, Any]) -> bool:
        return spec.get("attend", cls.attend)

    @nn.compact
    def __call__(self, motion: jax.Array, drop: jax.Array) -> Encoded:
        """drop: bool [B], where true the dance is replaced by the null."""
        size = self.size or self.width
        encoder = MotionEncoder(
            size, self.strides, self.depth, self.normalize, name="tower"
        )
        x = self.fixed(encoder(motion))
        vector = self.to_vector(jnp.mean(x, axis=1), drop)
        aligned = sequence = None
        if self.align and self.modern:
            dense = nn.Dense(self.width, name="aligned")
            aligned = at_times(dense(x), self.length)
            aligned = self.or_null("null_aligned", aligned, drop)
        if self.attend:
            positions = self.param("positions", unit_init, x.shape[1:])
            sequence = self.or_null("null", x + positions, drop)
        return Encoded(sequence, vector, aligned)


class ReferenceDance(Conditioner):
    """A dance as CDCD's code encodes it, all of it in a sequence of one.

    Attributes:
        shape: (frames, channels).
        frame_rate: frames a second, for people.
        widths: see `ReferenceMotion`.
        size: features of the sequence.
    """

    tower: ClassVar[bool] = True

    shape: tuple[int, ...]
    frame_rate: int = 60
    widths: tuple[int, ...] = ()
    size: int = 1024

    @nn.compact
    def __call__(self, motion: jax.Array, drop: jax.Array) -> Encoded:
        """drop: bool [B], where true the dance is replaced by the null."""
        encoder = ReferenceMotion(self.widths, self.size, name="tower")
        x = self.fixed(encoder(motion))
        vector = self.to_vector(x[:, 0], drop)
        return Encoded(self.or_null("null", x, drop), vector)


def at_times(x: jax.Array, length: int) -> jax.Array:
    """[B, S, D] -> [B, length, D], linear between the middles of equal spans of time.

    Before the first and after the last middle the ends hold.
    """
    number = x.shape[1]
    place = (jnp.arange(length) + 0.5) * number / length - 0.5
    place = jnp.clip(place, 0.0, number - 1.0)
    below = jnp.floor(place).astype(jnp.int32)
    above = jnp.minimum(below + 1, number - 1)
    share = (place - below)[:, None]
    return x[:, below] * (1.0 - share) + x[:, above] * share
