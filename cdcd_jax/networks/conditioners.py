"""Conditioners: each turns one modality into what a denoiser attends to and adds.

Every conditioner has a learned null for `drop`, so that guidance and unconditional
training need no special case. A conditioner returns an `Encoded`; several are joined by
`join`. Text has its encoders in `text_encoder`, dance in `motion`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.errors import UsageError
from cdcd_jax.networks.clip_text import ClipText
from cdcd_jax.networks.layers import normal_init, unit_init
from cdcd_jax.networks.motion import MotionEncoder
from cdcd_jax.networks.reference_motion import ReferenceMotion
from cdcd_jax.networks.text_encoder import Reader, TextEncoder, seen

JOINS = ("concat", "add")


class Encoded(NamedTuple):
    """An encoded condition. An absent part is None."""

    sequence: jax.Array | None = None  # [B, S, D], to attend to
    vector: jax.Array | None = None  # [B, width], beside the time
    aligned: jax.Array | None = None  # [B, L, width], one for each token
    label: jax.Array | None = None  # int32 [B], of the 'selfcondition' denoiser


class Conditioner(nn.Module):
    """What all conditioners share.

    Attributes:
        width: of the denoiser.
        length: its tokens, L.
        modern: whether the denoiser takes a vector and what is aligned; the
            reference's forms take a sequence or a label alone.
        frozen: the encoder called 'tower' is not trained.
    """

    width: int
    length: int
    modern: bool
    frozen: bool

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


class Label(Conditioner):
    """A class label or a genre, int32 [B]. The last entry of its table is the null.

    Attributes:
        num_classes: number of classes.
        names: of the classes, for people.
        sequence: features of a sequence of one in place of a vector; 0 for a vector.
    """

    num_classes: int
    names: tuple[str, ...] = ()
    sequence: int = 0

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

    shape: tuple[int, ...]
    vocabulary: int
    size: int = 0
    depth: int = 2
    heads: int = 4
    queries: int = 8
    align: bool = True
    attend: bool = True

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

    shape: tuple[int, ...]
    frame_rate: int = 60
    align: bool = True
    attend: bool = False
    size: int = 0
    strides: tuple[int, ...] = (2, 2)
    depth: int = 4
    normalize: bool = False

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


KINDS = {
    "label": Label,
    "array": Array,
    "features": Features,
    "text": Text,
    "clip_text": ClipTextTower,
    "motion": Motion,
    "reference_motion": ReferenceDance,
}
# Values that are whole numbers.
INTEGERS = ("label", "text", "clip_text")
# With a tower, which frozen=True keeps as it is.
TOWERS = ("text", "clip_text", "motion", "reference_motion")
_SHARED = {f.name for f in dataclasses.fields(Conditioner)}


def full_spec(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """`model.conditions[name]` with what it leaves out set to its defaults.

    Raises:
        UsageError: it describes no conditioner.
    """
    kind = spec.get("kind")
    if kind not in KINDS:
        raise UsageError(
            f"Found model.conditions.{name}.kind = {kind!r}; expected one of "
            f"{', '.join(KINDS)}; correct it."
        )
    fields = [f for f in dataclasses.fields(KINDS[kind]) if f.name not in _SHARED]
    needed = {f.name for f in fields if f.default is dataclasses.MISSING}
    defaults = {f.name: f.default for f in fields if f.name not in needed}
    if kind in TOWERS:
        defaults["frozen"] = False
    known, given = needed | set(defaults), set(spec) - {"kind"}
    if given - known or needed - given:
        raise UsageError(
            f"Found model.conditions.{name} with {sorted(given)}; expected of kind "
            f"{kind!r} {sorted(needed)} and perhaps {sorted(defaults)}; correct its "
            "keys."
        )
    names = spec.get("names", ())
    if kind == "label" and len(names) not in (0, spec["num_classes"]):
        raise UsageError(
            f"Found model.conditions.{name} with {len(names)} names; expected none, or "
            f"one for each of num_classes = {spec['num_classes']}; correct it."
        )
    return {**defaults, **spec}


def gives_sequence(spec: Mapping[str, Any]) -> bool:
    """Whether a conditioner of this description gives a sequence to attend to."""
    kind = spec["kind"]
    if kind == "label":
        return bool(spec.get("sequence"))
    if kind in ("motion", "text"):
        return spec.get("attend", KINDS[kind].attend)
    return kind != "array" or len(spec["shape"]) == 2


def make_conditioner(
    name: str, spec: Mapping[str, Any], width: int, length: int, modern: bool
) -> Conditioner:
    """Builds the conditioner of modality `name` from `model.conditions[name]`.

    Args:
        width, length, modern: see `Conditioner`.

    Raises:
        UsageError: a bad description.
    """
    spec = full_spec(name, spec)
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.items()}
    heads, size = spec.get("heads", 1), spec.get("size") or width
    # tokens read a text with the width of the denoiser
    if size % heads or (spec["kind"] == "text" and width % heads):
        raise UsageError(
            f"Found model.conditions.{name}.heads = {heads}; expected a divisor of its "
            f"size, {size}, and for kind 'text' of model.width, {width}; change one."
        )
    kind, frozen = settings.pop("kind"), settings.pop("frozen", False)
    return KINDS[kind](width, length, modern, frozen, **settings, name=name)


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
