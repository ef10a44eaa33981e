"""Digits of six pixels on a canvas of eight: at one of its sides, or moving there.

The digits are those of the source `digits`, in its splits. A still shows one at a side
of the canvas, in the middle of that side; a video shows it coming from the opposite
side, one pixel a frame. Which side it is, the seed draws, apart from the digit.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cdcd_jax.data.digits import LEVELS, SPLITS, DigitsSource
from cdcd_jax.data.sources import Example, RawSplit

SIDES = ("left", "right", "top", "bottom")
CANVAS, SIDE = 8, 6  # pixels a side: of pictures, of the digits in them
ROAD = CANVAS - SIDE  # pixels from one side to the opposite one


def shrunk(image: np.ndarray) -> np.ndarray:
    """A digit uint8 [8, 8, C] as the mean over the area of each pixel, [6, 6, C].

    It has the same palette, of `digits.LEVELS` values.
    """
    edges = np.linspace(0, CANVAS, SIDE + 1)[:, None]
    begin, end, pixel = edges[:-1], edges[1:], np.arange(CANVAS)
    share = np.clip(np.minimum(end, pixel + 1) - np.maximum(begin, pixel), 0, None)
    share = share * SIDE / CANVAS
    mean = np.einsum("ij,jkc,lk->ilc", share, image.astype(np.float64), share)
    levels = np.rint(mean * ((LEVELS - 1) / 255))
    return np.rint(levels * (255 / (LEVELS - 1))).astype(np.uint8)


def placed(digit: np.ndarray, side: int, away: int = 0) -> np.ndarray:
    """A digit uint8 [6, 6, C] so many pixels from a side of a canvas, [8, 8, C].

    Args:
        side: number of `SIDES`.
        away: 0 at the side, `ROAD` at the opposite one.
    """
    axis, far = 1 - side // 2, side % 2
    corner = [ROAD // 2] * 2
    corner[axis] = ROAD - away if far else away
    canvas = np.zeros((CANVAS, CANVAS, digit.shape[-1]), np.uint8)
    row, column = corner
    canvas[row : row + SIDE, column : column + SIDE] = digit
    return canvas


def moving(digit: np.ndarray, side: int, frames: int) -> np.ndarray:
    """A digit uint8 [6, 6, C] on its way to a side, uint8 [F, 8, 8, C].

    It arrives in the last frame; a longer video begins with it at rest.
    """
    away = [min(frames - 1 - i, ROAD) for i in range(frames)]
    return np.stack([placed(digit, side, pixels) for pixels in away])


@dataclass(frozen=True)
class SidedDigits:
    """A split of `digits`, with a side for each: stills, or videos of so many frames.

    Attributes:
        frames: 0 for stills.
    """

    seed: int
    name: str
    digits: RawSplit
    frames: int = 0

    def __len__(self) -> int:
        return len(self.digits)

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """Example `index`; with `rng`, perhaps at another side.

        Returns: `key`; `image` uint8 [8, 8, 1] or `video` uint8 [F, 8, 8, 1];
          `condition` with `label` and `side` int32 []; `groups`: `label`.
        """
        if rng is None:
            rng = np.random.default_rng((self.seed, 5, SPLITS.index(self.name), index))
        example = self.digits.example(index)
        side, digit = int(rng.integers(len(SIDES))), shrunk(example.pop("image"))
        made: dict[str, Any] = {"image": placed(digit, side)}
        if self.frames:
            made = {"video": moving(digit, side, self.frames)}
        condition = {**example["condition"], "side": np.int32(side)}
        return {**example, **made, "condition": condition}


def sided_digits(seed: int, frames: int = 0) -> dict[str, SidedDigits]:
    """Both splits by name; see `SidedDigits`."""
    digits = DigitsSource(seed)
    return {n: SidedDigits(seed, n, digits.split(n), frames) for n in SPLITS}
