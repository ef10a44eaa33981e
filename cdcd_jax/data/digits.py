"""Raw source `digits`: the 1,797 real handwritten digits that scikit-learn carries.

They are 8x8 pixels with grey levels 0 to 16, here scaled to uint8. No download. With
`pair` a second picture goes with each, a condition of levels: `target` of "invert",
light and dark exchanged and turned over the diagonal; or `outline` of "outline", the
rim of the strokes, from which their grey levels cannot be told.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdcd_jax.data.sources import Example, known_split
from cdcd_jax.errors import UsageError

OPTIONS: dict[str, Any] = {
    "pair": "",  # a second picture: invert, outline, or none
}
SPLITS = ("train", "test")
TRAIN_FRACTION = 0.8
LEVELS = 17


def inverted(levels: np.ndarray) -> np.ndarray:
    """Levels uint8 [..., 8, 8] -> 16 - level, rows as columns."""
    return np.swapaxes(LEVELS - 1 - levels, -1, -2)


def outlined(levels: np.ndarray) -> np.ndarray:
    """Levels uint8 [..., 8, 8] -> 16 on the rim of the shape, 0 elsewhere.

    The shape is what has half of the light or more; its rim are the pixels of it of
    whose four neighbours one or more are not in it. Nothing beyond the edge is.
    """
    shape = levels >= LEVELS // 2
    padded = np.pad(shape, [(0, 0)] * (shape.ndim - 2) + [(1, 1)] * 2)
    beside = (np.s_[:-2, 1:-1], np.s_[2:, 1:-1], np.s_[1:-1, :-2], np.s_[1:-1, 2:])
    inner = np.all([padded[(..., *place)] for place in beside], axis=0)
    return np.where(shape & ~inner, LEVELS - 1, 0).astype(levels.dtype)


# option `pair` -> name of the condition, and what makes it of a digit
PAIRS = {"invert": ("target", inverted), "outline": ("outline", outlined)}


@dataclass(frozen=True)
class DigitsSource:
    """The digits, split once and for all by `seed` into 1,437 train and 360 test."""

    seed: int
    pair: str = ""

    def card(self) -> dict[str, Any]:
        """See `sources.RawSource`."""
        label = {"kind": "label", "shape": [], "dtype": "int32", "num_classes": 10}
        conditions: dict[str, Any] = {"label": label}
        if self.pair:
            picture = {"kind": "image", "shape": [64], "dtype": "uint8"}
            picture |= {"levels": LEVELS, "grid": [8, 8]}
            conditions[PAIRS[self.pair][0]] = picture
        return {
            "name": "digits",
            "splits": SPLITS,
            "conditions": conditions,
            "media": {"kind": "image", "shape": [8, 8, 1]},
        }

    def split(self, name: str) -> "DigitsSplit":
        """One of 'train' and 'test'."""
        known_split(name, SPLITS, "digits")
        from sklearn.datasets import load_digits  # slow to import

        digits = load_digits()
        order = np.random.default_rng(self.seed).permutation(len(digits.images))
        num_train = int(TRAIN_FRACTION * len(order))
        chosen = order[:num_train] if name == "train" else order[num_train:]
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
        pictures = {}
        if self.pair:
            second, made = PAIRS[self.pair]
            pictures[second] = made(digits.images.astype(np.uint8)).reshape(-1, 64)
        return DigitsSplit(chosen, images, digits.target, pictures)


@dataclass(frozen=True)
class DigitsSplit:
    """`chosen` are positions in scikit-learn's arrays, which the keys hold."""

    chosen: np.ndarray
    images: np.ndarray  # uint8 [1797, 8, 8, 1]
    target: np.ndarray
    pictures: Mapping[str, np.ndarray]  # by name, levels uint8 [1797, 64]

    def __len__(self) -> int:
        return len(self.chosen)

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """`image` uint8 [8, 8, 1] and its label; a digit has no other view."""
        del rng
        position = self.chosen[index]
        label = np.int32(self.target[position])
        pictures = {name: levels[position] for name, levels in self.pictures.items()}
        return {
            "key": f"digits/{position:04d}",
            "image": self.images[position],
            "condition": {"label": label, **pictures},
            "groups": {"label": str(label)},
        }


def open_source(path: str, options: Mapping[str, Any], seed: int) -> DigitsSource:
    """The source; it has no files.

    Raises:
      UsageError: a path, or a pair that there is not.
    """
    if path:
        raise UsageError(
            f"Found data.path = {path!r} with data.raw = 'digits'; expected none, as "
            "scikit-learn carries them; leave it away."
        )
    if options["pair"] not in ("", *PAIRS):
        raise UsageError(
            f"Found data.options.pair = {options['pair']!r}; expected one of "
            f"{', '.join(PAIRS)}, or '' for no second picture; correct it."
        )
    return DigitsSource(seed=seed, pair=options["pair"])
