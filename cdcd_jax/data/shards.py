"""Writing token records: one shard at a time, so that a killed job loses only one.

Beside a finished shard lies a note (`<shard>.json`) of what the card must say of it.
When all shards are there, `join` turns the notes into the card's splits, and the notes
go.
"""

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python import array_record_module
from safetensors.numpy import save as save_arrays

from cdcd_jax.data.card import Negatives, Shard, Split
from cdcd_jax.data.negatives_file import NamedNegatives
from cdcd_jax.data.negatives_table import draw_table
from cdcd_jax.data.records import WRITER_OPTIONS, find_problem, sha256
from cdcd_jax.errors import InputError


@dataclass(frozen=True)
class Layout:
    """What every record of a dataset must be: see `card.Card`."""

    num_codes: int
    grid: tuple[int, ...]
    conditions: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Note:
    """What the card must say of a shard.

    Attributes:
      groups: of each record, what its negatives must differ in; empty without a table.
      counts: how often each code occurs, [K].
      unreadable: raw examples that were left out, name -> reason.
    """

    shard: Shard
    groups: list[str]
    counts: list[int]
    unreadable: dict[str, str]


def shard_path(directory: Path, split: str, index: int, total: int) -> Path:
    """Where shard `index` of `total` lies."""
    return directory / f"{split}-{index:05d}-of-{total:05d}.arrayrecord"


def note_path(shard: Path) -> Path:
    """Where the note of a shard lies."""
    return shard.with_name(shard.name + ".json")


def write_shard(
    path: Path, examples: Iterable[Mapping[str, Any]], layout: Layout
) -> Note:
    """Writes a shard and then its note. Same examples, same bytes.

    Args:
      path: see `shard_path`.
      examples: dicts with `key` (str), `tokens` [L] of whole numbers in [0, K),
        `condition` {name: array} as the layout says, and perhaps `group` (str); or
        `unreadable`, a pair of name and reason, for one that is left out.

    Raises:
      InputError: an example is unlike the layout.
    """
    token_type = np.min_scalar_type(layout.num_codes - 1)
    counts = np.zeros(layout.num_codes, np.int64)
    groups, unreadable, number = [], {}, 0
    temporary = path.with_name(path.name + ".tmp")
    writer = array_record_module.ArrayRecordWriter(str(temporary), WRITER_OPTIONS)
    try:
        for example in examples:
            if "unreadable" in example:
                name, reason = example["unreadable"]
                unreadable[name] = reason
                continue
            writer.write(_to_bytes(example, token_type, layout))
            counts += np.bincount(example["tokens"], minlength=layout.num_codes)
            groups += [example["group"]] if "group" in example else []
            number += 1
    finally:
        _close(writer, path)
    shard = Shard(path.name, number, temporary.stat().st_size, sha256(temporary))
    _settle(temporary, path)
    note = Note(shard, groups, counts.tolist(), unreadable)
    temporary.write_text(json.dumps(dataclasses.asdict(note)))
    _settle(temporary, note_path(path))
    return note


def _close(writer: Any, path: Path) -> None:
    try:
        writer.close()
    except RuntimeError as error:
        raise InputError(
            f"Found that {path} cannot be written ({error}); expected room on the "
            "disk; free some and run the same command again: finished shards are kept."
        ) from error


def write_split(
    directory: Path,
    split: str,
    examples: Iterable[Mapping[str, Any]],
    layout: Layout,
    shard_records: int,
    negatives: int = 0,
    rule: str = "",
    seed: int = 0,
) -> Split:
    """Writes a whole split of examples that are at hand; see `write_shard`, `join`."""
    examples = list(examples)
    starts = range(0, len(examples), shard_records)
    notes = []
    for i, start in enumerate(starts):
        path = shard_path(directory, split, i, len(starts))
        part = examples[start : start + shard_records]
        notes.append(write_shard(path, part, layout))
        note_path(path).unlink()
    return join(directory, split, notes, negatives, rule, seed)


def _to_bytes(
    example: Mapping[str, Any], token_type: np.dtype, layout: Layout
) -> bytes:
    length = math.prod(layout.grid)
    problem = find_problem(example, layout.num_codes, length, layout.conditions)
    if problem:
        raise InputError(
            f"Found a raw example {example['key']!r} whose {problem}; correct the "
            "source or the tokenizer."
        )
    arrays = {
        "tokens": np.asarray(example["tokens"]).astype(token_type),
        "key": np.frombuffer(example["key"].encode(), np.uint8),
    }
    for name, value in example["condition"].items():
        arrays[f"condition/{name}"] = np.ascontiguousarray(value).reshape(
            np.shape(value)  # ascontiguousarray makes [] to [1]
        )
    return save_arrays(arrays)


def _settle(temporary: Path, path: Path) -> None:
    """Gives a file its name when its bytes are on the disk."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_note(shard: Path, num_codes: int) -> Note | None:
    """The note of a shard that is whole; None where there is none, or damage."""
    try:
        content = json.loads(note_path(shard).read_text("utf-8"))
        note = Note(**{**content, "shard": Shard(**content["shard"])})
        sound = (
            len(note.counts) == num_codes
            and len(note.groups) in (0, note.shard.num_records)
            and all(isinstance(v, str) for v in note.unreadable.values())
            and note.shard.file == shard.name
            and sha256(shard) == note.shard.sha256
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return note if sound else None


def join(
    directory: Path,
    split: str,
    notes: list[Note],
    number: int,
    rule: str,
    seed: int,
    named: NamedNegatives | None = None,
) -> Split:
    """What the card says of a split; writes the table of negatives, if one is wanted.

    Args:
      notes: of all shards, in order.
      number: of negatives of each record; 0 for no table.
      rule: the groups that must differ.
      seed: of the draw.
      named: negatives to take in place of a draw. The group of a record is then its
        row, see `NamedNegatives.table`.

    Raises:
      InputError: no record, or too few of other groups.
    """
    records = sum(note.shard.num_records for note in notes)
    if not records:
        raise InputError(
            f"Found no example in the split {split!r}; expected one or more; check "
            "the raw data."
        )
    counts = np.sum([note.counts for note in notes], axis=0)
    share = counts[counts > 0] / counts.sum()
    table = None
    if number:
        groups = [group for note in notes for group in note.groups]
        table = write_negatives(directory, split, groups, number, rule, seed, named)
    return Split(
        num_records=records,
        shards=tuple(note.shard for note in notes),
        codes_used=len(share),
        perplexity=float(np.exp(-np.sum(share * np.log(share)))),
        negatives=table,
        unreadable={k: v for note in notes for k, v in note.unreadable.items()},
    )


def write_negatives(
    directory: Path,
    split: str,
    groups: list[str],
    number: int,
    rule: str,
    seed: int,
    named: NamedNegatives | None = None,
) -> Negatives:
    """Draws, or takes, the table of negatives of a split and writes it; see `join`.

    Args:
        groups: of each record.
    """
    if named:
        found = named.table([int(group) for group in groups])
    else:
        found = draw_table(groups, number, seed)
    path = directory / f"{split}-negatives.npy"
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        np.save(file, found)
    size, digest = temporary.stat().st_size, sha256(temporary)
    _settle(temporary, path)
    given = named.sha256 if named else ""
    return Negatives(path.name, number, rule, seed, size, digest, given)
