"""Conditioners of what needs no encoder: labels, finished arrays, others' features."""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.errors import UsageError
from cdcd_jax.networks.encoded import Conditioner, Encoded
from cdcd_jax.networks.layers import normal_init, unit_init


class Label(Conditioner):
    """A class label or a genre, int32 [B]. The last entry of its table is the null.

    Attributes:
        num_classes: number of classes.
        names: of the classes, for people.
        sequence: features of a sequence of one in place of a vector; 0 for a vector.
    """

    integers: ClassVar[bool] = True

    num_classes: int
    names: tuple[str, ...] = ()
    sequence: int = 0

    @classmethod
    def gives_sequence(cls, spec: Mapping[str, Any]) -> bool:
        return bool(spec.get("sequence"))

    @classmethod
    def check(cls, name: str, spec: Mapping[str, Any]) -> None:
        number, classes = len(spec["names"]), spec["num_classes"]
        if number not in (0, classes):
            raise UsageError(
                f"Found model.conditions.{name} with {number} names; expected none, or "
                f"one for each of num_classes = {classes}; correct it."
            )

    @nn.compact
    def __call__(self, label: jax.Array, drop: jax.Array) -> Encoded:
        """drop: bool [B], where true the label is replaced by the null."""
        index = jnp.where(drop, self.num_classes, label)
        if not (self.modern or self.sequence):
            return Encoded(label=index)
        # of order 1, as the time's features are: what scales and shifts a block is a
        # product with this vector and learns at a pace that grows with it
        size = self.sequence or self.width
        table = nn.Embed(
            self.num_classes + 1, size, embedding_init=unit_init, name="table"
        )
        if self.sequence:
            return Encoded(sequence=table(index)[:, None])
        return Encoded(vector=table(index), label=index)


class Array(Conditioner):
    """A finished array: [B, S, C] passes as the sequence, [B, C] as the vector.

    Attributes:
        shape: (S, C) or (C,).
    """

    shape: tuple[int, ...]

    @classmethod
    def gives_sequence(cls, spec: Mapping[str, Any]) -> bool:
        return len(spec["shape"]) == 2

    @nn.compact
    def __call__(self, array: jax.Array, drop: jax.Array) -> Encoded:
        """drop: bool [B], where true the array is replaced by the null."""
        array = self.or_null("null", array, drop)
        if array.ndim == 3:
            return Encoded(sequence=array)
        dense = nn.Dense(self.width, kernel_init=normal_init, name="proj")
        return Encoded(vector=dense(array))


class Features(Conditioner):
    """Features of another network, such as I3D's of a video: projected, in order.

    Attributes:
        shape: (S, C).
        size: features of the sequence; 0 for the width.
        positions: add a learned table of positions.
        bias: of the projection.
    """

    shape: tuple[int, ...]
    size: int = 0
    positions: bool = True
    bias: bool = True

    @nn.compact
    def __call__(self, array: jax.Array, drop: jax.Array) -> Encoded:
        """drop: bool [B], where true the array is replaced by the null."""
        size = self.size or self.width
        dense = nn.Dense(size, use_bias=self.bias, kernel_init=normal_init, name="proj")
        x = dense(array)
        vector = self.to_vector(jnp.mean(x, axis=1), drop)
        if self.positions:
            shape = (self.shape[0], size)
            x = x + self.param("positions", normal_init, shape)
        return Encoded(self.or_null("null", x, drop), vector)
