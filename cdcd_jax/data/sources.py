"""Raw sources: the table of their names, what each one offers, and unreadable files.

A source is a module with `OPTIONS` (option -> default) and `open_source(path, options,
seed)`, which gives a `RawSource`. Its examples have an order that never changes and are
reached by number, so that any process can make any part of the records. One from
elsewhere joins with an entry in `SOURCES`, in a config file for instance.
"""

import importlib
import sys
import threading
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from cdcd_jax.config import merge
from cdcd_jax.data.names import shown
from cdcd_jax.data.walk import told
from cdcd_jax.errors import InputError, UsageError

# name in the config -> the source, or its module's name, to be imported when it is used
SOURCES: dict[str, Any] = {
    "aist": "cdcd_jax.data.aist",
    "audio_folder": "cdcd_jax.data.audio_folder",
    "captioned_digits": "cdcd_jax.data.captioned_digits",
    "captions": "cdcd_jax.data.captions",
    "digit_media": "cdcd_jax.data.digit_media",
    "digits": "cdcd_jax.data.digits",
    "image_folder": "cdcd_jax.data.image_folder",
    "tfds": "cdcd_jax.data.tfds_source",
    "tiktok": "cdcd_jax.data.tiktok",
    "toy_dance": "cdcd_jax.data.toy_dance",
}
MOST_UNREADABLE = 0.01  # of the files that a run touches
_TOLD: set[str] = set()  # lines on what was passed over

Example = dict[str, Any]


class Unreadable(Exception):
    """One file of a source that cannot be used.

    Attributes:
        name: of the file.
        reason: in a few words.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


class RawSplit(Protocol):
    """The examples of one split; may be shared by threads.

    One may have `names()`: of each example, without opening it, the name of its picture
    or sound, the same for all captions of a picture. Files of negatives need it.
    """

    def __len__(self) -> int: ...

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """Example `index`, as it is or (given `rng`) one augmented view of it.

        Returns:
            key (str, stable and unique), condition {name: value}, groups {rule: str}
            (what inter-sample negatives must differ in), and `image` uint8 [H, W, C],
            `video` uint8 [F, H, W, C] or `audio` float32 [S] in [-1, 1], of the card's
            shape; perhaps place, where its condition stands, for messages.

        Raises:
            Unreadable: its file cannot be used.
        """


class RawSource(Protocol):
    """What every source offers."""

    def card(self) -> dict[str, Any]:
        """What the examples are.

        Returns:
            name; splits, their names; conditions, name -> `kind` (label, array, text,
            image), `shape`, `dtype` and, for labels, `num_classes` and perhaps `names`,
            for pictures, whose pixels are [H * W * C], `levels` and `grid`; media,
            {"kind": "image", "shape": [H, W, C]}, {"kind": "video", "shape": [F, H, W,
            C]} or {"kind": "audio", "shape": [S], "sample_rate": Hz}; perhaps left_out,
            kind -> number of files that are not read, and remarks, sentences on how
            folders were read, both for the user.
        """

    def split(self, name: str) -> RawSplit:
        """The examples of a split; UsageError where there is none of that name."""


def open_source(
    name: str, path: str = "", options: Mapping[str, Any] | None = None, seed: int = 0
) -> RawSource:
    """The source `name`, its folder tree checked.

    Args:
        path: where its files lie; "" for sources that need none.
        options: of the source, laid over its `OPTIONS`.
        seed: of what the source draws, 0 or more.

    Raises:
        UsageError: unknown name or option, or a value that the source refuses.
        InputError: the folder is not as the source expects it.
    """
    if name not in SOURCES:
        raise UsageError(
            f"Found data.raw = {name!r}; expected one of "
            f"{', '.join(sorted(SOURCES))}; correct data.raw, or name with "
            "--config the file that defines this source."
        )
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise UsageError(
            f"Found seed = {seed!r}; expected a whole number, 0 or more; correct it."
        )
    source = SOURCES[name]
    if isinstance(source, str):
        source = importlib.import_module(source)
    options = merge(source.OPTIONS, options or {}, "data.options.")
    opened = source.open_source(path, options, seed)
    _tell(f"{name}: {shown(path)}", opened.card())
    return opened


def _tell(what: str, card: Mapping[str, Any]) -> None:
    """What a source passed over."""
    lines = list(card.get("remarks", []))
    if card.get("left_out"):
        lines.insert(0, f"left out: {told(card['left_out'])}")
    for line in lines:
        tell(f"{what}: {line}")


def tell(line: str) -> None:
    """A line on standard error; the same once in a process."""
    from cdcd_jax.runtime import hosts  # imports JAX

    if line not in _TOLD and hosts.is_main():
        print(line, file=sys.stderr)
    _TOLD.add(line)


def known_split(name: str, splits: tuple[str, ...], source: str) -> None:
    """Raises UsageError unless the source has a split of this name."""
    if name not in splits:
        raise UsageError(
            f"Found the split {name!r} of {source}; expected one of "
            f"{', '.join(splits)}; name one of these."
        )


class TooManyUnreadable(InputError):
    """More files are unreadable than may be; names them."""


class UnreadableFiles:
    """The unreadable files of a run: named at the end, too many of them stop it."""

    def __init__(
        self, total: int, share: float = MOST_UNREADABLE, listed: int = 0
    ) -> None:
        """What there may be.

        Args:
            total: examples that the run may touch.
            share: of them that may be unreadable.
            listed: so many are gathered before too many of them are an error, so that
                it names them all at once; who asks for it calls `check` at the end.
        """
        self._total, self._share, self._listed = total, share, listed
        self._reasons: dict[str, str] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, name: str, reason: str) -> None:
        """Notes a file.

        Raises:
            TooManyUnreadable: see `check`.
        """
        with self._lock:
            self._reasons[name] = reason
        if len(self._reasons) > self._listed:
            self.check()

    def check(self) -> None:
        """Raises TooManyUnreadable if more are unreadable than the share."""
        with self._lock:
            pairs = sorted(self._reasons.items())
        if len(pairs) > self._share * self._total:
            most = max(self._listed, 10)
            shown = [f"{name} ({reason})" for name, reason in pairs[:most]]
            shown += ["..."] * (len(pairs) > most)
            raise TooManyUnreadable(
                f"Found {len(pairs)} unreadable of {self._total} examples, more than "
                f"{self._share:.0%}:\n  "
                + "\n  ".join(shown)
                + "\nExpected files that can be read; repair or remove them and run "
                "the same command again. Where records are made, data.unreadable is "
                "the share that may be left out."
            )

    def report(self) -> None:
        """Names them all on standard error."""
        for name, reason in sorted(self._reasons.items()):
            print(f"left out: {name}: {reason}", file=sys.stderr)
