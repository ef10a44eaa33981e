"""Conditioners of pictures: pixels that lie where the tokens of the denoiser lie."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.diffusion.gaussian_terms import levels_of_tokens
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.encoded import Conditioner, Encoded
from cdcd_jax.networks.patches import to_patches


class Pixels(Conditioner):
    """A picture as levels of its pixels, whole or in part: int32 [B, H * W * C].

    A level is a whole number of 0..levels - 1, -1 where a pixel is unknown. The network
    sees x = 2 level / (levels - 1) - 1, 0 where it is unknown, and beside it whether it
    is known.

    Attributes:
        levels: K of a pixel.
        grid: (H, W) of grey pictures, or (H, W, C) with C = 1 or 3, pixels.
        patch: pixels a side of a token of the denoiser.
        shape: (H * W * C,), which follows from the grid.
        masked: it is meant to be given in part, which evaluations then do.
    """

    integers: ClassVar[bool] = True

    levels: int
    grid: tuple[int, ...]
    patch: int = 1
    shape: tuple[int, ...] = ()
    masked: bool = False

    @classmethod
    def gives_sequence(cls, spec: Mapping[str, Any]) -> bool:
        return False

    @classmethod
    def check(cls, name: str, spec: Mapping[str, Any]) -> None:
        grid, patch, levels = spec["grid"], spec["patch"], spec["levels"]
        sizes = (*grid, patch) if isinstance(grid, list | tuple) else ()
        whole = all(isinstance(n, int) and n > 0 for n in sizes)
        fits = whole and len(sizes) in (3, 4) and not any(n % patch for n in sizes[:2])
        fits = fits and (len(grid) == 2 or grid[2] in (1, 3))
        fits = fits and tuple(spec["shape"]) in ((), (math.prod(grid),))
        if not fits or not isinstance(levels, int) or not 2 <= levels <= 256:
            raise UsageError(
                f"Found model.conditions.{name} with grid = {grid!r}, patch = "
                f"{patch!r}, levels = {levels!r} and shape = {spec['shape']!r}; "
                "expected a grid (H, W) or (H, W, 3) of which patch divides H and W, "
                "2 to 256 levels, and the shape left out; correct it."
            )

    @classmethod
    def completed(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        grid = tuple(spec["grid"])
        return {**spec, "grid": grid, "shape": (math.prod(grid),)}

    @classmethod
    def check_place(
        cls, name: str, spec: Mapping[str, Any], length: int, modern: bool
    ) -> None:
        height, width = spec["grid"][:2]
        number = (height // spec["patch"]) * (width // spec["patch"])
        if number != length or not modern:
            raise UsageError(
                f"Found model.conditions.{name} of {number} patches for a denoiser of "
                f"{length} tokens {'' if modern else 'that is not '}in the modern "
                "form; expected that form and a patch for each token; change "
                f"model.conditions.{name}.patch, model.grid or model.form."
            )

    @nn.compact
    def __call__(self, tokens: jax.Array, drop: jax.Array) -> Encoded:
        """drop: bool [B], where true the picture is replaced by the null."""
        known = tokens >= 0
        x = jnp.where(known, levels_of_tokens(tokens, self.levels), 0.0)
        seen = jnp.stack([x, known.astype(x.dtype)], axis=-1)
        seen = seen.reshape(len(tokens), *self.grid[:2], -1)
        aligned = nn.Dense(self.width, name="aligned")(to_patches(seen, self.patch))
        return Encoded(aligned=self.or_null("null_aligned", aligned, drop))
