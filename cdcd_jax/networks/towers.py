"""Towers: what one side of an example is, as a vector of length 1.

`KINDS` is the one table. A tower of the config (`model.towers.<name>`) has a kind, the
`field` of the batch that it reads, the attributes of that class, and `frozen` where its
weights come from an earlier run and stay. A class says what its field holds, how
numbers of that field become what it takes, and whether these have other views.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.diffusion.gaussian_terms import levels_of_tokens
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.positions import Grid, grid_of, length_of
from cdcd_jax.networks.text_encoder import Reader, TextEncoder, seen

# of those that the config does not give a tower itself
_SHARED = ("features", "dtype", "parent", "name")
# beside the attributes of its class
OF_ANY = {"field": "tokens", "frozen": False}


class Tower(nn.Module):
    """What all towers share; beside it each has a grid and num_codes, of its field.

    Attributes:
        features: of the vector.
        dtype: of the products.

    What a kind says of itself is no attribute:
        views: what it takes are pictures, of which `tasks.views` makes others.
        holds: type of its field.
    """

    views: ClassVar[bool] = False
    holds: ClassVar[Any] = jnp.int32

    features: int
    dtype: Any

    @classmethod
    def check(cls, name: str, spec: Mapping[str, Any]) -> None:
        """Raises UsageError for attributes that cannot be."""

    @classmethod
    def content(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        """What its field holds, as a description of a condition."""
        raise NotImplementedError

    @property
    def length(self) -> int:
        """L, numbers of its field."""
        return length_of(self.grid)

    def prepared(self, field: jax.Array) -> jax.Array:
        """What the tower takes, of its field int [B, L]."""
        return field


class PixelTower(Tower):
    """Small pictures whose pixels are tokens, through layers that see all of them.

    Attributes:
        grid: (H, W), or (H, W, C).
        num_codes: K, levels of a pixel.
        width: of the hidden layers.
        depth: number of hidden layers.
    """

    views: ClassVar[bool] = True
    shows: ClassVar[str] = "image"  # kind of its field
    axes: ClassVar[tuple[str, ...]] = ("H", "W")  # of its grid, C may follow

    grid: tuple[int, ...]
    num_codes: int
    width: int = 256
    depth: int = 2

    @classmethod
    def check(cls, name: str, spec: Mapping[str, Any]) -> None:
        grid, axes = grid_of(spec["grid"]), ", ".join(cls.axes)
        if isinstance(grid[0], tuple) or len(grid) - len(cls.axes) not in (0, 1):
            raise UsageError(
                f"Found model.towers.{name}.grid = {grid}; expected ({axes}) or "
                f"({axes}, C) of its {cls.shows}s; correct it."
            )
        _check_number(name, spec, "num_codes", "the levels of a pixel")

    @classmethod
    def content(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        return _content(cls.shows, spec)

    def prepared(self, field: jax.Array) -> jax.Array:
        """int [B, L] of K levels -> float32 [B, H, W, C] in [-1, 1]."""
        height, width, *channels = self.grid
        x = levels_of_tokens(field.astype(jnp.float32), self.num_codes)
        return x.reshape(len(x), height, width, *(channels or [1]))

    @nn.compact
    def __call__(self, pictures: jax.Array) -> jax.Array:
        """float32 [B, H, W, C] -> float32 [B, features] of length 1."""
        x = pictures.reshape(len(pictures), -1)
        for i in range(self.depth):
            hidden = nn.Dense(self.width, dtype=self.dtype, name=f"hidden_{i}")
            x = jax.nn.silu(hidden(x))
        x = nn.Dense(self.features, name="vector")(x.astype(jnp.float32))
        return unit(x)


class FramesTower(PixelTower):
    """Small videos, whose frames are channels of one picture.

    So other views of a video move all of its frames alike.

    Attributes:
        grid: (F, H, W), or (F, H, W, C).
    """

    shows: ClassVar[str] = "video"
    axes: ClassVar[tuple[str, ...]] = ("F", "H", "W")

    def prepared(self, field: jax.Array) -> jax.Array:
        """int [B, L] of K levels -> float32 [B, H, W, F C] in [-1, 1]."""
        x = levels_of_tokens(field.astype(jnp.float32), self.num_codes)
        frames, height, width, *channels = self.grid
        x = x.reshape(len(x), frames, height, width, *(channels or [1]))
        return jnp.moveaxis(x, 1, 3).reshape(len(x), height, width, -1)


class TextTower(Tower):
    """Tokens of a text, through a small transformer that learned queries read.

    Attributes:
        shape: (S,), tokens of a text; 0 fills up.
        vocabulary: number of tokens.
        width, depth, heads: of the transformer.
        queries: that read what it gives.
    """

    shape: tuple[int, ...]
    vocabulary: int
    width: int = 128
    depth: int = 2
    heads: int = 4
    queries: int = 4

    @classmethod
    def check(cls, name: str, spec: Mapping[str, Any]) -> None:
        shape = spec["shape"]
        if not (isinstance(shape, list | tuple) and len(shape) == 1):
            raise UsageError(
                f"Found model.towers.{name}.shape = {shape!r}; expected (S,), the "
                "tokens of a text; correct it."
            )
        grid_of(shape)
        _check_number(name, spec, "vocabulary", "the tokens that there are, with 0")
        _check_heads(name, spec)

    @classmethod
    def content(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        shape = tuple(spec["shape"])
        return dict(kind="text", shape=shape, vocabulary=spec["vocabulary"])

    @property
    def grid(self) -> Grid:
        """One row."""
        return (1, *self.shape)

    @property
    def num_codes(self) -> int:
        """Of the field."""
        return self.vocabulary

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """int [B, S] -> float32 [B, features] of length 1."""
        return _read(self, tokens, self.vocabulary)


class CodeTower(Tower):
    """Codes of a tokenizer, such as a sound's, read as words of a text are.

    Attributes:
        grid: how the codes lie, such as (1, L) or (H, W); each place has a position of
            its own.
        num_codes: K.
        width, depth, heads, queries: see `TextTower`.
    """

    grid: Grid
    num_codes: int
    width: int = 128
    depth: int = 2
    heads: int = 4
    queries: int = 4

    @classmethod
    def check(cls, name: str, spec: Mapping[str, Any]) -> None:
        grid_of(spec["grid"])
        _check_number(name, spec, "num_codes", "the codes of the tokenizer")
        _check_heads(name, spec)

    @classmethod
    def content(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        return _content("tokens", spec)

    @nn.compact
    def __call__(self, codes: jax.Array) -> jax.Array:
        """int [B, L] -> float32 [B, features] of length 1."""
        return _read(self, codes + 1, self.num_codes + 1)  # 0 fills up nothing here


class VectorTower(Tower):
    """A vector that a tower made before, as it is.

    Attributes:
        shape: (features,).
    """

    holds: ClassVar[Any] = jnp.float32

    shape: tuple[int, ...]

    @classmethod
    def content(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        return dict(kind="array", shape=tuple(spec["shape"]))

    def __call__(self, vectors: jax.Array) -> jax.Array:
        """float32 [B, features], unchanged."""
        return vectors


def _read(tower: TextTower | CodeTower, tokens: jax.Array, number: int) -> jax.Array:
    """Vectors of rows int [B, S] of so many tokens, of which 0 fills up."""
    encoder = TextEncoder(
        *(number, tokens.shape[1], tower.width, tower.depth, tower.heads),
        dtype=tower.dtype,
        name="encoder",
    )
    reader = Reader(tower.queries, tower.heads, tower.width, name="reader")
    read = reader(encoder(tokens), seen(tokens))
    return unit(nn.Dense(tower.features, name="vector")(read.reshape(len(read), -1)))


def unit(x: jax.Array) -> jax.Array:
    """[..., D] at length 1."""
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), -1, keepdims=True) + 1e-12)


KINDS = {
    "pixels": PixelTower,
    "text": TextTower,
    "codes": CodeTower,
    "frames": FramesTower,
    "vector": VectorTower,
}


def full_spec(name: str, spec: Any) -> dict[str, Any]:
    """`model.towers[name]` with what it leaves out set to its defaults.

    Raises:
        UsageError: it describes no tower.
    """
    if not isinstance(spec, Mapping) or spec.get("kind") not in KINDS:
        raise UsageError(
            f"Found model.towers.{name} = {spec!r}; expected settings with kind = "
            f"{' or '.join(KINDS)}; correct it."
        )
    kind = KINDS[spec["kind"]]
    fields = [f for f in dataclasses.fields(kind) if f.name not in _SHARED]
    needed = {f.name for f in fields if f.default is dataclasses.MISSING}
    defaults = {f.name: f.default for f in fields if f.name not in needed} | OF_ANY
    given = set(spec) - {"kind"}
    if given - needed - set(defaults) or needed - given:
        raise UsageError(
            f"Found model.towers.{name} with {sorted(given)}; expected of kind "
            f"{spec['kind']!r} {', '.join(sorted(needed))}, and perhaps "
            f"{', '.join(sorted(defaults))}; correct it."
        )
    whole = {**defaults, **spec}
    kind.check(name, whole)
    return whole


def content(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What the field of a tower holds, as a description of a condition."""
    return KINDS[spec["kind"]].content(spec)


def make_tower(
    spec: Mapping[str, Any], features: int, dtype: Any, name: str | None = None
) -> Tower:
    """The module of a full spec, called `name` in another."""
    sizes = {k: v for k, v in spec.items() if k not in ("kind", *OF_ANY)}
    for key in {"grid", "shape"} & set(sizes):
        sizes[key] = grid_of(sizes[key])
    return KINDS[spec["kind"]](**sizes, features=features, dtype=dtype, name=name)


def _content(kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Of a field of numbers below `num_codes` that lie on a grid."""
    grid = grid_of(spec["grid"])
    shape = (length_of(grid),)
    return dict(kind=kind, levels=spec["num_codes"], grid=grid, shape=shape)


def _check_number(name: str, spec: Mapping[str, Any], key: str, what: str) -> None:
    if spec[key] < 2:
        raise UsageError(
            f"Found model.towers.{name}.{key} = {spec[key]}; expected {what}, 2 or "
            "more; correct it."
        )


def _check_heads(name: str, spec: Mapping[str, Any]) -> None:
    if spec["width"] % spec["heads"]:
        raise UsageError(
            f"Found model.towers.{name}.heads = {spec['heads']}; expected a divisor of "
            f"its width, {spec['width']}; change one."
        )
