"""Tokenizers without parameters; see `models.tokenizers` for what each one offers."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cdcd_jax.errors import InputError, UsageError


@dataclass(frozen=True)
class PaletteTokenizer:
    """One token a pixel and channel: the nearest of `levels` equally spaced values.

    Code k stands for the value round(k * 255 / (levels - 1)). On images whose pixels
    all lie on this palette, `decode` undoes `encode` exactly.

    Attributes:
      levels: size of the palette, 2 to 256.
      grid: (H, W) of grey images in pixels, or (H, W, C) with C = 1 or 3; L is its
        product, row by row.
    """

    kind: ClassVar[str] = "palette"
    shows: ClassVar[str] = "image"
    axes: ClassVar[tuple[str, ...]] = ("H", "W")  # of the grid, C may follow

    levels: int
    grid: tuple[int, ...]
    sample_rate = None  # pictures

    def __post_init__(self) -> None:
        if not _is_int(self.levels) or not 2 <= self.levels <= 256:
            raise UsageError(
                f"Found tokenizer.levels = {self.levels!r}; expected a whole number "
                "from 2 to 256; set the number of grey values of the palette."
            )
        grid_ok = isinstance(self.grid, tuple)
        grid_ok = grid_ok and len(self.grid) - len(self.axes) in (0, 1)
        grid_ok = grid_ok and all(_is_int(n) and n > 0 for n in self.grid)
        if not grid_ok or self._shape[-1] not in (1, 3):
            axes = ", ".join(self.axes)
            raise UsageError(
                f"Found grid = {self.grid!r}; expected positive whole numbers ({axes}),"
                f" or ({axes}, 3) of colours; set the height and width of the "
                f"{self.shows}s in pixels."
            )

    @property
    def num_codes(self) -> int:
        """K: tokens lie in [0, K)."""
        return self.levels

    @property
    def settings(self) -> dict[str, Any]:
        """What a config says of it."""
        return {"kind": self.kind, "levels": self.levels}

    @property
    def media(self) -> dict[str, Any]:
        """What `encode` takes, in the words of a source's card."""
        return {"kind": self.shows, "shape": list(self._shape)}

    @property
    def _shape(self) -> tuple[int, ...]:
        """(H, W, C), behind F of videos."""
        return (*self.grid, 1)[: len(self.axes) + 1]

    @property
    def rows_at_once(self) -> int:
        """Examples that are best encoded together."""
        return 256

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of what `decode` gives for one example."""
        return {f"{self.shows}s": self._shape}

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that depend on the settings and the grid only."""
        text = json.dumps({**self.settings, "grid": self.grid}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Returns tokens [N, L] int32 for images [N, H, W, C] uint8.

        Raises:
          InputError: the images have another shape or type.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != self._shape:
            raise InputError(
                f"Found {self.shows}s of shape {list(images.shape)} and type "
                f"{images.dtype}; expected [N, {', '.join(map(str, self._shape))}] "
                f"uint8; set `grid` to the size of the {self.shows}s, or resize them "
                f"and make them {'grey' if self._shape[-1] == 1 else 'RGB'}."
            )
        codes = np.rint(images * ((self.levels - 1) / 255))
        return codes.astype(np.int32).reshape(len(images), -1)

    def start_encoding(
        self, images: np.ndarray, numbers: np.ndarray
    ) -> Callable[[], np.ndarray]:
        """`encode`, behind a function; see `models.checkpoint_tokenizer`."""
        del numbers
        tokens = self.encode(images)
        return lambda: tokens

    def decode(
        self, tokens: np.ndarray, grid: tuple[int, int] | None = None
    ) -> dict[str, np.ndarray]:
        """Returns {"images": uint8 [N, H, W, C]} for tokens [N, L] of whole numbers.

        Of videos it is {"videos": uint8 [N, F, H, W, C]}.

        Args:
          grid: (H, W) of larger pictures.

        Raises:
          InputError: another shape or type, or a token outside [0, levels).
        """
        tokens = np.asarray(tokens)
        *size, channels = self._shape
        shape = (*(grid or size), channels)
        is_whole = np.issubdtype(tokens.dtype, np.integer)
        if not is_whole or tokens.shape[1:] != (math.prod(shape),):
            raise InputError(
                f"Found tokens of shape {list(tokens.shape)} and type {tokens.dtype}; "
                f"expected [N, {math.prod(shape)}] of whole numbers; decode with the "
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
        return {f"{self.shows}s": images.reshape(-1, *shape)}


@dataclass(frozen=True)
class FramesTokenizer(PaletteTokenizer):
    """The same for videos uint8 [N, F, H, W, C], frame by frame.

    Attributes:
      grid: (F, H, W) of grey videos, or (F, H, W, C).
    """

    kind: ClassVar[str] = "frames"
    shows: ClassVar[str] = "video"
    axes: ClassVar[tuple[str, ...]] = ("F", "H", "W")


@dataclass(frozen=True)
class NoTokenizer:
    """Stands where tokens are not to be decoded: samples are tokens alone."""

    grid: tuple[int, ...]
    sample_rate = None

    @property
    def settings(self) -> dict[str, Any]:
        """What a config says of it."""
        return {"kind": "none"}

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Nothing beside the tokens."""
        return {}

    def decode(self, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """Returns {}."""
        del tokens
        return {}


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
