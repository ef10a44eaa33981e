"""For `fuzz.py`: shards, single records, tables and cards of a token dataset."""

import contextlib
import functools
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from fuzz_files import mutate, same
from safetensors.numpy import save

from cdcd_jax.data import records
from cdcd_jax.data.card import CARD_NAME, Card, Shard, read_card, write_card
from cdcd_jax.data.pipeline import RecordExamples, open_dataset
from cdcd_jax.data.shards import Layout, join, shard_path, write_shard
from cdcd_jax.errors import InputError

LAYOUT = Layout(
    300,
    (2, 4),
    {
        "label": {"kind": "label", "shape": [], "dtype": "int32", "num_classes": 5},
        "motion": {"kind": "array", "shape": [3, 5], "dtype": "float32"},
    },
)
MODEL = dict(
    batch=dict(tokens=dict(high=300, grid=(2, 4))), conditions=LAYOUT.conditions
)


class Dataset:
    """23 records in 3 shards, with two conditions and a table of negatives."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        self.examples = [
            {
                "key": f"fuzz/{index}",
                "tokens": rng.integers(0, 300, 8),
                "condition": {
                    "label": np.int32(index % 5),
                    "motion": rng.standard_normal((3, 5), np.float32),
                },
                "group": str(index % 5),
            }
            for index in range(23)
        ]
        self.whole = folder / type(self).__name__ / "whole"
        self.own = self.whole.with_name("own")
        self.whole.mkdir(parents=True)
        notes = [
            write_shard(
                shard_path(self.whole, "train", number, 3),
                self.examples[8 * number : 8 * number + 8],
                LAYOUT,
            )
            for number in range(3)
        ]
        self.split = join(self.whole, "train", notes, 4, "label", 0)
        self._write_card(self.whole, self.split)
        self.table = np.load(self.whole / self.split.negatives.file)
        self.hashed = True

    def _write_card(self, directory: Path, split: Any) -> None:
        layout = LAYOUT
        tokenizer = {"kind": "none", "fingerprint": "00"}
        parts = ("fuzz", layout.num_codes, layout.grid, dict(layout.conditions))
        write_card(Card(directory, *parts, tokenizer, {"train": split}, {}))

    def restore(self) -> None:
        """A fresh copy of all files."""
        shutil.rmtree(self.own, ignore_errors=True)
        shutil.copytree(self.whole, self.own)
        self.hashed = True

    def read(self) -> str:
        """Reads all; every record that can be read must be the one that was written."""
        with self._limit():
            card = open_dataset(self.own, MODEL)
            source = records.RecordSource(card, "train")
            assert len(source) == len(self.examples), f"{len(source)} records"
            refused = None
            for index, expected in enumerate(self.examples):
                try:
                    found, key = source[index], source.key(index)
                except InputError as error:
                    refused = error
                    continue
                assert same(found["tokens"], expected["tokens"].astype(np.int32)), index
                assert key == expected["key"], index
                for name, value in expected["condition"].items():
                    assert same(found["condition"][name], value), (index, name)
            if refused:
                raise refused
            return self._read_negatives(card)

    def _read_negatives(self, card: Card) -> str:
        examples = RecordExamples(card, "train", negatives=4)
        outcome = "right"
        for index, row in enumerate(self.table):
            found = examples.example(index, np.random.default_rng(0))["negatives"]
            expected = [self.examples[other]["tokens"] for other in row]
            if not same(found, np.stack(expected).astype(np.int32)):
                assert not self.hashed, f"other negatives of {index}"
                outcome = "read"  # large tables have no checksum that is compared
        return outcome

    @contextlib.contextmanager
    def _limit(self):
        """As large datasets are read: without comparing the files' checksums."""
        before = records.MAX_HASHED_BYTES
        records.MAX_HASHED_BYTES = before if self.hashed else 0
        try:
            yield
        finally:
            records.MAX_HASHED_BYTES = before


class Shards(Dataset):
    """Bytes of a shard or of the table, with and without comparing checksums."""

    def damage(self, rng: random.Random) -> str:
        self.restore()
        self.hashed = rng.random() < 0.3
        names = [
            *(shard.file for shard in self.split.shards),
            self.split.negatives.file,
        ]
        path = self.own / rng.choice(names)
        how = rng.choice(("file", "file", "block", "block", "block"))
        if self.hashed and rng.random() < 0.2:
            how = "swap"
        data = path.read_bytes()
        if how == "file":
            data, what = mutate(data, rng)
        elif how == "swap":
            what = rng.choice([name for name in names if name != path.name])
            data = (self.whole / what).read_bytes()
        else:  # of the same size, so that only the format can notice
            at = min(rng.randrange(len(data)), 4096) if rng.random() < 0.8 else 0
            size = rng.choice((1, 4, 64, 1024))
            part = rng.choice((bytes(size), rng.randbytes(size)))[: len(data) - at]
            what = f"{len(part)} bytes overwritten at {at}"
            data = data[:at] + part + data[at + len(part) :]
        path.write_bytes(data)
        return f"{path.name}: {what}{'' if self.hashed else ', unhashed'}"


class Records(Dataset):
    """One record in a sound shard, whose card is right about the file."""

    def damage(self, rng: random.Random) -> str:
        self.restore()
        number, row = rng.randrange(3), rng.randrange(7)
        expected = self.examples[8 * number : 8 * number + 8]
        good = [records_bytes(example) for example in expected]
        if rng.random() < 0.5:
            data, what = mutate_header(good[row], rng)
        else:
            data, what = records_bytes(*change(expected[row], rng))
        rows = [*good[:row], data, *good[row + 1 :]]
        old = self.split.shards[number]
        path = self.own / old.file
        path.unlink()
        writer = ArrayRecordWriter(str(path), records.WRITER_OPTIONS)
        for content in rows:
            writer.write(content)
        writer.close()
        new = Shard(old.file, len(rows), path.stat().st_size, records.sha256(path))
        card = read_card(self.own)
        shards = [new if shard is old else shard for shard in self.split.shards]
        split = card.splits["train"]
        split = type(split)(**{**vars(split), "shards": tuple(shards)})
        self._write_card(self.own, split)
        return f"record {8 * number + row}: {what}"


def records_bytes(example: dict, what: str = "") -> Any:
    """A record as it is stored; with `what`, also that."""
    arrays = {
        "tokens": np.asarray(example["tokens"]),
        "key": np.frombuffer(example["key"].encode(), np.uint8),
        **{f"condition/{k}": np.asarray(v) for k, v in example["condition"].items()},
    }
    if arrays["tokens"].dtype == np.int64:
        arrays["tokens"] = arrays["tokens"].astype(np.uint16)
    arrays |= example.get("more", {})
    for name in example.get("without", ()):
        del arrays[name]
    data = save(arrays)
    return (data, what) if what else data


def change(example: dict, rng: random.Random) -> tuple[dict, str]:
    """The example with one array missing, or of another type, shape or range."""
    name = rng.choice(("tokens", "key", "condition/label", "condition/motion"))
    kind = rng.choice(("missing", "type", "shape", "range", "another"))
    if (name, kind) in (("key", "shape"), ("condition/motion", "range")):
        kind = "type"  # another text or number that is as good
    value = {
        "tokens": example["tokens"].astype(np.uint16),
        "key": np.frombuffer(example["key"].encode(), np.uint8),
        "condition/label": np.asarray(example["condition"]["label"]),
        "condition/motion": example["condition"]["motion"],
    }[name]
    if kind == "missing":
        return {**example, "without": [name]}, f"no {name}"
    if kind == "another":
        return {**example, "more": {"condition/x": value}}, "one condition more"
    if kind == "type":
        others = [
            t for t in ("f2", "f4", "i2", "i8", "u4", "?") if t != value.dtype.str[1:]
        ]
        other = rng.choice(others)
        value = value.astype(other)
        what = f"{name} as {other}"
    elif kind == "shape":
        value = rng.choice((value[..., None], value.ravel()[:-1], value.ravel()[:0]))
        what = f"{name} of shape {value.shape}"
    else:
        large = {"f": np.nan, "u": 400, "i": -7}[value.dtype.kind]
        value = np.full(value.shape, 200 if name == "key" else large, value.dtype)
        what = f"{name} all {large}"
    return {**example, "more": {name: np.ascontiguousarray(value)}}, what


def mutate_header(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A safetensors record with another length or header; its arrays as they are."""
    length = 8 + int.from_bytes(data[:8], "little")
    head, what = mutate(data[:length], rng)
    if rng.random() < 0.3:
        end = rng.randrange(len(data))
        return data[:end], f"truncated to {end}"
    return head + data[length:], f"header {what}"


class Cards(Dataset):
    """Bytes or values of dataset.json."""

    VALUES = (
        None,
        True,
        0,
        -1,
        7,
        1e300,
        "x",
        "",
        [],
        {},
        [1],
        {"a": 1},
        "../x",
        10**30,
    )

    def damage(self, rng: random.Random) -> str:
        self.restore()
        path = self.own / CARD_NAME
        if rng.random() < 0.4:
            data, what = mutate(path.read_bytes(), rng)
            path.write_bytes(data)
            return what
        content = json.loads(path.read_text())
        places = list(leaves(content))
        keys = rng.choice(places)
        keys = keys[: rng.randrange(1, len(keys) + 1)]
        inside = functools.reduce(lambda part, key: part[key], keys[:-1], content)
        if rng.random() < 0.3:
            del inside[keys[-1]]
            what = "gone"
        else:
            inside[keys[-1]] = value = rng.choice(self.VALUES)
            what = f"= {value!r}"
        path.write_text(json.dumps(content))
        return f"{'.'.join(map(str, keys))} {what}"


def leaves(content: Any, keys: tuple = ()) -> Any:
    """The keys of every value inside of lists and dicts."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        yield (*keys, key)
        if isinstance(value, dict | list):
            yield from leaves(value, (*keys, key))
