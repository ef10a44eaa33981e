"""Tests of the record format: round trip, and every kind of damage by its name."""

import dataclasses
import json
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from safetensors.numpy import load, save

from cdcd_jax.data.card import Card, read_card
from cdcd_jax.data.digits import DigitsSource
from cdcd_jax.data.records import RecordSource, check_shards
from cdcd_jax.data.shards import Layout, write_split
from cdcd_jax.errors import InputError

MakeDataset = Callable[..., Card]
SHARD = "train-00001-of-00003.arrayrecord"


def rewrite_shard(card: Card, name: str, records: list[bytes]) -> Card:
    """Puts other records into a shard and a matching size into the card."""
    writer = ArrayRecordWriter(str(card.directory / name), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()
    size = (card.directory / name).stat().st_size
    split = card.splits["train"]
    shards = tuple(
        dataclasses.replace(shard, num_bytes=size) if shard.file == name else shard
        for shard in split.shards
    )
    return dataclasses.replace(
        card, splits={"train": dataclasses.replace(split, shards=shards)}
    )


def to_record(tokens: np.ndarray, **condition: np.ndarray) -> bytes:
    conditions = {f"condition/{name}": value for name, value in condition.items()}
    return save({"tokens": tokens, "key": np.zeros(1, np.uint8), **conditions})


def flip_middle(path: Path, start: int, count: int = 64) -> None:
    content = bytearray(path.read_bytes())
    content[start : start + count] = bytes(b ^ 0x5A for b in content[start:][:count])
    path.write_bytes(content)


def test_round_trip(make_dataset: MakeDataset) -> None:
    card = make_dataset(12)
    shards = card.splits["train"].shards
    assert [shard.num_records for shard in shards] == [5, 5, 2]
    assert shards[1].file == SHARD
    check_shards(card)
    source = RecordSource(card, "train")
    assert len(source) == 12 and card.num_tokens == 4
    for i in range(12):
        example = source[i]
        assert example["tokens"].dtype == np.int32
        np.testing.assert_array_equal(example["tokens"], [i] * 4)
        label = example["condition"]["label"]
        assert label.shape == () and label.dtype == np.int32 and label == i % 10
        assert source.key(i) == f"made/{i}"
    for outside in (-1, 12):
        with pytest.raises(IndexError):
            source[outside]


def test_digits_survive(digits_records: Path) -> None:
    card = read_card(digits_records)
    source = RecordSource(card, "test")
    split = DigitsSource(seed=0).split("test")
    raw = [split.example(i) for i in range(len(split))]
    assert len(source) == len(raw) == card.splits["test"].num_records
    for i, example in enumerate(raw):
        levels = np.rint(example["image"].ravel() * (16 / 255))
        np.testing.assert_array_equal(source[i]["tokens"], levels)
        assert source[i]["condition"]["label"] == example["condition"]["label"]
        assert source.key(i) == example["key"]


def test_a_split_says_how_evenly_its_codes_are_used(tmp_path: Path) -> None:
    """Shares 1/2, 1/4 and 1/4 of 12 tokens in two shards: 2^(3/2) codes."""
    rows = ([0, 0, 0, 0], [0, 2, 0, 2], [5, 5, 5, 2])
    examples = [
        {"key": f"{i}", "tokens": np.array(row), "condition": {}}
        for i, row in enumerate(rows)
    ]
    split = write_split(tmp_path, "train", examples, Layout(9, (2, 2), {}), 2)
    assert len(split.shards) == 2 and split.num_records == 3
    assert split.codes_used == 3
    assert split.perplexity == pytest.approx(2**1.5)


@pytest.mark.parametrize(("num_codes", "dtype"), [(256, "U8"), (257, "U16")])
def test_tokens_take_the_smallest_type(
    make_dataset: MakeDataset, num_codes: int, dtype: str
) -> None:
    card = make_dataset(2, num_codes=num_codes)
    reader = RecordSource(card, "train")._reader(0)
    record = reader.read([0])[0]
    assert f'"tokens":{{"dtype":"{dtype}"'.encode() in record
    assert load(record)["key"].tobytes() == b"made/0"


def test_source_pickles_and_is_shared_by_threads(make_dataset: MakeDataset) -> None:
    source = RecordSource(make_dataset(200, shard_records=20), "train")
    source[0]  # an open reader must not hinder pickling
    source = pickle.loads(pickle.dumps(source))
    order = np.random.default_rng(0).integers(0, 200, 2000)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: source[i]["tokens"][0], order))
    np.testing.assert_array_equal(found, order)


def test_missing_card(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="--mode=pretokenize") as caught:
            read_card(directory)
        assert str(directory) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": None},
        {"splits": {"train": {"num_records": 1, "shards": []}}},
        {"splits": {"train": {"num_records": 1, "shards": [{"file": "x"}]}}},
        {"conditions": {"label": {"shape": []}}},
        {"grid": 3},
    ],
)
def test_bad_card(make_dataset: MakeDataset, change: dict) -> None:
    path = make_dataset(2).directory / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError) as caught:
        read_card(path.parent)
    assert str(path) in str(caught.value)


def test_card_that_is_no_json(make_dataset: MakeDataset) -> None:
    path = make_dataset(2).directory / "dataset.json"
    for text in (path.read_text()[:50], "[]", ""):
        path.write_text(text)
        with pytest.raises(InputError, match="Found a bad"):
            read_card(path.parent)


def test_unknown_split(digits_records: Path) -> None:
    with pytest.raises(InputError, match="expected one of test, train"):
        RecordSource(read_card(digits_records), "valid")


def test_missing_shard(make_dataset: MakeDataset) -> None:
    card = make_dataset(12)
    (card.directory / SHARD).unlink()
    source = RecordSource(card, "train")
    source[0]
    for use in (lambda: check_shards(card), lambda: source[7]):
        with pytest.raises(InputError, match=f"Found no .*{SHARD}"):
            use()


@pytest.mark.parametrize("kept", [0, 1000, -10])
def test_truncated_shard(make_dataset: MakeDataset, kept: int) -> None:
    card = make_dataset(12)
    path = card.directory / SHARD
    path.write_bytes(path.read_bytes()[:kept])
    source = RecordSource(card, "train")
    for use in (lambda: check_shards(card), lambda: source[7]):
        with pytest.raises(InputError, match=f"bytes in .*{SHARD}"):
            use()


def test_flipped_bytes_with_the_hash_check(own_digits: Path) -> None:
    card = read_card(own_digits)
    name = card.splits["train"].shards[0].file
    flip_middle(own_digits / name, card.splits["train"].shards[0].num_bytes // 2)
    with pytest.raises(InputError, match=f"Found sha256 .*{name}"):
        check_shards(card)


def test_flipped_bytes_without_the_hash_check(
    own_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = read_card(own_digits)
    name = card.splits["train"].shards[0].file
    flip_middle(own_digits / name, 30_000)
    monkeypatch.setattr("cdcd_jax.data.records.MAX_HASHED_BYTES", 0)
    check_shards(card)
    source = RecordSource(card, "train")
    bad = []
    for i in range(len(source)):
        try:
            source[i]
        except InputError as error:
            assert re.search(f"record {i} of train .*{name}", str(error))
            bad.append(i)
    assert 0 < len(bad) < 20


def test_shard_that_is_no_array_record(make_dataset: MakeDataset) -> None:
    card = make_dataset(12)
    path = card.directory / SHARD
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(InputError, match=SHARD):
        RecordSource(card, "train")[7]


def test_shard_with_fewer_records(make_dataset: MakeDataset) -> None:
    good = to_record(np.zeros(4, np.uint16), label=np.array(0, np.int32))
    card = rewrite_shard(make_dataset(12), SHARD, [good] * 4)
    with pytest.raises(InputError, match=f"Found 4 readable records .*{SHARD}"):
        RecordSource(card, "train")[7]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"", "cannot be parsed"),
        (b"no safetensors", "cannot be parsed"),
        (save({"key": np.zeros(1, np.uint8)}), "without"),
        (to_record(np.zeros(5, np.uint16), label=np.array(0, np.int32)), r"\[5\]"),
        (to_record(np.zeros(4, np.float32), label=np.array(0, np.int32)), "float32"),
        (to_record(np.full(4, 300, np.uint16), label=np.array(0, np.int32)), "300"),
        (to_record(np.zeros(4, np.uint16), label=np.array(10, np.int32)), "is 10"),
        (to_record(np.zeros(4, np.uint16), label=np.array(-1, np.int32)), "is -1"),
        (to_record(np.zeros(4, np.uint16), label=np.zeros(1, np.int32)), "label"),
        (to_record(np.zeros(4, np.uint16), label=np.array(0, np.int64)), "int64"),
        (to_record(np.zeros(4, np.uint16)), "conditions are"),
    ],
)
def test_bad_record(make_dataset: MakeDataset, record: bytes, message: str) -> None:
    good = to_record(np.zeros(4, np.uint16), label=np.array(0, np.int32))
    card = rewrite_shard(make_dataset(12), SHARD, [good, good, record, good, good])
    source = RecordSource(card, "train")
    source[6]
    with pytest.raises(InputError, match=message) as caught:
        source[7]
    assert re.search(rf"record 7 of train \(record 2 of .*{SHARD}\)", str(caught.value))
    assert "; expected" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": np.full(4, 9)},
        {"tokens": np.zeros(3, int)},
        {"condition": {"label": np.int32(10)}},
        {"condition": {}},
    ],
)
def test_writer_refuses_bad_examples(tmp_path: Path, change: dict) -> None:
    label = {"label": {"shape": [], "dtype": "int32", "num_classes": 10}}
    example = {"key": "a/1", "tokens": np.zeros(4, int)}
    example |= {"condition": {"label": np.int32(0)}} | change
    layout = Layout(num_codes=9, grid=(4,), conditions=label)
    with pytest.raises(InputError, match="'a/1'"):
        write_split(tmp_path, "train", [example], layout, 2)
    with pytest.raises(InputError, match="Found no example"):
        write_split(tmp_path, "train", [], layout, 2)
    assert not list(tmp_path.glob("*.arrayrecord"))
