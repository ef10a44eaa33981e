"""Conditioners: each turns one modality into a sequence [B, S, D] and a vector [B, D].

Every conditioner has a learned null for `drop`, so that guidance and unconditional
training need no special case. A conditioner returns an `Encoded`; several are joined by
`join`: sequences end to end, vectors added.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks.layers import normal_init


class Encoded(NamedTuple):
    """An encoded condition. An absent part is None."""

    sequence: jax.Array | None = None  # [B, S, D]
    vector: jax.Array | None = None  # [B, D]
    label: jax.Array | None = None  # int32 [B], of the 'selfcondition' denoiser


class Label(nn.Module):
    """A class label: int32 [B] -> vector [B, width]. The last entry is the null."""

    num_classes: int
    width: int

    @nn.compact
    def __call__(self, label: jax.Array, drop: jax.Array) -> Encoded:
        """drop: bool [B], where true the label is replaced by the null."""
        index = jnp.where(drop, self.num_classes, label)
        # of order 1, as the time's features are: what scales and shifts a block is a
        # product with this vector and learns at a pace that grows with it
        init = nn.initializers.normal(1.0)
        table = nn.Embed(
            self.num_classes + 1, self.width, embedding_init=init, name="table"
        )
        return Encoded(vector=table(index), label=index)


class Array(nn.Module):
    """A finished array: [B, S, C] passes as the sequence, [B, C] as the vector.

    The null is one learned array of the same shape.
    """

    shape: tuple[int, ...]
    width: int

    @nn.compact
    def __call__(self, array: jax.Array, drop: jax.Array) -> Encoded:
        """drop: bool [B], where true the array is replaced by the null."""
        null = self.param("null", normal_init, self.shape)
        drop = drop.reshape(drop.shape + (1,) * (array.ndim - 1))
        array = jnp.where(drop, null, array)
        if array.ndim == 3:
            return Encoded(sequence=array)
        dense = nn.Dense(self.width, kernel_init=normal_init, name="proj")
        return Encoded(vector=dense(array))


def make_conditioner(name: str, spec: Mapping[str, Any], width: int) -> nn.Module:
    """Builds the conditioner of modality `name` from `model.conditions[name]`.

    Raises:
        ValueError: unknown kind.
    """
    if spec["kind"] == "label":
        return Label(spec["num_classes"], width, name=name)
    if spec["kind"] == "array":
        return Array(tuple(spec["shape"]), width, name=name)
    raise ValueError(
        f"model.conditions.{name}.kind = {spec['kind']!r}: choose 'label' or 'array'"
    )


def join(parts: Sequence[Encoded]) -> Encoded:
    """Sequences end to end, vectors added, the label of the first that has one."""
    sequences = [p.sequence for p in parts if p.sequence is not None]
    vectors = [p.vector for p in parts if p.vector is not None]
    labels = [p.label for p in parts if p.label is not None]
    return Encoded(
        jnp.concatenate(sequences, axis=1) if sequences else None,
        sum(vectors[1:], start=vectors[0]) if vectors else None,
        labels[0] if labels else None,
    )
