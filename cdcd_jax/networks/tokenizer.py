"""Tokenizers without parameters, and the table that makes a tokenizer from a config.

A tokenizer turns raw examples into `tokens` [N, L] in [0, num_codes) and back. It has
`num_codes`, `grid`, `settings` (what a config says of it) and a `fingerprint` of them,
by which records and models recognise the tokenizer that they were made with.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdcd_jax.errors import InputError, UsageError


@dataclass(frozen=True)
class PaletteTokenizer:
    """One token a pixel: the nearest of `levels` equally spaced grey values.

    Code k stands for the grey value round(k * 255 / (levels - 1)). On images whose
    pixels all lie on this palette, `decode` undoes `encode` exactly.

    Attributes:
      levels: size of the palette, 2 to 256.
      grid: (H, W) of the images in pixels; L = H * W, row by row.
    """

    levels: int
    grid: tuple[int, int]

    def __post_init__(self) -> None:
        if not _is_int(self.levels) or not 2 <= self.levels <= 256:
            raise UsageError(
                f"Found tokenizer.levels = {self.levels!r}; expected a whole number "
                "from 2 to 256; set the number of grey values of the palette."
            )
        grid_ok = isinstance(self.grid, tuple) and len(self.grid) == 2
        if not grid_ok or not all(_is_int(n) and n > 0 for n in self.grid):
            raise UsageError(
                f"Found grid = {self.grid!r}; expected two positive whole numbers "
                "(H, W); set the height and width of the images in pixels."
            )

    @property
    def num_codes(self) -> int:
        """K: tokens lie in [0, K)."""
        return self.levels

    @property
    def settings(self) -> dict[str, Any]:
        """The config that `make_tokenizer` would make this tokenizer from."""
        return {"kind": "palette", "levels": self.levels}

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of what `decode` gives for one example."""
        return {"images": (*self.grid, 1)}

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that depend on the settings and the grid only."""
        text = json.dumps({**self.settings, "grid": self.grid}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Returns tokens [N, L] int32 for grey images [N, H, W, 1] uint8.

        Raises:
          InputError: the images have another shape or type.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != (*self.grid, 1):
            height, width = self.grid
            raise InputError(
                f"Found images of shape {list(images.shape)} and type {images.dtype}; "
                f"expected [N, {height}, {width}, 1] uint8; set `grid` to the size of "
                "the images, or resize them and make them grey."
            )
        codes = np.rint(images * ((self.levels - 1) / 255))
        return codes.astype(np.int32).reshape(len(images), -1)

    def decode(self, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """Returns {"images": uint8 [N, H, W, 1]} for tokens [N, L] of whole numbers.

        Raises:
          InputError: another shape or type, or a token outside [0, levels).
        """
        tokens = np.asarray(tokens)
        height, width = self.grid
        is_whole = np.issubdtype(tokens.dtype, np.integer)
        if not is_whole or tokens.shape[1:] != (height * width,):
            raise InputError(
                f"Found tokens of shape {list(tokens.shape)} and type {tokens.dtype}; "
                f"expected [N, {height * width}] of whole numbers; decode with the "
                "tokenizer that made the tokens."
            )
        outside = (tokens < 0) | (tokens >= self.levels)
        if outside.any():
            raise InputError(
                f"Found the token {tokens[outside][0]}; expected tokens in "
                f"[0, {self.levels}); decode with the tokenizer that made the tokens, "
                "after all mask tokens are gone."
            )
        palette = np.rint(np.arange(self.levels) * (255 / (self.levels - 1)))
        images = palette.astype(np.uint8)[tokens]
        return {"images": images.reshape(-1, height, width, 1)}


@dataclass(frozen=True)
class NoTokenizer:
    """Stands where tokens are not to be decoded: samples are tokens alone."""

    grid: tuple[int, ...]

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Nothing beside the tokens."""
        return {}

    def decode(self, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """Returns {}."""
        del tokens
        return {}


def make_tokenizer(config: Mapping[str, Any], grid: tuple[int, ...]) -> Any:
    """Returns the tokenizer that `config` describes.

    Args:
      config: `kind` and that kind's settings. It may also hold a `fingerprint`, as the
        card of a dataset does: then the tokenizer must have this one.
      grid: shape of the tokens before they are flattened, such as (H, W).

    Raises:
      UsageError: unknown kind, or a missing, unknown or bad setting.
      InputError: the tokenizer has another fingerprint.
    """
    settings = dict(config)
    kind = settings.pop("kind", None)
    fingerprint = settings.pop("fingerprint", None)
    if kind not in TOKENIZERS:
        raise UsageError(
            f"Found tokenizer.kind = {kind!r}; expected one of "
            f"{', '.join(sorted(TOKENIZERS))}; correct tokenizer.kind."
        )
    tokenizer = TOKENIZERS[kind](settings, tuple(grid))
    if fingerprint is not None and fingerprint != tokenizer.fingerprint:
        raise InputError(
            f"Found a tokenizer with fingerprint {tokenizer.fingerprint}; expected "
            f"{fingerprint}, with which the records were made; make the records again "
            "or use the version of the code that made them."
        )
    return tokenizer


def _make_palette(
    settings: Mapping[str, Any], grid: tuple[int, ...]
) -> PaletteTokenizer:
    if set(settings) != {"levels"}:
        raise UsageError(
            f"Found the tokenizer settings {sorted(settings)}; expected ['levels'] "
            "beside kind='palette'; add or remove keys of `tokenizer`."
        )
    return PaletteTokenizer(levels=settings["levels"], grid=grid)


def _make_none(settings: Mapping[str, Any], grid: tuple[int, ...]) -> NoTokenizer:
    if settings:
        raise UsageError(
            f"Found the tokenizer settings {sorted(settings)}; expected none beside "
            "kind='none'; remove those keys of `tokenizer`."
        )
    return NoTokenizer(grid)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


TOKENIZERS: dict[str, Callable[[Mapping[str, Any], tuple[int, ...]], Any]] = {
    "none": _make_none,
    "palette": _make_palette,
}
