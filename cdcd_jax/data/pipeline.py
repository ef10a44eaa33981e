"""From token records to batches: the check against the config, training, one pass.

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

from cdcd_jax.data.card import Card, read_card
from cdcd_jax.data.records import RecordSource, check_shards
from cdcd_jax.errors import InputError, UsageError

Batch = dict[str, Any]


def open_dataset(path: str | Path, model: Mapping[str, Any]) -> Card:
    """The card of the records at `path`, all checked: shards, and the model's K and L.

    Args:
        path: a directory of records, `data.path`.
        model: the config's section, for `num_codes`, `grid` and `conditions`.

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
    check_matches(card, model["num_codes"], tuple(model["grid"]), model["conditions"])
    return card


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
      conditions: the config's model.conditions: name -> a dict, of which `num_classes`
        and `shape` are compared where it has them. Records may hold more conditions.

    Raises:
      InputError: a difference; says both values and the key of the config.
    """
    grid = tuple(grid)
    if card.num_codes != num_codes:
        raise _mismatch(card, "num_codes", card.num_codes, num_codes)
    if card.grid != grid:
        raise _mismatch(card, "grid", list(card.grid), list(grid))
    for name, wanted in conditions.items():
        if name not in card.conditions:
            raise _mismatch(
                card, "conditions", sorted(card.conditions), sorted(conditions)
            )
        for field in ("num_classes", "shape"):
            if field not in wanted:
                continue
            found, want = card.conditions[name].get(field), wanted[field]
            if field == "shape":
                found, want = list(found), list(want)
            if found != want:
                raise _mismatch(card, f"conditions.{name}.{field}", found, want)


def _mismatch(card: Card, key: str, found: Any, wanted: Any) -> InputError:
    return InputError(
        f"Found {key} = {found} in the records {card.directory}; expected {wanted}, "
        f"as model.{key} says; set model.{key} to fit the records, or make records "
        "that fit the model and name them in data.path."
    )


def training_batches(
    card: Card,
    *,
    split: str = "train",
    batch_size: int,
    seed: int,
    start_step: int = 0,
    threads: int = 2,
    rows: Sequence[int] | None = None,
) -> Iterator[Batch]:
    """Returns the endless stream of shuffled batches, or some rows of each.

    Every epoch holds each record once, in an order of its own; batches run across the
    border of epochs. Batch k of the stream depends on nothing but the records, `seed`,
    `batch_size` and k.

    Args:
      card: of the records.
      split: which records.
      batch_size: of all processes together.
      seed: 0 <= seed < 2**32.
      start_step: number of batches that were taken before; the first one is 0.
      threads: that read ahead; 0 reads at the moment of `next`.
      rows: which rows of each batch this process needs; None for all.

    Yields:
      {"tokens": int32 [B, L], "condition": {name: [B, ...]}} with B the number of rows.

    Raises:
      UsageError: arguments that cannot be.
      InputError: unknown split; from `next`, a corrupt record.
    """
    _check_positive("batch_size", batch_size)
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
    stream = grain.MapDataset.source(RecordSource(card, split))
    stream = stream.seed(seed).shuffle().repeat()
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
    return _with_own_errors(iterator)


def one_pass(card: Card, split: str, batch_size: int) -> Iterator[Batch]:
    """Returns all records of a split once, in their order, as `training_batches` does.

    The last batch may be smaller.

    Raises:
      UsageError: batch_size below 1.
      InputError: unknown split; from `next`, a corrupt record.
    """
    _check_positive("batch_size", batch_size)
    dataset = grain.MapDataset.source(RecordSource(card, split)).batch(batch_size)
    return _with_own_errors(dataset[index] for index in range(len(dataset)))


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise UsageError(f"Found {name} = {value}; expected 1 or more; correct it.")


def _with_own_errors(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Passes batches on; an InputError that grain wrapped comes out as itself."""
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
