"""Raw source `digits`: the 1,797 real handwritten digits that scikit-learn carries.

They are 8x8 pixels with grey levels 0 to 16, here scaled to uint8. No download.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdcd_jax.data.sources import Example, known_split
from cdcd_jax.errors import UsageError

OPTIONS: dict[str, Any] = {}
SPLITS = ("train", "test")
TRAIN_FRACTION = 0.8


@dataclass(frozen=True)
class DigitsSource:
    """The digits, split once and for all by `seed` into 1,437 train and 360 test."""

    seed: int

    def card(self) -> dict[str, Any]:
        """See `sources.RawSource`."""
        label = {"kind": "label", "shape": [], "dtype": "int32", "num_classes": 10}
        return {
            "name": "digits",
            "splits": SPLITS,
            "conditions": {"label": label},
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
        return DigitsSplit(chosen, images, digits.target)


@dataclass(frozen=True)
class DigitsSplit:
    """`chosen` are positions in scikit-learn's arrays, which the keys hold."""

    chosen: np.ndarray
    images: np.ndarray  # uint8 [1797, 8, 8, 1]
    target: np.ndarray

    def __len__(self) -> int:
        return len(self.chosen)

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """`image` uint8 [8, 8, 1] and its label; a digit has no other view."""
        del rng
        position = self.chosen[index]
        label = np.int32(self.target[position])
        return {
            "key": f"digits/{position:04d}",
            "image": self.images[position],
            "condition": {"label": label},
            "groups": {"label": str(label)},
        }


def open_source(path: str, options: Mapping[str, Any], seed: int) -> DigitsSource:
    """The source; it has no files and no options.

    Raises:
      UsageError: a path.
    """
    del options
    if path:
        raise UsageError(
            f"Found data.path = {path!r} with data.raw = 'digits'; expected none, as "
            "scikit-learn carries them; leave it away."
        )
    return DigitsSource(seed=seed)
