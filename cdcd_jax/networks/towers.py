"""Towers: what one side of an example is, as a vector of length 1.

`KINDS` is the one table. A tower of the config (`model.towers.<name>`) has a kind, the
`field` of the batch that it reads, the attributes of that class, and `frozen` where its
weights come from an earlier run and stay. A class says what its field holds, and how
numbers of that field become what it takes.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.diffusion.gaussian_terms import levels_of_tokens
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.positions import grid_of

# of those that the config does not give a tower itself
_SHARED = ("features", "dtype", "parent", "name")
# beside the attributes of its class
OF_ANY = {"field": "tokens", "frozen": False}


class PixelTower(nn.Module):
    """Small pictures whose pixels are tokens, through layers that see all of them.

    Attributes:
        features: of the vector.
        grid: (H, W), or (H, W, C).
        num_codes: K, levels of a pixel.
        width: of the hidden layers.
        depth: number of hidden layers.
        dtype: of the products.
    """

    holds: ClassVar[Any] = jnp.int32

    features: int
    grid: tuple[int, ...]
    num_codes: int
    width: int = 256
    depth: int = 2
    dtype: Any = jnp.float32

    @classmethod
    def check(cls, name: str, spec: Mapping[str, Any]) -> None:
        """Raises UsageError for attributes that cannot be."""
        grid = grid_of(spec["grid"])
        if isinstance(grid[0], tuple) or len(grid) not in (2, 3):
            raise UsageError(
                f"Found model.towers.{name}.grid = {grid}; expected (H, W) or (H, W, "
                "C) of its pictures; correct it."
            )
        if spec["num_codes"] < 2:
            raise UsageError(
                f"Found model.towers.{name}.num_codes = {spec['num_codes']}; expected "
                "the levels of a pixel, 2 or more; correct it."
            )

    @property
    def length(self) -> int:
        """L, tokens of a picture."""
        return math.prod(self.grid)

    @classmethod
    def content(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        """What its field holds, as a description of a condition."""
        grid = grid_of(spec["grid"])
        shape = (math.prod(grid),)
        return dict(kind="image", levels=spec["num_codes"], grid=grid, shape=shape)

    def prepared(self, tokens: jax.Array) -> jax.Array:
        return self.pictures(tokens)

    def pictures(self, tokens: jax.Array) -> jax.Array:
        """int [B, L] of K levels -> float32 [B, H, W, C] in [-1, 1]."""
        height, width, *channels = self.grid
        x = levels_of_tokens(tokens.astype(jnp.float32), self.num_codes)
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


class VectorTower(nn.Module):
    """A vector that a tower made before, as it is.

    Attributes:
        shape: (features,).
    """

    holds: ClassVar[Any] = jnp.float32

    features: int
    shape: tuple[int, ...]
    dtype: Any = jnp.float32

    @classmethod
    def check(cls, name: str, spec: Mapping[str, Any]) -> None:
        """Nothing."""

    @classmethod
    def content(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        """What its field holds, as a description of a condition."""
        return dict(kind="array", shape=tuple(spec["shape"]))

    def prepared(self, field: jax.Array) -> jax.Array:
        return field

    def __call__(self, vectors: jax.Array) -> jax.Array:
        """float32 [B, features], unchanged."""
        return vectors


def unit(x: jax.Array) -> jax.Array:
    """[..., D] at length 1."""
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), -1, keepdims=True) + 1e-12)


KINDS = {"pixels": PixelTower, "vector": VectorTower}


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
) -> nn.Module:
    """The module of a full spec, called `name` in another."""
    sizes = {k: v for k, v in spec.items() if k not in ("kind", *OF_ANY)}
    for key in {"grid", "shape"} & set(sizes):
        sizes[key] = grid_of(sizes[key])
    return KINDS[spec["kind"]](**sizes, features=features, dtype=dtype, name=name)
