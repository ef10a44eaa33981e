"""The shards of a split: read, encoded and written, each by itself.

What a shard holds depends on the config and its number alone.
"""

import itertools
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import grain
import numpy as np

from cdcd_jax.data.shards import (
    Layout,
    note_path,
    read_note,
    shard_path,
    write_shard,
)
from cdcd_jax.data.sources import (
    MOST_UNREADABLE,
    RawSplit,
    Unreadable,
    UnreadableFiles,
)
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.models.representations import Representations
from cdcd_jax.models.texts import TextEncoder
from cdcd_jax.reporting.terminal import Progress

LISTED = 100  # unreadable files that are gathered before they end a run


class ShardSet:
    """The shards of a split: which example, in which view, goes where."""

    def __init__(self, config: Mapping[str, Any], split: RawSplit, name: str) -> None:
        self.config, self.split, self.name = config, split, name
        self.views = config["data"]["views"] if name == "train" else 1
        self.size = config["data"]["shard_records"]
        self.rows = len(split) * self.views
        self.total = max(-(-self.rows // self.size), 1)

    def paths(self, workdir: Path) -> list[Path]:
        return [
            shard_path(workdir, self.name, i, self.total) for i in range(self.total)
        ]

    def range(self, shard: int) -> range:
        """The rows of a shard; row r is view r % views of example r // views."""
        return range(shard * self.size, min((shard + 1) * self.size, self.rows))

    def load(self, row: int) -> dict[str, Any]:
        """The example of a row; {"unreadable": (name, reason)} for a bad file."""
        index, view = divmod(row, self.views)
        rng = None
        if view:
            split = list(self.name.encode())
            rng = np.random.default_rng([self.config["seed"], *split, index, view])
        try:
            example = dict(self.split.example(index, rng))
        except Unreadable as error:
            return {"unreadable": (error.name, error.reason)}
        if view:
            example["key"] += f"#{view}"
        negatives = self.config["negatives"]
        if negatives["file"]:  # which names those of examples, not of groups
            example["group"] = str(row)
        elif negatives["number"]:
            example["group"] = _group(example, negatives["rule"])
        return example


def _group(example: Mapping[str, Any], rule: str) -> str:
    if rule in example["groups"]:
        return str(example["groups"][rule])
    if rule in example["condition"]:
        return str(np.asarray(example["condition"][rule]).tolist())
    raise UsageError(
        f"Found negatives.rule = {rule!r}; expected one of "
        f"{', '.join(sorted({*example['groups'], *example['condition']}))}, which this "
        "source tells of its examples; correct it."
    )


def make_shards(
    workdir: Path,
    shards: ShardSet,
    layout: Layout,
    tokenizer: Any,
    texts: TextEncoder,
    vectors: Representations,
    only: Collection[int] | None = None,
) -> None:
    """Writes this process's missing shards of a split.

    `only`: the numbers of those that are wanted; None for all.
    """
    import jax

    every = enumerate(shards.paths(workdir))
    mine = [(n, path) for n, path in every if only is None or n in only]
    mine = mine[jax.process_index() :: jax.process_count()]
    todo, unreadable = [], unreadable_of(shards, LISTED)
    begun = []  # with files left out, which may be sound by the next call
    try:
        for number, path in mine:
            note = read_note(path, layout.num_codes)
            if note is None:
                todo.append((number, path))
            elif note.unreadable:
                begun.append(path)
                for name, reason in note.unreadable.items():
                    unreadable.add(name, reason)
        rows = [row for number, _ in todo for row in shards.range(number)]
        stream = iter(read_ahead(shards, rows)) if todo else iter(())
        progress = Progress(len(rows), unit="record") if todo else None
        done, shown = 0, -np.inf
        for number, path in todo:
            part = itertools.islice(stream, len(shards.range(number)))
            first = shards.range(number).start
            whole = encoded(part, first, tokenizer, texts, vectors)
            note = write_shard(path, _noted(whole, unreadable), layout)
            begun += [path] * bool(note.unreadable)
            done += len(shards.range(number))
            used = np.count_nonzero(note.counts) / layout.num_codes
            if done == len(rows) or time.monotonic() > shown + 5.0:
                shown = time.monotonic()
                told = {"split": shards.name, "codes used": used}
                progress.update(done, {**told, "left out": len(unreadable)})
        if progress is not None:
            progress.close()
        unreadable.check()
    except InputError:
        for path in begun:
            note_path(path).unlink(missing_ok=True)
        raise


def unreadable_of(shards: ShardSet, listed: int = 0) -> UnreadableFiles:
    """What counts the files of a split that are left out; see `UnreadableFiles`."""
    share = shards.config["data"].get("unreadable", MOST_UNREADABLE)
    return UnreadableFiles(len(shards.split), share, listed)


def read_ahead(shards: ShardSet, rows: list[int]) -> Iterator[dict[str, Any]]:
    """The examples of `rows` in order, read by several threads."""
    config = shards.config
    threads = config["data"]["threads"]
    stream = grain.MapDataset.source(rows).map(shards.load)
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=16 * threads)
    return iter(stream.to_iter_dataset(ahead))


def encoded(
    examples: Iterator[dict[str, Any]],
    first: int,
    tokenizer: Any,
    texts: TextEncoder,
    vectors: Representations | None = None,
) -> Iterator[dict[str, Any]]:
    """What `write_shard` takes, in order; two batches are under way at a time.

    Args:
        examples: as `read_ahead` gives them.
        first: the row of the first one.
        vectors: to be had beside the source's conditions.
    """
    kind, size = tokenizer.media["kind"], tokenizer.media["shape"][0]

    def finish(batch: list[dict], sound: list[dict], pending: Callable) -> Iterator:
        tokens = pending()
        places = [e.get("place", e["key"]) for e in sound]
        rows = [e["condition"] for e in sound]
        conditions = texts.encode(rows, places)
        if vectors is not None and sound:
            more = vectors.encode(tokens, rows)
            conditions = [a | b for a, b in zip(conditions, more, strict=True)]
        done = zip(tokens, conditions, strict=True)
        for example in batch:
            if "unreadable" not in example:
                row, condition = next(done)
                example = {**example, "tokens": row, "condition": condition}
            yield example

    waiting = None
    for batch in _batches(examples, tokenizer.rows_at_once):
        sound = [e for e in batch if "unreadable" not in e]
        pending = lambda: ()
        if sound:
            media = np.stack([e[kind][:size] for e in sound])
            numbers = [first + i for i, e in enumerate(batch) if "unreadable" not in e]
            pending = tokenizer.start_encoding(media, np.array(numbers))
        first += len(batch)
        if waiting is not None:
            yield from finish(*waiting)
        waiting = batch, sound, pending
    if waiting is not None:
        yield from finish(*waiting)


def _batches(examples: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while batch := list(itertools.islice(examples, size)):
        yield batch


def _noted(examples: Iterator[dict], unreadable: UnreadableFiles) -> Iterator[dict]:
    """Passes examples on and counts the unreadable ones among them."""
    for example in examples:
        if "unreadable" in example:
            unreadable.add(*example["unreadable"])
        yield example
