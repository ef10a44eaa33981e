"""Negatives that a file names, as CDCD publishes them, in place of a draw.

The file is a JSON list; its row i names the negatives of training example i, in the
order of the source's lists, by paths or numbers:

    aist_extra_negative_samples.json   sounds by absolute path; a row for each line of
                                       aist_audio_train_segment_s6.txt
    coco_negative_samples.json         pictures by image_id; a row for each annotation
                                       of captions_train2014.json
    cub_negative_samples.json          pictures by path below images/; a row for each
                                       picture of train/filenames.pickle

A negative is the tokens of a picture or sound. So its captions are one, the record of
the first of them stands for it, and a row that is a picture's is that of each of its
captions.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from cdcd_jax.data import audio, images
from cdcd_jax.data.names import same_name
from cdcd_jax.errors import InputError

SHOWN = 3  # names of an error


class NegativesFile:
    """A file that is there; `sha256` tells it from others."""

    def __init__(self, path: str) -> None:
        """Reads it, and understands nothing of it yet.

        Raises:
            InputError: no such file.
        """
        self.path = path
        try:
            self._content = Path(path).read_bytes()
        except OSError as error:
            raise InputError(
                f"Found no readable {path} ({error.strerror}); expected the JSON list "
                "of negatives that negatives.file names; correct the path."
            ) from error
        self.sha256 = sha256(self._content).hexdigest()

    def resolve(
        self, names: Sequence[str], number: int, views: int
    ) -> "NamedNegatives":
        """Which picture or sound each entry is.

        Args:
            names: of each training example, see `sources.RawSplit.names`.
            number: of negatives in a row.
            views: of each training example in the records.

        Raises:
            InputError: no JSON list of rows of `number` names; another number of rows
                than of examples or of their pictures; names that none or several of
                these have; an example that is its own negative.
        """
        rows = self._rows(number)
        numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
        own = np.array([numbers[name] for name in names], np.int64)
        if len(rows) not in (len(names), len(numbers)):
            parts = f" or {len(numbers)}, one for each picture or sound of theirs,"
            raise self._wrong(
                f"{len(rows)} rows",
                f"{len(names)}, one for each training example,"
                f"{parts if len(numbers) < len(names) else ''} in their order",
                "set data.options to the lists that the file was made for",
            )
        found = self._found(rows, list(numbers))
        others = found if len(rows) == len(names) else found[own]
        bad = np.flatnonzero((others == own[:, None]).any(axis=1))
        if len(bad):
            shown = [f"{names[i]!r}" for i in bad[:SHOWN]]
            raise self._wrong(
                f"{len(bad)} examples that are negatives of their own, {_told(shown)}",
                "others in their rows",
                "set data.options to the lists that the file was made for",
            )
        return NamedNegatives(self.path, self.sha256, own, others, views)

    def _rows(self, number: int) -> list[list[Any]]:
        try:
            rows = json.loads(self._content.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise self._wrong(f"no JSON ({error})", "a JSON list of lists") from error
        if not isinstance(rows, list) or not rows:
            raise self._wrong("no rows", "a JSON list of lists")
        for i, row in enumerate(rows):
            if not isinstance(row, list) or not {type(e) for e in row} <= {str, int}:
                raise self._wrong(
                    f"{json.dumps(row)[:60]} in row {i}", "a list of names or numbers"
                )
            if len(row) != len(rows[0]):
                raise self._wrong(
                    f"{len(rows[0])} names in row 0 but {len(row)} in row {i}",
                    "rows of one length",
                )
        if len(rows[0]) != number:
            raise self._wrong(
                f"{len(rows[0])} names in each row",
                f"negatives.number = {number} of them",
                f"set it to {len(rows[0])}",
            )
        return rows

    def _found(self, rows: list[list[Any]], names: list[str]) -> np.ndarray:
        """The numbers in `names` that the entries stand for, [rows, number]."""
        by_end: dict[str, list[tuple[tuple[str, ...], int]]] = {}
        for i, name in enumerate(names):
            parts = _parts(name)
            by_end.setdefault(parts[-1], []).append((parts, i))
        found: dict[Any, list[int]] = {}
        for entry in dict.fromkeys(e for row in rows for e in row):
            parts = _parts(str(entry))
            same_end = by_end.get(parts[-1], ())
            found[entry] = [i for other, i in same_end if _fit(parts, other)]
        for what, bad in (
            ("no training example has", [e for e, i in found.items() if not i]),
            ("fit several", [e for e, i in found.items() if len(i) > 1]),
        ):
            if bad:
                raise self._wrong(
                    f"{len(bad)} of {len(found)} names that {what}, "
                    f"{_told([repr(e) for e in bad[:SHOWN]])}",
                    f"names like {names[0]!r} of the split train",
                    "set data.path and data.options to what the file was made for",
                )
        return np.array([[found[e][0] for e in row] for row in rows], np.int64)

    def _wrong(
        self, found: str, expected: str, advice: str = "correct it"
    ) -> InputError:
        return InputError(
            f"Found {found} in {self.path}; expected {expected}; {advice}, or leave "
            "negatives.file empty to draw by negatives.rule."
        )


def _parts(name: str) -> tuple[str, ...]:
    """A path's parts, without the suffix of a picture or a sound."""
    path = PurePosixPath(same_name(name) or ".")
    if path.suffix.lower() in _suffixes():
        path = path.with_suffix("")
    return path.parts or (".",)


@cache
def _suffixes() -> frozenset[str]:
    return frozenset([*images.suffixes(), *audio.suffixes()])


def _fit(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one is the end of the other."""
    number = min(len(one), len(other))
    return one[-number:] == other[-number:]


def _told(shown: list[str]) -> str:
    return f"such as {', '.join(shown)}"


@dataclass(frozen=True)
class NamedNegatives:
    """What each training example's negatives are, of examples that records may lack.

    Attributes:
        path: of the file, for messages, and its `sha256`.
        own: of each example its picture or sound, [examples].
        others: those of its negatives, [examples, number].
        views: of each example.
    """

    path: str
    sha256: str
    own: np.ndarray
    others: np.ndarray
    views: int

    def table(self, rows: Sequence[int]) -> np.ndarray:
        """The table of records: views of an example have that view of its negatives.

        Where a negative could not be read, others of its row stand twice, and standard
        error says how many do.

        Args:
            rows: of each record; row r is view r % views of example r // views.

        Returns: uint32 [len(rows), number], positions in `rows`.
        Raises:
            InputError: an example of which no negative could be read.
        """
        example, view = np.divmod(np.asarray(rows, np.int64), self.views)
        first = np.full((self.own.max() + 1) * self.views, -1)
        seen, at = np.unique(self.own[example] * self.views + view, return_index=True)
        first[seen] = at
        table = first[self.others[example] * self.views + view[:, None]]
        missing = table < 0
        if missing.all(axis=1).any():
            raise InputError(
                f"Found an example none of whose negatives in {self.path} could be "
                "read; expected one or more; repair the files that were left out, and "
                "make the records in another directory."
            )
        for i in np.flatnonzero(missing.any(axis=1)):
            table[i, missing[i]] = np.resize(table[i, ~missing[i]], missing[i].sum())
        if missing.any():
            print(
                f"negatives: {missing.sum()} of {missing.size} in {self.path} could "
                "not be read; others of their rows stand twice",
                file=sys.stderr,
            )
        return table.astype(np.uint32)
