"""Finished records whose files are missing or damaged: those are made again.

A shard depends on the config and its number alone, so that what is made again is the
same to the byte, as the sha256 in the card says. What is sound stays as it is, and
nothing takes a file's place before it is right.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cdcd_jax.data.card import Card
from cdcd_jax.data.negatives_file import NamedNegatives
from cdcd_jax.data.records import files_of, sha256
from cdcd_jax.data.shards import Layout, write_negatives
from cdcd_jax.data.vocabulary import FILE_NAME, Vocabulary
from cdcd_jax.errors import InputError
from cdcd_jax.models.representations import Representations
from cdcd_jax.models.texts import TextEncoder
from cdcd_jax.runtime import hosts
from cdcd_jax.stages.shard_set import ShardSet, make_shards, read_ahead

FOLDER = "repair"  # in the records, while it goes on


def vocabulary_of(card: Card) -> tuple[str, Vocabulary | None]:
    """sha256 of the trained vocabulary of records, and itself where it is sound.

    ("", None) of records without one.
    """
    specs = [s for s in card.conditions.values() if s.get("file") == FILE_NAME]
    if not specs:
        return "", None
    try:
        found = Vocabulary.load(card.directory / FILE_NAME)
    except InputError:
        found = None
    wanted = specs[0]["sha256"]
    return wanted, found if found and found.sha256 == wanted else None


def strangers(card: Card) -> list[str]:
    """Shards in the directory that the card does not name."""
    named = {part.file for part in files_of(card)}
    found = {path.name for path in card.directory.glob("*.arrayrecord")}
    return sorted(found - named)


def repair(
    card: Card,
    bad: Sequence[Any],
    sizes: Mapping[str, ShardSet],
    layout: Layout,
    tokenizer: Any,
    texts: TextEncoder,
    vectors: Representations,
    named: NamedNegatives | None = None,
) -> None:
    """Makes files of finished records again; every process of a run calls it.

    Args:
        card: of the records.
        bad: the shards and tables of negatives that are not as the card says.
        sizes: split -> its shards, of the raw source as it is now.
        layout, tokenizer, texts, vectors, named: what the records are made with.

    Raises:
        InputError: the raw source, or what encodes it, is not what it was.
    """
    _check_source(card, sizes, layout)
    place = card.directory / FOLDER
    if hosts.is_main():
        place.mkdir(exist_ok=True)
        texts.save(card.directory)
    hosts.wait_for_all("repair")
    for name, shards in sizes.items():
        known = card.splits[name].shards
        only = [i for i, shard in enumerate(known) if shard in bad]
        make_shards(place, shards, layout, tokenizer, texts, vectors, only)
    hosts.wait_for_all("repaired")
    if hosts.is_main():
        for name, split in card.splits.items():
            if split.negatives in bad:
                _draw(place, name, sizes[name], split.negatives, named)
        try:
            _put_back(card, bad, place)
        finally:
            shutil.rmtree(place)
    hosts.wait_for_all("put back")


def _draw(
    place: Path, name: str, shards: ShardSet, table: Any, named: NamedNegatives | None
) -> None:
    """A table of negatives anew, for which all examples are read, not encoded."""
    read = read_ahead(shards, list(range(shards.rows)))
    groups = [example["group"] for example in read if "unreadable" not in example]
    write_negatives(place, name, groups, table.number, table.rule, table.seed, named)


def _put_back(card: Card, bad: Sequence[Any], place: Path) -> None:
    """Gives what was made again its name, where it is what the card says."""
    others = []
    for part in bad:
        if sha256(place / part.file) == part.sha256:
            os.replace(place / part.file, card.directory / part.file)
        else:
            others.append(part.file)
    if others:
        raise _changed(card, f"{', '.join(others)} made again with other bytes")


def _check_source(card: Card, sizes: Mapping[str, ShardSet], layout: Layout) -> None:
    """The raw source has the same splits, as many shards, and the same conditions."""
    found = {name: [p.name for p in s.paths(Path())] for name, s in sizes.items()}
    known = {name: [p.file for p in s.shards] for name, s in card.splits.items()}
    if found != known:
        counts = {name: len(shards.split) for name, shards in sizes.items()}
        raise _changed(card, f"{counts} examples in the raw data, for other shards")
    conditions = json.loads(json.dumps(layout.conditions))
    for name in sorted({*conditions, *card.conditions}):
        if (now := conditions.get(name)) != (was := card.conditions.get(name)):
            raise _changed(card, f"the condition {name} as {now}, which was {was}")


def _changed(card: Card, what: str) -> InputError:
    return InputError(
        f"Found {what}; expected for {card.directory} what its card says, from the "
        "same raw data, tokenizer, kind of device and versions; bring these back or "
        "copy the files anew, or make all records again in another directory. What "
        "lies there was left as it was."
    )
