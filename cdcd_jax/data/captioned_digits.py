"""Raw source `captioned_digits`: two real handwritten digits and a caption of both.

Two of scikit-learn's 8x8 digits lie on a black canvas of 16x16 pixels, next to each
other, one above the other or on a diagonal; the caption ("a three to the left of a
seven") says which digits and where. 20 of the 100 ordered pairs of digits are never
seen in training: the test split is made of these alone, with test digits. No download.
"""

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdcd_jax.data.digits import TRAIN_FRACTION
from cdcd_jax.data.sources import Example, known_split
from cdcd_jax.errors import InputError, UsageError

OPTIONS = {
    "train_examples": 20_000,
    "test_examples": 2_000,
    "held_out_pairs": 20,  # of the 100 ordered pairs; a multiple of 10, 10 to 50
}
SPLITS = ("train", "test")
SIDE = 16  # of the canvas, in pixels; a digit has half of it
NAMES = "zero one two three four five six seven eight nine".split()
# Place 3 * row + column has its top left corner at pixel (4 * row, 4 * column).
PLACES = (
    *("top left", "top", "top right"),
    *("left", "centre", "right"),
    *("bottom left", "bottom", "bottom right"),
)
# The places of the first and the second digit of a pair: the first is the left one, or,
# where they are not in one row, the upper one. So a picture has one pair only.
ARRANGEMENTS = ((0, 2), (3, 5), (6, 8), (0, 6), (1, 7), (2, 8), (0, 8), (2, 6))
# What the first is to the second, the second to the first, and what follows both.
_LEFT, _ABOVE = ("to the left of", "to the right of"), ("above", "below")
_RELATIONS = {
    (0, 2): (*_LEFT, " at the top"),
    (3, 5): (*_LEFT, ""),
    (6, 8): (*_LEFT, " at the bottom"),
    (0, 6): (*_ABOVE, " on the left"),
    (1, 7): (*_ABOVE, ""),
    (2, 8): (*_ABOVE, " on the right"),
    (0, 8): ("above and to the left of", "below and to the right of", ""),
    (2, 6): ("above and to the right of", "below and to the left of", ""),
}


def place_corner(place: int) -> tuple[int, int]:
    """Row and column of the top left pixel of the 8x8 digit at a place."""
    return SIDE // 4 * (place // 3), SIDE // 4 * (place % 3)


def captions(digits: tuple[int, int], places: tuple[int, int]) -> list[str]:
    """All phrasings for a pair of digits at one of ARRANGEMENTS; no two share one."""
    first, second = (with_article(digit) for digit in digits)
    forward, backward, where = _RELATIONS[tuple(places)]
    here, there = (_at(place) for place in places)
    return [
        f"{first} {forward} {second}{where}",
        f"{second} {backward} {first}{where}",
        f"{first} {here} and {second} {there}",
        f"{second} {there} and {first} {here}",
    ]


def read_caption(text: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """The digits and the places of a caption; case and outer spaces do not matter.

    Raises:
      InputError: not a caption of `captions`.
    """
    examples = "; ".join(captions((3, 7), (3, 5)))
    return meaning_of(text, _meanings(), f"one of two digits such as {examples}")


def meaning_of(text: str, meanings: Mapping[str, Any], expected: str) -> Any:
    """What a caption says, of all captions and their meanings.

    Raises:
      InputError: none of them; names what was `expected`.
    """
    meaning = meanings.get(" ".join(text.lower().split()).rstrip("."))
    if meaning is None:
        raise InputError(
            f"Found the caption {text!r}; expected {expected}; say it in these words."
        )
    return meaning


@functools.cache
def _meanings() -> dict[str, tuple[tuple[int, int], tuple[int, int]]]:
    pairs = itertools.product(range(10), repeat=2)
    return {
        text: (digits, places)
        for digits, places in itertools.product(pairs, ARRANGEMENTS)
        for text in captions(digits, places)
    }


def with_article(digit: int) -> str:
    """A digit in words, such as "a seven"."""
    return f"{'an' if digit == 8 else 'a'} {NAMES[digit]}"


def _at(place: int) -> str:
    name = PLACES[place]
    return f"{'on' if name in ('left', 'right') else 'at'} the {name}"


def held_out_pairs(seed: int, number: int = 20) -> frozenset[tuple[int, int]]:
    """The ordered pairs of digits that training never sees.

    Each digit is first in `number` / 10 of them, and second in as many, so that all are
    equally frequent in training.
    """
    order = np.random.default_rng((seed, 2)).permutation(10)
    # In a random order of the digits, everyone with the next, the one after it, ...
    return frozenset(
        (int(order[i]), int(order[(i + step) % 10]))
        for step in range(1, number // 10 + 1)
        for i in range(10)
    )


@dataclass(frozen=True)
class CaptionedDigitsSource:
    """The source; `seed` fixes the split of the digits, the pairs and all examples."""

    seed: int
    train_examples: int
    test_examples: int
    held_out_pairs: int

    def card(self) -> dict[str, Any]:
        """Name, splits, conditions (text; digits and places for evaluation), media."""

        def pair(names: list[str]) -> dict[str, Any]:
            spec = {"kind": "label", "shape": [2], "dtype": "int32"}
            return {**spec, "num_classes": len(names), "names": names}

        return {
            "name": "captioned_digits",
            "splits": SPLITS,
            "conditions": {
                "text": {"kind": "text"},
                "digits": pair(NAMES),
                "places": pair(list(PLACES)),
            },
            "media": {"kind": "image", "shape": [SIDE, SIDE, 1]},
        }

    def split(self, name: str) -> "CaptionedDigits":
        """One of 'train' and 'test'."""
        known_split(name, SPLITS, "captioned_digits")
        return CaptionedDigits(self, name)


class CaptionedDigits:
    """The examples of one split, made when they are asked for."""

    def __init__(self, source: CaptionedDigitsSource, name: str) -> None:
        self._name, self._seed = name, source.seed
        self._number = getattr(source, f"{name}_examples")
        held_out = held_out_pairs(source.seed, source.held_out_pairs)
        pairs = sorted(
            pair
            for pair in itertools.product(range(10), repeat=2)
            if (pair in held_out) == (name == "test")
        )
        # Every pair at every place equally often, in an order without pattern.
        self._meanings = list(itertools.product(pairs, ARRANGEMENTS))
        np.random.default_rng((source.seed, 3)).shuffle(self._meanings)
        self._digits, self._pools = _pools(source.seed, name)

    def __len__(self) -> int:
        return self._number

    def texts(self) -> list[str]:
        """All that captions of this split can say, which few examples may not."""
        return [text for meaning in self._meanings for text in captions(*meaning)]

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """Example `index`; with `rng`, other handwritings and another phrasing of it.

        Returns: `key`; `image` uint8 [16, 16, 1], multiples of 255 / 16 (rounded);
          `condition` with `text` (str), `digits` int32 [2] and `places` int32 [2] (the
          left or upper digit first); `groups`: `caption`, the same for all phrasings of
          one meaning, and `pair`.
        Raises: IndexError.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        if rng is None:
            rng = np.random.default_rng((self._seed, SPLITS.index(self._name), index))
        digits, places = self._meanings[index % len(self._meanings)]
        image = np.zeros((SIDE, SIDE, 1), np.uint8)
        for digit, place in zip(digits, places, strict=True):
            row, column = place_corner(place)
            drawn = self._digits[rng.choice(self._pools[digit])]
            image[row : row + 8, column : column + 8, 0] = drawn
        return {
            "key": f"captioned_digits/{self._name}/{index:06d}",
            "image": image,
            "condition": {
                "text": str(rng.choice(captions(digits, places))),
                "digits": np.array(digits, np.int32),
                "places": np.array(places, np.int32),
            },
            "groups": {
                "caption": f"{digits[0]} {digits[1]} {places[0]} {places[1]}",
                "pair": f"{digits[0]} {digits[1]}",
            },
        }


@functools.lru_cache(maxsize=4)
def _pools(seed: int, split: str) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """All digits uint8 [1797, 8, 8], and for each class the indices of the split's.

    The split is that of the source `digits` with the same seed.
    """
    from sklearn.datasets import load_digits  # slow to import

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(images))
    number = int(TRAIN_FRACTION * len(images))
    chosen = order[:number] if split == "train" else order[number:]
    return images, tuple(chosen[digits.target[chosen] == d] for d in range(10))


def open_source(
    path: str, options: Mapping[str, Any], seed: int
) -> CaptionedDigitsSource:
    """The source; `path` must be empty, as the digits come with scikit-learn.

    Raises:
      UsageError: a path, or an option out of range.
    """
    if path:
        raise UsageError(
            f"Found data.path = {path!r} for the source captioned_digits; expected "
            "none, as it needs no files; remove it."
        )
    for name in ("train_examples", "test_examples"):
        if options[name] < 1:
            raise UsageError(
                f"Found data.options.{name} = {options[name]}; expected 1 or more; "
                "correct it."
            )
    if options["held_out_pairs"] not in range(10, 60, 10):
        raise UsageError(
            f"Found data.options.held_out_pairs = {options['held_out_pairs']}; "
            "expected 10, 20, 30, 40 or 50; correct it."
        )
    return CaptionedDigitsSource(seed=seed, **options)
