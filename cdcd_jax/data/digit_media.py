"""Raw source `digit_media`: captions of digits, with pictures, videos or sounds.

With `media` of "image" the pictures of the source `digits`, in its splits; with
"placed" these at a side of the picture, and with "moving" videos of `frames` frames in
which they go there, whose captions name the side; with "sound"
the melodies of `tones`, where each digit has one of its own; with "spoken" recordings
of the digits' names, the files `<digit>_<speaker>_<i>.wav` below `path`, as the Free
Spoken Digit Dataset has them, of which i = 0 to 4 are the test split. Captions ("a
seven", "the digit 7 on the left") come from one function, so that they join all of
these, which never stand together. All but recordings need no files.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdcd_jax.data import audio_folder, tones
from cdcd_jax.data.captioned_digits import NAMES, meaning_of, with_article
from cdcd_jax.data.digits import SPLITS, DigitsSource
from cdcd_jax.data.moving_digits import CANVAS, ROAD, SIDES, sided_digits
from cdcd_jax.data.sources import Example, RawSplit, known_split
from cdcd_jax.errors import InputError, UsageError

OPTIONS: dict[str, Any] = {
    "media": "image",  # image, placed, moving, sound, spoken
    "frames": ROAD + 1,  # of moving
    "train_sounds": 4_000,  # of melodies
    "test_sounds": 400,
}
MEDIA = ("image", "placed", "moving", "sound", "spoken")
# of each of SIDES; stills say both, so that videos need no words of their own
WHERE = (
    *(("on the left", "to the left"), ("on the right", "to the right")),
    *(("at the top", "to the top"), ("at the bottom", "to the bottom")),
)
# options of `audio_folder`: recordings of one loudness, the longest ones cut
RECORDINGS = dict(
    sample_rate=8_000,
    length=5_120,  # 0.64 s
    label="pattern",
    pattern=r"(?P<label>\d)_[^_]+_(?P<group>\d+)",
    split="group",
    test_groups=tuple("01234"),
    peak=0.95,
    amplitude=False,
    latest=0.15,
)


def captions(label: int, side: int | None = None) -> list[str]:
    """All phrasings for a digit, of at most five words, and of eight at a side.

    No two meanings share one.

    Args:
        label: the digit.
        side: number of `SIDES` that it is at, or goes to; None for no word of it.
    """
    name, one = NAMES[label], with_article(label)
    plain = [
        *(one, f"this is {one}", f"number {name}", f"number {label}"),
        *(f"the digit {name}", f"the digit {label}", f"here is the digit {label}"),
        f"this is the number {name}",
    ]
    if side is None:
        return plain
    return [f"{text} {where}" for text in plain for where in WHERE[side]]


def read_caption(text: str) -> dict[str, int]:
    """What a caption says, `label` and perhaps `side`, as `captions` takes them.

    Case and outer spaces do not matter.

    Raises:
        InputError: not a caption of `captions`.
    """
    examples = "; ".join(captions(7))
    return meaning_of(text, _meanings(), f"one of a digit such as {examples}")


@functools.cache
def _meanings() -> dict[str, dict[str, int]]:
    plain = [{"label": digit} for digit in range(10)]
    sided = [{**one, "side": side} for one in plain for side in range(len(SIDES))]
    return {text: said for said in (*plain, *sided) for text in captions(**said)}


@dataclass(frozen=True)
class DigitMediaSource:
    """The source; all examples follow from `seed`, and from the files."""

    seed: int
    shown: Mapping[str, RawSplit]  # split -> examples without captions
    told: Mapping[str, Any]  # of the card: media, and perhaps left_out and remarks
    sided: bool = False  # captions name a side

    def card(self) -> dict[str, Any]:
        """See `sources.RawSource`; `label`, the digit, and `side` are to judge by."""
        labels = DigitsSource(self.seed).card()["conditions"]
        if self.sided:
            side = {"num_classes": len(SIDES), "names": list(SIDES)}
            labels["side"] = {**labels["label"], **side}
        return {
            "name": "digit_media",
            "splits": SPLITS,
            "conditions": {"text": {"kind": "text"}, **labels},
            **self.told,
        }

    def split(self, name: str) -> "Captioned":
        """One of 'train' and 'test'."""
        known_split(name, SPLITS, "digit_media")
        return Captioned(self.seed, name, self.shown[name], self.sided)


@dataclass(frozen=True)
class Captioned:
    """Examples of one medium, each with a caption of its label, and side if `sided`."""

    seed: int
    name: str
    shown: RawSplit
    sided: bool = False

    def __len__(self) -> int:
        return len(self.shown)

    def texts(self) -> list[str]:
        """All that captions can say."""
        return [text for text, m in _meanings().items() if ("side" in m) == self.sided]

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """Example `index`; with `rng`, another phrasing, melody played anew, or side.

        Returns: `key`; `image` uint8 [8, 8, 1], `video` uint8 [F, 8, 8, 1] or `audio`
          float32 [S], S = 6144 of melodies and 5120 of recordings; `condition` with
          `text` (str), `label` and perhaps `side` int32 []; `groups`: `label`.
        Raises: IndexError; Unreadable, of a recording's file.
        """
        example = self.shown.example(index, rng)
        if rng is None:  # of its own, so that no caption follows from the sound
            rng = np.random.default_rng((self.seed, 4, SPLITS.index(self.name), index))
        of = {k: v for k, v in example["condition"].items() if k in ("label", "side")}
        text = str(rng.choice(captions(**{k: int(v) for k, v in of.items()})))
        said, label = {"text": text, **of}, str(of["label"])
        return {**example, "condition": said, "groups": {"label": label}}


def open_source(path: str, options: Mapping[str, Any], seed: int) -> DigitMediaSource:
    """The source; `path` is for recordings alone.

    Raises:
        UsageError: an option out of range, a path too much or none where it is needed.
        InputError: the folder does not hold recordings of all ten digits.
    """
    media = options["media"]
    if media not in MEDIA:
        raise UsageError(
            f"Found data.options.media = {media!r}; expected one of "
            f"{', '.join(MEDIA)}; correct it."
        )
    if path and media != "spoken":
        raise UsageError(
            f"Found data.path = {path!r} for media = {media!r} of the source "
            "digit_media; expected none, as it needs no files; remove it."
        )
    for name, least in (("train_sounds", 1), ("test_sounds", 1), ("frames", 2)):
        if options[name] < least:
            raise UsageError(
                f"Found data.options.{name} = {options[name]}; expected {least} or "
                "more; correct it."
            )
    if media in ("placed", "moving"):
        frames = options["frames"] if media == "moving" else 0
        kind, shape = ("video", [frames]) if frames else ("image", [])
        told = dict(kind=kind, shape=[*shape, CANVAS, CANVAS, 1])
        sided = sided_digits(seed, frames)
        return DigitMediaSource(seed, sided, {"media": told}, sided=True)
    if media == "image":
        digits = DigitsSource(seed)
        shown: dict[str, RawSplit] = {name: digits.split(name) for name in SPLITS}
        return DigitMediaSource(seed, shown, {"media": digits.card()["media"]})
    if media == "spoken":
        return _recordings(path, seed)
    shown = {
        name: tones.Tones(seed, name, options[f"{name}_sounds"]) for name in SPLITS
    }
    told = dict(kind="audio", shape=[tones.SAMPLES], sample_rate=tones.SAMPLE_RATE)
    return DigitMediaSource(seed, shown, {"media": told})


def _recordings(path: str, seed: int) -> DigitMediaSource:
    if not path:
        raise UsageError(
            "Found no data.path for media = 'spoken' of the source digit_media; "
            "expected the folder of the recordings, <digit>_<speaker>_<i>.wav; set it."
        )
    options = {**audio_folder.OPTIONS, **RECORDINGS}
    folder = audio_folder.open_source(path, options, seed)
    if folder.classes != list("0123456789"):
        raise InputError(
            f"Found recordings of {', '.join(folder.classes)} in {folder.root}; "
            "expected all digits from 0 to 9; complete them, or correct data.path."
        )
    told = {k: v for k, v in folder.card().items() if k in ("media", *folder.passed)}
    return DigitMediaSource(seed, {name: folder.split(name) for name in SPLITS}, told)
