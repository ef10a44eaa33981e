"""The one record format of token datasets: ArrayRecord shards beside `dataset.json`.

A record is a dict of arrays as safetensors bytes: `tokens` [L] in the smallest unsigned
type that holds K - 1, `key` (utf-8 bytes) and `condition/<name>`. `shards.py` writes
them, the card (`card.py`) comes last. Here: checking, random access.
"""

import hashlib
import itertools
import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python import array_record_module
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from cdcd_jax.data.card import CARD_NAME, REPAIR, Card, Negatives, Shard
from cdcd_jax.errors import InputError

# One record a group: random access reads and decompresses no neighbours.
WRITER_OPTIONS = "group_size:1"
READER_OPTIONS = "readahead_buffer_size:0"
# Above this size a full read before each run would cost minutes.
MAX_HASHED_BYTES = 2**30


def find_problem(
    example: Mapping[str, Any],
    num_codes: int,
    length: int,
    conditions: Mapping[str, Mapping[str, Any]],
) -> str | None:
    """Returns "<part> is <found>; expected <that>", or None for a good example."""
    tokens = np.asarray(example["tokens"])
    if tokens.shape != (length,) or not np.issubdtype(tokens.dtype, np.integer):
        return (
            f"tokens are {tokens.dtype} of shape {list(tokens.shape)}; expected whole "
            f"numbers of shape [{length}]"
        )
    if tokens.min() < 0 or tokens.max() >= num_codes:
        return (
            f"tokens lie in [{tokens.min()}, {tokens.max()}]; expected them in "
            f"[0, {num_codes})"
        )
    condition = example["condition"]
    if set(condition) != set(conditions):
        return f"conditions are {sorted(condition)}; expected {sorted(conditions)}"
    for name, spec in conditions.items():
        value = np.asarray(condition[name])
        if value.shape != tuple(spec["shape"]) or value.dtype != spec["dtype"]:
            return (
                f"condition {name} is {value.dtype} of shape {list(value.shape)}; "
                f"expected {spec['dtype']} of shape {list(spec['shape'])}"
            )
        classes, levels = spec.get("num_classes"), spec.get("levels")
        if classes is not None and not ((value >= 0) & (value < classes)).all():
            return f"condition {name} is {value}; expected labels in [0, {classes})"
        if levels is not None and not 0 <= value.min() <= value.max() < levels:
            return (
                f"condition {name} lies in [{value.min()}, {value.max()}]; expected "
                f"levels in [0, {levels})"
            )
    return None


def check_shards(card: Card) -> None:
    """Checks that every file is there, with its size and, if feasible, its sha256.

    The hashes are compared where the whole dataset has at most 1 GiB.

    Raises:
      InputError: names the first bad shard or table, and how to make it again.
    """
    whole = sum(part.num_bytes for part in files_of(card)) <= MAX_HASHED_BYTES
    for hashed in (False, True)[: 1 + whole]:
        for part, fault in faults(card, hashed):
            raise _faulty(card.directory / part.file, fault)


def files_of(card: Card) -> list[Shard | Negatives]:
    """All files of records that the card names: shards, then tables of negatives."""
    splits = card.splits.values()
    found: list[Shard | Negatives] = [s for split in splits for s in split.shards]
    return found + [split.negatives for split in splits if split.negatives]


def faults(card: Card, hashed: bool) -> Iterator[tuple[Shard | Negatives, str]]:
    """The files that are not as the card says, each with what is wrong.

    `hashed`: read them, and compare their sha256 too; otherwise their sizes alone.
    """
    for part in files_of(card):
        path = card.directory / part.file
        if fault := _wrong_size(path, part):
            yield part, fault
        elif hashed and (found := sha256(path)) != part.sha256:
            yield part, f"sha256 {found}; expected {part.sha256}"


def sha256(path: Path) -> str:
    """Of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wrong_size(path: Path, part: Shard | Negatives) -> str:
    """ "<found>; expected <that>" of a file that lacks or has another size, or ""."""
    if not path.is_file():
        return "no file; expected it"
    found = path.stat().st_size
    wanted = f"{found} bytes; expected {part.num_bytes}"
    return wanted if found != part.num_bytes else ""


def _check_size(directory: Path, part: Shard | Negatives) -> None:
    if fault := _wrong_size(directory / part.file, part):
        raise _faulty(directory / part.file, fault)


def _faulty(path: Path, fault: str) -> InputError:
    found, expected = fault.split("; ", 1)
    where = "in" if path.is_file() else "at"
    advice = REPAIR.format(directory=path.parent)
    return InputError(
        f"Found {found} {where} {path}; {expected}, as {CARD_NAME} says; {advice}."
    )


class RecordSource:
    """Random access to the records of one split, in the form that grain wants.

    Item i is {"tokens": int32 [L], "condition": {name: array}}; pictures among the
    conditions are int32 too. Shards are opened at their first use. An instance may be
    pickled and shared by threads.
    """

    def __init__(self, card: Card, split: str) -> None:
        """Opens nothing yet.

        Raises:
          InputError: the dataset has no such split.
        """
        if split not in card.splits:
            raise InputError(
                f"Found no split {split!r} in {card.directory}; expected one of "
                f"{', '.join(sorted(card.splits))}; name one of these."
            )
        self._card = card
        self._split = split
        self._shards = card.splits[split].shards
        counts = [shard.num_records for shard in self._shards]
        self._starts = list(itertools.accumulate(counts, initial=0))
        self._reset()

    def _reset(self) -> None:
        self._readers: dict[int, Any] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        del state["_readers"], state["_lock"]  # open files and locks do not travel
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __repr__(self) -> str:
        return f"RecordSource({self._card.name!r}, {self._split!r})"

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns record `index`, from 0.

        Raises:
          InputError: the record is corrupt; names the shard and the index.
          IndexError: `index` is out of range.
        """
        arrays = self._load(index)
        condition = {
            name.removeprefix("condition/"): value
            for name, value in arrays.items()
            if name.startswith("condition/")
        }
        example = {"tokens": arrays["tokens"], "condition": condition}
        card = self._card
        problem = find_problem(
            example, card.num_codes, card.num_tokens, card.conditions
        )
        if problem:
            raise self._corrupt(index, f"whose {problem}")
        example["tokens"] = example["tokens"].astype(np.int32)
        for name, spec in card.conditions.items():
            if spec.get("kind") == "image":  # tokens too, small on the disk alone
                condition[name] = condition[name].astype(np.int32)
        return example

    def negatives(self) -> np.ndarray:
        """The table of negatives, uint32 [N, number], left on the disk.

        Raises:
          InputError: there is none, or not for these records.
        """
        table = self._card.splits[self._split].negatives
        if table is None:
            raise InputError(
                f"Found no table of negatives for {self._split} in "
                f"{self._card.directory}; expected one, since contrastive.inter_from = "
                "'records'; make the records with negatives.number set, or set "
                "contrastive.inter_from = 'batch'."
            )
        _check_size(self._card.directory, table)
        path = self._card.directory / table.file
        try:
            found = np.load(path, mmap_mode="r")
        except Exception as error:  # of a damaged header it may raise any kind
            raise self._bad_table(path, f"cannot be read ({error})") from error
        if found.shape != (len(self), table.number) or found.dtype != np.uint32:
            raise self._bad_table(path, f"is {found.dtype} {list(found.shape)}")
        if found.max(initial=0) >= len(self):
            raise self._bad_table(path, f"names the record {found.max()}")
        return found

    def _bad_table(self, path: Path, what: str) -> InputError:
        advice = REPAIR.format(directory=self._card.directory)
        return InputError(
            f"Found a table of negatives {path} that {what}; expected a row of uint32 "
            f"for each of {len(self)} records; {advice}."
        )

    def key(self, index: int) -> str:
        """Returns the raw source's key of record `index`; raises as indexing does."""
        key = self._load(index)["key"]
        try:
            if key.dtype != np.uint8:
                raise ValueError(str(key.dtype))
            return key.tobytes().decode()
        except ValueError as error:
            raise self._corrupt(index, f"whose key is no text ({error})") from error

    def _load(self, index: int) -> dict[str, np.ndarray]:
        shard, offset = self._locate(index)
        reader = self._reader(shard)
        try:
            arrays = load_arrays(reader.read([offset])[0])
        except (RuntimeError, IndexError, ValueError, KeyError) as error:
            raise self._corrupt(index, f"that cannot be read ({error})") from error
        except SafetensorError as error:
            raise self._corrupt(index, f"that cannot be parsed ({error})") from error
        missing = {"tokens", "key"} - set(arrays)
        if missing:
            raise self._corrupt(index, f"without {sorted(missing)}")
        return arrays

    def _locate(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"Record {index} of {self!r}, which has {len(self)}.")
        shard = bisect_right(self._starts, index) - 1
        return shard, int(index) - self._starts[shard]

    def _reader(self, number: int) -> Any:
        with self._lock:
            if number not in self._readers:
                self._readers[number] = self._open(self._shards[number])
            return self._readers[number]

    def _open(self, shard: Shard) -> Any:
        _check_size(self._card.directory, shard)
        path = self._card.directory / shard.file
        advice = REPAIR.format(directory=self._card.directory)
        try:
            reader = array_record_module.ArrayRecordReader(str(path), READER_OPTIONS)
            found = reader.num_records()
        except RuntimeError as error:
            raise InputError(
                f"Found a shard {path} that cannot be opened ({error}); expected an "
                f"ArrayRecord file; {advice}."
            ) from error
        if found != shard.num_records:
            raise InputError(
                f"Found {found} readable records in the shard {path}; expected "
                f"{shard.num_records}, as {CARD_NAME} says; {advice}."
            )
        return reader

    def _corrupt(self, index: int, what: str) -> InputError:
        shard, offset = self._locate(index)
        path = self._card.directory / self._shards[shard].file
        expected = "" if "; expected" in what else "; expected a sound record"
        advice = REPAIR.format(directory=self._card.directory)
        return InputError(
            f"Found a record {index} of {self._split} (record {offset} of {path}) "
            f"{what}{expected}; {advice}."
        )
