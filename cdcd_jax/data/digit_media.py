"""Raw source `digit_media`: captions of single digits, with pictures or with sounds.

With `media` of "image" the pictures of the source `digits`, in its splits; with "sound"
the melodies of `tones`, where each digit has one of its own. Captions ("a seven", "the
digit 7") come from one function, so that they join both, which never stand together.
No download.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdcd_jax.data import tones
from cdcd_jax.data.captioned_digits import NAMES, meaning_of, with_article
from cdcd_jax.data.digits import SPLITS, DigitsSource
from cdcd_jax.data.sources import Example, RawSplit, known_split
from cdcd_jax.errors import UsageError

OPTIONS: dict[str, Any] = {
    "media": "image",  # image, sound
    "train_sounds": 4_000,
    "test_sounds": 400,
}
MEDIA = ("image", "sound")


def captions(digit: int) -> list[str]:
    """All phrasings for a digit, of at most five words; no two digits share one."""
    name, one = NAMES[digit], with_article(digit)
    return [
        *(one, f"this is {one}", f"number {name}", f"number {digit}"),
        *(f"the digit {name}", f"the digit {digit}", f"here is the digit {digit}"),
        f"this is the number {name}",
    ]


def read_caption(text: str) -> int:
    """The digit of a caption; case and outer spaces do not matter.

    Raises:
        InputError: not a caption of `captions`.
    """
    examples = "; ".join(captions(7))
    return meaning_of(text, _meanings(), f"one of a digit such as {examples}")


@functools.cache
def _meanings() -> dict[str, int]:
    return {text: digit for digit in range(10) for text in captions(digit)}


@dataclass(frozen=True)
class DigitMediaSource:
    """The source; all examples follow from `seed`."""

    seed: int
    media: str
    train_sounds: int
    test_sounds: int

    def card(self) -> dict[str, Any]:
        """See `sources.RawSource`; `label`, the digit, is for evaluation."""
        image = DigitsSource(self.seed).card()
        media = {
            "image": image["media"],
            "sound": {
                "kind": "audio",
                "shape": [tones.SAMPLES],
                "sample_rate": tones.SAMPLE_RATE,
            },
        }
        return {
            "name": "digit_media",
            "splits": SPLITS,
            "conditions": {"text": {"kind": "text"}, **image["conditions"]},
            "media": media[self.media],
        }

    def split(self, name: str) -> "Captioned":
        """One of 'train' and 'test'."""
        known_split(name, SPLITS, "digit_media")
        if self.media == "image":
            return Captioned(self.seed, name, DigitsSource(self.seed).split(name))
        number = getattr(self, f"{name}_sounds")
        return Captioned(self.seed, name, tones.Tones(self.seed, name, number))


@dataclass(frozen=True)
class Captioned:
    """Examples of one medium, each with a caption of its label."""

    seed: int
    name: str
    shown: RawSplit

    def __len__(self) -> int:
        return len(self.shown)

    def texts(self) -> list[str]:
        """All that captions can say."""
        return list(_meanings())

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """Example `index`; with `rng`, another phrasing, and a sound is played anew.

        Returns: `key`; `image` uint8 [8, 8, 1] or `audio` float32 [6144]; `condition`
          with `text` (str) and `label` int32 []; `groups`: `label`.
        Raises: IndexError.
        """
        example = self.shown.example(index, rng)
        if rng is None:  # of its own, so that no caption follows from the sound
            rng = np.random.default_rng((self.seed, 4, SPLITS.index(self.name), index))
        label = example["condition"]["label"]
        text = str(rng.choice(captions(int(label))))
        return {**example, "condition": {"text": text, "label": label}}


def open_source(path: str, options: Mapping[str, Any], seed: int) -> DigitMediaSource:
    """The source; `path` must be empty.

    Raises:
        UsageError: a path, or an option out of range.
    """
    if path:
        raise UsageError(
            f"Found data.path = {path!r} for the source digit_media; expected none, as "
            "it needs no files; remove it."
        )
    if options["media"] not in MEDIA:
        raise UsageError(
            f"Found data.options.media = {options['media']!r}; expected one of "
            f"{', '.join(MEDIA)}; correct it."
        )
    for name in ("train_sounds", "test_sounds"):
        if options[name] < 1:
            raise UsageError(
                f"Found data.options.{name} = {options[name]}; expected 1 or more; "
                "correct it."
            )
    return DigitMediaSource(seed=seed, **options)
