"""Raw source `digits`: the 1,797 real handwritten digits that scikit-learn carries.

They are 8x8 pixels with grey levels 0 to 16, here scaled to uint8. No download.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdcd_jax.errors import UsageError

SPLITS = ("train", "test")
TRAIN_FRACTION = 0.8


@dataclass(frozen=True)
class DigitsSource:
    """The digits, split once and for all by `seed` into 1,437 train and 360 test."""

    seed: int

    def card(self) -> dict[str, Any]:
        """Returns name, splits (names) and the specification of the conditions."""
        label = {"shape": [], "dtype": "int32", "num_classes": 10}
        return {"name": "digits", "splits": SPLITS, "conditions": {"label": label}}

    def examples(self, split: str) -> Iterator[dict[str, Any]]:
        """Returns an iterator of dicts `key`, `image` uint8 [8, 8, 1], `condition`.

        The key holds the position of the digit in scikit-learn's array; the condition
        is `label`, the digit as int32 [].

        Raises:
          UsageError: there is no such split.
        """
        if split not in SPLITS:
            raise UsageError(
                f"Found the split {split!r} of digits; expected one of "
                f"{', '.join(SPLITS)}; name one of these."
            )
        return self._read(split)

    def _read(self, split: str) -> Iterator[dict[str, Any]]:
        from sklearn.datasets import load_digits  # slow to import

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
        order = np.random.default_rng(self.seed).permutation(len(images))
        num_train = int(TRAIN_FRACTION * len(images))
        chosen = order[:num_train] if split == "train" else order[num_train:]
        for index in chosen:
            yield {
                "key": f"digits/{index:04d}",
                "image": images[index],
                "condition": {"label": np.int32(digits.target[index])},
            }


def open_source(options: Mapping[str, Any]) -> DigitsSource:
    """Returns the source for `options`, which must hold just `seed`, 0 or more.

    Raises:
      UsageError: another key, or a bad seed.
    """
    if set(options) != {"seed"}:
        raise UsageError(
            f"Found the options {sorted(options)} for the source digits; expected "
            "['seed']; remove the other keys of `data`."
        )
    seed = options["seed"]
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise UsageError(
            f"Found seed = {seed!r}; expected a whole number, 0 or more; correct it."
        )
    return DigitsSource(seed=seed)
