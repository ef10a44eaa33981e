"""Tables of codes: from files, from counts, from token records."""

import json
import pathlib

import numpy as np
import pytest
from safetensors.numpy import save_file

from cdcd_jax.convert.remap import count_records, from_counts, from_table, read_remap
from cdcd_jax.data.card import Card, write_card
from cdcd_jax.data.shards import Layout, write_split
from cdcd_jax.errors import InputError, UsageError

TO = np.array([2, 0, 0, 1, 2, 1])
BOOK = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]])


def check_table(table: dict, to: list[int], back: list[int]) -> None:
    assert table["to"].tolist() == to and table["back"].tolist() == back
    assert table["to"].dtype == table["back"].dtype == np.int32


def test_table() -> None:
    check_table(from_table(TO), TO.tolist(), [1, 3, 0])
    check_table(from_table(TO, 5), TO.tolist(), [1, 3, 0, 0, 0])
    with pytest.raises(UsageError, match="code 2 in"):
        from_table(TO, 2)
    with pytest.raises(InputError, match="becomes code 1 in"):
        from_table(np.array([0, 0, 10**12]))


@pytest.mark.parametrize("suffix", ["npy", "json", "safetensors"])
def test_files(tmp_path: pathlib.Path, suffix: str) -> None:
    path = tmp_path / f"table.{suffix}"
    if suffix == "npy":
        np.save(path, TO)
    elif suffix == "json":
        path.write_text(json.dumps({"full_to_quantize": TO.tolist()}))
    else:
        save_file({"to": TO.astype(np.int32)}, path)
    check_table(read_remap(path, BOOK), TO.tolist(), [1, 3, 0])
    with pytest.raises(InputError, match=r"expected whole numbers .* \[7\]"):
        read_remap(path, np.zeros((7, 1)))


@pytest.mark.parametrize(
    "text, message",
    [
        ("[0, 1, 2", "cannot be read"),
        ("[0, 1, 1, 1, 1, 1.5]", "float64 numbers"),
        ("[0, 1, 1, 1, 1, -1]", "expected whole numbers from 0"),
        ('[0, 1, 1, 1, 1, "1"]', "expected whole numbers from 0"),
        ("[[0], [1, 2]]", "cannot be read"),
        ('{"a": [0]}', "Found 'a' in"),
        ("[0, 2, 2, 2, 2, 2]", "becomes code 1"),
    ],
)
def test_bad_files(tmp_path: pathlib.Path, text: str, message: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_remap(path, BOOK)


def test_damaged_npy(tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "table.npy"
    np.save(path, TO)
    whole = path.read_bytes()
    for _ in range(200):
        data = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            table = read_remap(path, BOOK)
        except InputError:
            continue
        # another table, but a sound one
        assert (table["to"][table["back"]] == np.arange(len(table["back"]))).all()


def test_counts() -> None:
    counts = np.array([0, 7, 0, 3, 9, 0])
    # of equal distances the first: 2 is as far from 1 as from 3
    check_table(from_counts(counts, BOOK), [0, 0, 0, 1, 2, 2], [1, 3, 4])
    check_table(from_counts(counts, BOOK, 2), [0, 0, 0, 1, 1, 1], [1, 4])
    with pytest.raises(UsageError, match="3 codes that occur"):
        from_counts(counts, BOOK, 4)
    with pytest.raises(InputError, match="no code that occurs"):
        from_counts(np.zeros(6, int), BOOK)


def test_kept_codes_come_back_even_if_equal() -> None:
    book = np.zeros((5, 2))
    table = from_counts(np.array([1, 0, 4, 0, 2]), book)
    assert table["to"][table["back"]].tolist() == [0, 1, 2]


def test_counts_in_a_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "counts.json"
    path.write_text(json.dumps({"counts": [0, 7, 0, 3, 9, 0]}))
    check_table(read_remap(path, BOOK, 2), [0, 0, 0, 1, 1, 1], [1, 4])


def test_counts_of_records(tmp_path: pathlib.Path) -> None:
    tokens = {"train": [[1, 4, 4, 4], [3, 1, 1, 4]], "test": [[5, 5, 5, 5]]}
    layout, splits = Layout(6, (2, 2), {}), {}
    for split, rows in tokens.items():
        examples = [
            {"key": str(i), "tokens": np.array(row), "condition": {}}
            for i, row in enumerate(rows)
        ]
        splits[split] = write_split(tmp_path, split, examples, layout, 8)
    card = Card(tmp_path, "toy", 6, (2, 2), {}, {"kind": "none"}, splits, {})
    write_card(card)
    np.testing.assert_array_equal(count_records(tmp_path, 6), [0, 3, 0, 1, 4, 0])
    check_table(read_remap(tmp_path, BOOK), [0, 0, 0, 1, 2, 2], [1, 3, 4])
    with pytest.raises(InputError, match="6 codes"):
        count_records(tmp_path, 7)
