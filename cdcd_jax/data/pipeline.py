"""From records or raw files to batches: checks against the config, training, one pass.

The training stream is shuffled and repeated before each process takes its rows, so that
the global batches do not depend on the number of processes, and its position is one
integer: the number of batches taken.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np

from cdcd_jax.data import bpe
from cdcd_jax.data.card import Card, read_card
from cdcd_jax.data.raw_examples import (
    Batch,
    RawExamples,
    check_positive,
    open_raw,
)
from cdcd_jax.data.records import RecordSource, check_shards
from cdcd_jax.data.sources import UnreadableFiles
from cdcd_jax.errors import InputError, UsageError


def open_training(config: Mapping[str, Any], description: Mapping[str, Any]) -> Any:
    """What a config trains on: the split `train` of its records or its raw source.

    Args:
        config: a whole experiment.
        description: the task's `describe()`; `media` asks for a raw source.

    Raises:
        UsageError: no path, no source, or a source that gives something else.
        InputError: missing, damaged or unlike data.
    """
    if "media" in description:
        source = open_raw(config, description["media"])
        return RawExamples(source, "train", config["data"]["augment"])
    card = open_dataset(config["data"]["path"], description)
    if key := description.get("differ"):
        _check_differ(card, key)
    return RecordExamples(card, "train", description["negatives"])


def open_dataset(path: str | Path, description: Mapping[str, Any]) -> Card:
    """The card of the records at `path`, checked: shards, and what the model takes.

    Args:
        path: a directory of records, `data.path`.
        description: the task's `describe()`.

    Raises:
        UsageError: no path.
        InputError: missing, damaged or unlike records.
    """
    if not path:
        raise UsageError(
            "data.path is empty: name a directory of records, or set "
            "data.synthetic=True for random batches"
        )
    card = read_card(path)
    check_shards(card)
    conditions = description["conditions"]
    for name, field in description["batch"].get("condition", {}).items():
        # what may be left out when samples are drawn a batch may need all the same
        free = name not in conditions or conditions[name].get("optional")
        if free and not field.get("optional"):
            _check_field(card, name, field)
    for name, spec in description.get("outputs", {}).items():
        if spec["kind"] == "text" and name in card.conditions:
            _check_words(card, name, spec["vocabulary"])
    # what draws a text may take no tokens
    tokens = description["batch"].get("tokens", {})
    num_codes, grid = tokens.get("high", card.num_codes), tokens.get("grid", card.grid)
    check_matches(card, num_codes, grid, conditions)
    return card


def _check_words(card: Card, name: str, wanted: int) -> None:
    """Raises InputError if a model would draw other words than the records have."""
    found = card.conditions[name].get("num_tokens", bpe.NUM_TOKENS)
    if found != wanted:
        raise InputError(
            f"Found {name!r} of {found} tokens in the records {card.directory}; "
            f"expected {wanted}, as many as the model draws it of; set model.num_codes "
            "(of a modality its num_codes) to fit the records."
        )


def _check_field(card: Card, name: str, field: Mapping[str, Any]) -> None:
    """Raises InputError if records lack what each batch needs, or have another."""
    found = card.conditions.get(name)
    fits = found is not None and list(found["shape"]) == list(field["shape"])
    if fits and "high" in field:
        number = found.get("num_classes", found.get("levels", found.get("num_tokens")))
        fits = number == field["high"]
        if "num_tokens" in found:  # of a vocabulary that may be larger
            fits = number <= field["high"]
    if not fits:
        wanted = {"shape": list(field["shape"]), "numbers below": field.get("high")}
        raise InputError(
            f"Found {name!r} as {found} in the records {card.directory}, which have "
            f"{sorted(card.conditions)}; expected {wanted}, on which the model is "
            "trained; make records that hold it and name them in data.path, or take "
            f"{name!r} out of the model, or describe it there as the records have it."
        )


def _check_differ(card: Card, key: str, most: int = 512) -> None:
    """Raises InputError if records spread over `train` are all under one condition."""
    number = min(len(RecordSource(card, "train")), most)
    values = spread_records(card, "train", number)["condition"].get(key)
    if values is not None and (values == values[:1]).all():
        raise InputError(
            f"Found one {key!r} in {number} training records of {card.directory}; "
            "expected two or more, since contrastive.weight trains an example against "
            "those under another. Set contrastive.weight = 0, take another "
            "contrastive.key, or contrastive.negatives = 'intra'."
        )


def check_matches(
    card: Card,
    num_codes: int,
    grid: tuple[int, ...],
    conditions: Mapping[str, Mapping[str, Any]],
) -> None:
    """Checks that a model of this config can be trained on the records of `card`.

    Args:
      card: of the records.
      num_codes: the config's model.num_codes (K).
      grid: the config's model.grid.
      conditions: the config's model.conditions: name -> a dict, of which `num_classes`,
        `levels`, `grid`, `shape` and `sha256` (of a trained vocabulary) are compared
        where it has them, with the condition of the records that `field` names, or
        with their tokens. Records may hold more conditions.

    Raises:
      InputError: a difference; says both values and the key of the config.
    """
    grid = tuple(grid)
    if card.num_codes != num_codes:
        raise _mismatch(card, "num_codes", card.num_codes, num_codes)
    if card.grid != grid:
        raise _mismatch(card, "grid", list(card.grid), list(grid))
    tokens = {"kind": "tokens", "levels": num_codes, "shape": [card.num_tokens]}
    fields = {**card.conditions, "tokens": {**tokens, "grid": list(grid)}}
    for name, wanted in conditions.items():
        field = wanted.get("field", name)
        if field not in fields and wanted.get("optional"):
            continue
        if field not in fields:
            raise _mismatch(
                card, "conditions", sorted(card.conditions), sorted(conditions)
            )
        for key in ("num_classes", "levels", "grid", "shape"):
            if key not in wanted:
                continue
            found, want = fields[field].get(key), wanted[key]
            if isinstance(want, tuple):  # JSON has lists
                want = list(want)
            if found != want:
                raise _mismatch(card, f"conditions.{name}.{key}", found, want)
        if wanted.get("kind") in ("text", "clip_text"):
            _check_vocabulary(card, name, fields[field], wanted)


def _check_vocabulary(
    card: Card, name: str, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    """Texts in another vocabulary than the model's, or not as tokens."""
    vocabulary = found.get("vocabulary", f"{found['kind']} without tokens")
    number = bpe.NUM_TOKENS if vocabulary == "clip" else found.get("num_tokens")
    if (wanted["kind"] == "clip_text" and vocabulary != "clip") or number is None:
        raise _mismatch(card, f"conditions.{name}.vocabulary", vocabulary, "clip")
    if number > wanted["vocabulary"]:
        key = f"conditions.{name}.vocabulary"
        raise _mismatch(card, key, number, f"at most {wanted['vocabulary']}")
    if wanted.get("sha256") and found.get("sha256") not in (None, wanted["sha256"]):
        raise InputError(
            f"Found {name} in the records {card.directory} as numbers of a vocabulary "
            f"of sha256 {found['sha256']}; expected {wanted['sha256']}, which the "
            "model has learned, so that one number is one word; name records of "
            "that vocabulary in data.path, or make some with text.vocabulary set to "
            "the model's own file."
        )


def _mismatch(card: Card, key: str, found: Any, wanted: Any) -> InputError:
    return InputError(
        f"Found {key} = {found} in the records {card.directory}; expected {wanted}, "
        f"as model.{key} says; set model.{key} to fit the records, or make records "
        "that fit the model and name them in data.path."
    )


class RecordExamples:
    """Records of a split, with tokens of negatives where these are asked for."""

    unreadable = None  # a record that cannot be read is an error

    def __init__(self, card: Card, split: str, negatives: int = 0) -> None:
        """Args: negatives: of each example, of those that the records' table has.

        Raises:
          InputError: no such split or table, or a table with fewer.
        """
        self._records, self._wanted = RecordSource(card, split), negatives
        self._table = self._records.negatives() if negatives else None
        if negatives and negatives > self._table.shape[1]:
            raise InputError(
                f"Found {self._table.shape[1]} negatives a record in {card.directory}; "
                f"expected {negatives} or more, as contrastive.num_negatives says; "
                "lower it, or make the records again with more."
            )

    def __len__(self) -> int:
        return len(self._records)

    def example(self, index: int, rng: np.random.Generator) -> Batch:
        """Record `index`; which negatives of its row of the table, `rng` says."""
        item = self._records[index]
        if self._wanted:
            row = self._table[index]
            if self._wanted < len(row):
                row = rng.choice(row, self._wanted, replace=False)
            tokens = [self._records[int(other)]["tokens"] for other in row]
            item["negatives"] = np.stack(tokens)
        return item


def training_batches(
    examples: RecordExamples | RawExamples,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    threads: int = 2,
    rows: Sequence[int] | None = None,
) -> Iterator[Batch]:
    """Returns the endless stream of shuffled batches, or some rows of each.

    Every epoch holds each example once, in an order of its own; batches run across the
    border of epochs. Batch k of the stream depends on nothing but the examples, `seed`,
    `batch_size` and k.

    Args:
      examples: of records or of a raw source.
      batch_size: of all processes together.
      seed: 0 <= seed < 2**32.
      start_step: number of batches that were taken before; the first one is 0.
      threads: that read ahead; 0 reads at the moment of `next`.
      rows: which rows of each batch this process needs; None for all.

    Yields:
      what the examples give, stacked: {"tokens": int32 [B, L], "condition": {name:
      [B, ...]}} and perhaps "negatives" int32 [B, N, L], or {"image": uint8
      [B, H, W, C]}, or {"audio": float32 [B, S]}, with B the number of rows.

    Raises:
      UsageError: arguments that cannot be.
      InputError: from `next`, a corrupt record or too many unreadable files.
    """
    check_positive("batch_size", batch_size)
    rows = np.arange(batch_size) if rows is None else np.asarray(rows)
    if not len(rows) or rows.min() < 0 or rows.max() >= batch_size:
        raise UsageError(
            f"Found rows {rows} of a batch of {batch_size}; expected some of "
            f"0..{batch_size - 1}; correct them."
        )
    if start_step < 0 or threads < 0 or not 0 <= seed < 2**32:
        raise UsageError(
            f"Found start_step = {start_step}, threads = {threads}, seed = {seed}; "
            "expected none below 0 and seed < 2**32; correct them."
        )
    stream = grain.MapDataset.range(len(examples)).seed(seed).shuffle().repeat()
    stream = stream.random_map(examples.example)
    wanted = len(rows)

    def example(index: int) -> Batch:
        """Of the endless list of the rows of batch 0, then those of batch 1, ..."""
        batch, row = divmod(index, wanted)
        return stream[batch * batch_size + int(rows[row])]

    # After repeat, so that no epoch ends in a smaller batch. The stream has no end to
    # drop, but rounding its length up would overflow grain's count for batches of 1.
    dataset = grain.MapDataset.range(sys.maxsize // batch_size * wanted).map(example)
    dataset = dataset.batch(wanted, drop_remainder=True)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    iterator = iter(dataset.to_iter_dataset(options))
    iterator.set_state({"next_index": start_step})
    return _with_own_errors(iterator, examples.unreadable)


def one_pass(card: Card, split: str, batch_size: int) -> Iterator[Batch]:
    """Returns all records of a split once, in their order, as `training_batches` does.

    The last batch may be smaller.

    Raises:
      UsageError: batch_size below 1.
      InputError: unknown split; from `next`, a corrupt record.
    """
    check_positive("batch_size", batch_size)
    dataset = grain.MapDataset.source(RecordSource(card, split)).batch(batch_size)
    return _with_own_errors(dataset[index] for index in range(len(dataset)))


def spread_records(card: Card, split: str, number: int) -> Batch:
    """`number` records spread evenly over a split, as one batch.

    Of more than there are each stands as often as the others, one behind the other.

    Raises:
      InputError: unknown split, or a corrupt record.
    """
    records = RecordSource(card, split)
    chosen = np.linspace(0, len(records) - 1, number).astype(int)
    if number > len(records):
        chosen = np.arange(number) * len(records) // number
    rows = [records[int(i)] for i in chosen]
    condition = {
        name: np.stack([row["condition"][name] for row in rows])
        for name in rows[0]["condition"]
    }
    return {"tokens": np.stack([r["tokens"] for r in rows]), "condition": condition}


def _with_own_errors(
    batches: Iterator[Batch], unreadable: UnreadableFiles | None = None
) -> Iterator[Batch]:
    """Passes batches on; an InputError that grain wrapped comes out as itself.

    When the reader is done, unreadable files are named.
    """
    try:
        yield from batches
    except InputError:
        raise
    except Exception as error:
        cause = error.__cause__ or error.__context__
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise cause from None
    finally:
        if unreadable:
            unreadable.report()
