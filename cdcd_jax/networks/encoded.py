"""What a condition becomes, and what everything that encodes one shares.

Every conditioner has a learned null for `drop`, so that guidance, unconditional
training and absent conditions need no special case. What several conditions become is
joined end to end or added.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.errors import UsageError
from cdcd_jax.networks.layers import normal_init

JOINS = ("concat", "add")


class Encoded(NamedTuple):
    """An encoded condition. An absent part is None."""

    sequence: jax.Array | None = None  # [B, S, D], to attend to
    vector: jax.Array | None = None  # [B, width], beside the time
    aligned: jax.Array | None = None  # [B, L, width], one for each token
    label: jax.Array | None = None  # int32 [B], of the 'selfcondition' denoiser
    prompt: jax.Array | None = None  # [B, F], one of those that are mixed


class Conditioner(nn.Module):
    """What all conditioners share.

    Attributes:
        width: of the denoiser.
        length: its tokens, L.
        modern: whether the denoiser takes a vector and what is aligned; the
            reference's forms take a sequence or a label alone.
        frozen: the encoder called 'tower' is not trained.

    What a kind says of itself is no attribute:
        integers: its values are whole numbers, else float32.
        tower: it has an encoder of that name, which frozen=True keeps as it is.
        at_width: its heads divide the width of the denoiser too, not its size alone.
    """

    integers: ClassVar[bool] = False
    tower: ClassVar[bool] = False
    at_width: ClassVar[bool] = False

    width: int
    length: int
    modern: bool
    frozen: bool

    @classmethod
    def gives_sequence(cls, spec: Mapping[str, Any]) -> bool:
        """Whether one of this description gives a sequence to attend to."""
        return True

    @classmethod
    def completed(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        """A description with what follows from the rest of it."""
        return dict(spec)

    @classmethod
    def holds(cls, spec: Mapping[str, Any]) -> Any:
        """Type of its values."""
        return jnp.int32 if cls.integers else jnp.float32

    @classmethod
    def content(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        """What it is given, as a description by which that is read and shown."""
        return dict(spec)

    @classmethod
    def check(cls, name: str, spec: Mapping[str, Any]) -> None:
        """Raises UsageError for a full description that contradicts itself."""

    @classmethod
    def check_place(
        cls, name: str, spec: Mapping[str, Any], length: int, modern: bool
    ) -> None:
        """Raises UsageError for a full description that does not fit the denoiser."""

    def fixed(self, encoded: Any) -> Any:
        """What a tower gave, without its gradient where it is frozen."""
        return jax.lax.stop_gradient(encoded) if self.frozen else encoded

    def or_null(self, name: str, value: jax.Array, drop: jax.Array) -> jax.Array:
        """`value` [B, ...], and the learned null `name` where drop [B] is true."""
        null = self.param(name, normal_init, value.shape[1:])
        return jnp.where(drop.reshape(-1, *[1] * null.ndim), null, value)

    def to_vector(self, x: jax.Array, drop: jax.Array) -> jax.Array | None:
        """[B, D] -> [B, width], or None where the denoiser takes none."""
        if not self.modern:
            return None
        # of order 1, see `Label`
        dense = nn.Dense(self.width, name="vector")
        return self.or_null("null_vector", dense(x), drop)


class Environment(NamedTuple):
    """What the denoisers beside this one show of their state at this step."""

    sequence: jax.Array  # [B, S, E]
    present: jax.Array | None = None  # bool [B]: false where there is none; None: all


def join(parts: Sequence[Encoded], how: str = "concat") -> Encoded:
    """Sequences end to end or added, the rest added, the first label there is.

    Raises:
        UsageError: sequences that do not fit together.
    """
    sequences = [p.sequence for p in parts if p.sequence is not None]
    added = how == "add"
    shapes = {s.shape[1:] if added else s.shape[2:] for s in sequences}
    if len(shapes) > 1:
        raise UsageError(
            f"Found conditions that give sequences {[s.shape[1:] for s in sequences]}; "
            f"expected {'one shape' if added else 'one number of features'}, since "
            f"model.join = {how!r}; set their sizes in model.conditions."
        )
    total = lambda arrays: sum(arrays[1:], start=arrays[0]) if arrays else None
    sequence = None
    if sequences:
        sequence = total(sequences) if added else jnp.concatenate(sequences, axis=1)
    present = lambda name: [a for p in parts if (a := getattr(p, name)) is not None]
    labels = present("label")
    return Encoded(
        sequence,
        total(present("vector")),
        total(present("aligned")),
        labels[0] if labels else None,
    )
