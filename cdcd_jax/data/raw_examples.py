"""Examples of a raw source as a model of pictures or sound takes them.

For training, augmented and one by one; for judging, some of a split in batches.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.data.sources import (
    RawSource,
    RawSplit,
    Unreadable,
    UnreadableFiles,
    open_source,
)
from cdcd_jax.errors import InputError, UsageError

Batch = dict[str, Any]


def open_raw(config: Mapping[str, Any], media: Mapping[str, Any]) -> RawSource:
    """The raw source of `config["data"]`, whose examples must be as `media` says.

    Raises:
        UsageError: no source, or one whose examples differ.
        InputError: its folder is not as it expects it.
    """
    data = config["data"]
    if not data["raw"]:
        raise UsageError(
            "data.raw is empty: name a source of pictures or sound (see docs/data.md) "
            "and its data.path, or set data.synthetic=True for random batches"
        )
    source = open_source(data["raw"], data["path"], data["options"], config["seed"])
    found = source.card()["media"]
    differing = [key for key in media if _list_or_value(found.get(key)) != media[key]]
    if differing:
        raise UsageError(
            f"Found examples {found} of {data['raw']}; expected {dict(media)}, as "
            "`model` takes them; set data.options or `model` to fit."
        )
    return source


def _list_or_value(value: Any) -> Any:
    """Tuples as lists, to compare shapes."""
    return list(value) if isinstance(value, tuple) else value


class RawExamples:
    """Pictures or sound of a raw source, augmented if asked for.

    Unreadable files are replaced by the next ones, and named when the stream ends.
    """

    def __init__(self, source: RawSource, split: str, augment: bool) -> None:
        """Raises: UsageError: no such split."""
        self._split, self._augment = source.split(split), augment
        self._kind = source.card()["media"]["kind"]
        self.unreadable = UnreadableFiles(len(self._split))

    def __len__(self) -> int:
        return len(self._split)

    def example(self, index: int, rng: np.random.Generator) -> Batch:
        """{"image": ...} or {"audio": ...} of example `index`.

        Raises:
          InputError: too many unreadable files.
        """
        for other in range(index, index + len(self)):
            try:
                item = self._split.example(
                    other % len(self), rng if self._augment else None
                )
            except Unreadable as error:
                self.unreadable.add(error.name, error.reason)
            else:
                return {self._kind: item[self._kind]}
        raise AssertionError("unreadable.add stops before all are unreadable")


def raw_pass(split: RawSplit, kind: str, number: int, batch_size: int) -> list[Batch]:
    """At most `number` examples of a raw split, spread evenly over it, as batches.

    Args:
      kind: image, video or audio.

    Returns:
      dicts of `kind` [B, ...] and "condition", name -> [B, ...], without texts.

    Raises:
      InputError: too many unreadable files, which are left out and named otherwise.
    """
    check_positive("number", number)
    chosen = np.linspace(0, len(split) - 1, min(number, len(split))).astype(int)
    unreadable, found = UnreadableFiles(len(split)), []
    for index in chosen:
        try:
            found.append(split.example(int(index)))
        except Unreadable as error:
            unreadable.add(error.name, error.reason)
    unreadable.report()
    if not found:
        raise InputError(
            f"Found no example that can be read among {number} of {len(split)}; "
            "expected one or more; repair the files, or look at more of them."
        )
    starts = range(0, len(found), batch_size)
    batches = []
    for i in starts:
        part = found[i : i + batch_size]
        conditions = [
            {k: v for k, v in e["condition"].items() if not isinstance(v, str)}
            for e in part
        ]
        stacked = {k: np.stack([c[k] for c in conditions]) for k in conditions[0]}
        media = np.stack([example[kind] for example in part])
        batches.append({kind: media, "condition": stacked})
    return batches


def check_positive(name: str, value: int) -> None:
    """Raises UsageError for a number below 1."""
    if value < 1:
        raise UsageError(f"Found {name} = {value}; expected 1 or more; correct it.")
