"""Tests of the table of negatives: what is drawn, how often, how fast, what fails."""

import time
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import chisquare

from cdcd_jax.data.negatives_table import draw_table
from cdcd_jax.errors import InputError, UsageError


def check(groups: list[str], table: np.ndarray, number: int) -> None:
    names = np.array(groups)
    assert table.shape == (len(groups), number) and table.dtype == np.uint32
    assert table.max() < len(groups)
    assert (names[table] != names[:, None]).all()
    in_order = np.sort(table, axis=1)
    assert (in_order[:, 1:] != in_order[:, :-1]).all()


@pytest.mark.parametrize("number", [1, 2, 10, 25])
def test_distinct_and_of_other_groups(number: int) -> None:
    rng = np.random.default_rng(number)
    groups = [f"class {label}" for label in rng.integers(0, 5, 60)]
    check(groups, draw_table(groups, number, seed=0), number)


def test_singles_one_dominant_group_and_all_others() -> None:
    every = [str(i) for i in range(11)]
    table = draw_table(every, 10, seed=1)  # no choice but the order
    check(every, table, 10)
    most = ["a"] * 990 + ["b"] * 10
    table = draw_table(most, 10, seed=1)
    check(most, table, 10)
    assert (np.sort(table[:990], axis=1) == np.arange(990, 1000)).all()


def test_same_seed_same_table() -> None:
    groups = [str(i % 7) for i in range(500)]
    first = draw_table(groups, 4, seed=3)
    np.testing.assert_array_equal(first, draw_table(groups, 4, seed=3))
    np.testing.assert_array_equal(first, draw_table(tuple(groups), 4, seed=3))
    assert (first != draw_table(groups, 4, seed=4)).any()


def test_each_ordered_choice_is_as_likely() -> None:
    # every row of group "a" chooses 2 of the same 4 records: 12 ordered choices
    groups = ["b", *["a"] * 3000, "c", "c", *["a"] * 3000, "d"]
    others = [0, 3001, 3002, 6003]
    table = draw_table(groups, 2, seed=5)
    rows = [
        tuple(row) for row, g in zip(table.tolist(), groups, strict=True) if g == "a"
    ]
    counts = [rows.count(choice) for choice in permutations(others, 2)]
    assert sum(counts) == len(rows) == 6000
    assert chisquare(counts).pvalue > 0.001


def test_each_other_record_is_as_likely() -> None:
    groups = [str(i % 3) for i in range(30)]
    tables = np.stack([draw_table(groups, 3, seed=seed) for seed in range(400)])
    for record in range(0, 30, 7):
        counts = np.bincount(tables[:, record].ravel(), minlength=30)
        allowed = [i for i in range(30) if groups[i] != groups[record]]
        assert counts.sum() == counts[allowed].sum() == 1200
        assert chisquare(counts[allowed]).pvalue > 0.001


def test_rows_are_independent() -> None:
    groups = [str(i % 2) for i in range(6)]
    tables = np.stack([draw_table(groups, 1, seed=seed) for seed in range(900)])
    first, second = tables[:, 0, 0] // 2, tables[:, 2, 0] // 2
    pairs = np.bincount(first * 3 + second, minlength=9)
    assert chisquare(pairs).pvalue > 0.001


def test_groups_that_leave_too_few() -> None:
    with pytest.raises(
        InputError, match=r"'big', outside of which there are 3 .* 4 or"
    ):
        draw_table(["big"] * 9 + ["x", "y", "z"], 4, seed=0)
    with pytest.raises(InputError, match="'one', outside of which there are 0"):
        draw_table(["one"] * 3, 1, seed=0)
    with pytest.raises(InputError, match="no records"):
        draw_table([], 1, seed=0)
    for arguments in ({"number": 0, "seed": 0}, {"number": 1, "seed": -1}):
        with pytest.raises(UsageError, match="number = "):
            draw_table(["a", "b"], **arguments)


def test_speed() -> None:
    groups = [f"n{i * 7919 % 1000:08d}" for i in range(130_000)]
    began = time.perf_counter()
    table = draw_table(groups, 10, seed=0)
    assert time.perf_counter() - began < 5  # 0.3 s where nothing else runs
    check(groups, table, 10)
