"""Classes by name and by number: which request is which, and which is refused."""

import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from cdcd_jax.errors import UsageError
from cdcd_jax.generation import classes
from cdcd_jax.generation.prompts import rows_of
from cdcd_jax.generation.rows import every_label

MONTHS = tuple(map(str, range(1, 13)))  # number 0 has the name 1
DIGITS = tuple(map(str, range(10)))  # each number has its own name
DANCES = ("waltz", "techno", "swing, slow", "Été")


def flag(text: str, names: tuple[str, ...]) -> list[int]:
    return classes.read("label", classes.Flag(text), len(names), names).tolist()


def call(value: Any, names: tuple[str, ...]) -> list[int]:
    """As `model.sample(label=value)` has it."""
    spec: Mapping = dict(kind="label", num_classes=len(names), names=names)
    given = classes.as_asked({"label": value}, {"label": spec})
    return rows_of(given, {"label": spec}, 1).condition["label"].tolist()


def test_rows_that_are_made_up_go_through_all_classes() -> None:
    conditions = {
        name: dict(kind="label", num_classes=number)
        for name, number in (("label", 3), ("style", 2))
    }
    rows = every_label(conditions, 7)
    assert rows["label"].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert rows["style"].tolist() == [0, 1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("text", "names", "numbers"),
    [
        ("0,2", MONTHS, [0, 2]),  # no class is called 0
        ("12,10", MONTHS, [11, 9]),  # there is no number 12
        ("3, 3", DIGITS, [3, 3]),  # both ways the same
        ("#1,#2", MONTHS, [1, 2]),
        ("name:1,name:2", MONTHS, [0, 1]),
        ("waltz,#3", DANCES, [0, 3]),
        ("swing, slow", DANCES, [2]),
        ("WALTZ,été", DANCES, [0, 3]),
        ("0,3", (), None),
        (unicodedata.normalize("NFD", "été"), DANCES, [3]),
        ("caf\u00e9", ("dog", "cafe\u0301"), [1]),
        ("cat", ("Cat", "cat"), [1]),  # as it is written
        ("name:#2", ("a", "b", "#2"), [2]),
        ("Strasse", ("Straße", "x"), [0]),
    ],
)
def test_flags(text: str, names: tuple[str, ...], numbers: list[int] | None) -> None:
    if numbers is None:
        assert classes.read("label", text, 5, ()).tolist() == [0, 3]
    else:
        assert flag(text, names) == numbers


@pytest.mark.parametrize(
    ("text", "names", "says"),
    [
        ("1,2", MONTHS, r"1 \(0\), 2 \(1\) or 2 \(1\), 3 \(2\).*#1.*name:1"),
        ("1", MONTHS, r"1 \(0\) or 2 \(1\)"),
        ("waltz,0", DANCES, "waltz by name and 0 by number.*#0"),
        ("0,12", MONTHS, "12 by name and 0 by number"),
        ("CAT", ("Cat", "cat"), r"Cat \(0\), cat \(1\).*upper and lower"),
        ("1,2", ("1", "2", "1,2"), r"1,2 \(2\) or 1 \(0\), 2 \(1\)"),
        ("#2", ("#2", "a", "b"), None),
        ("#9", DANCES, "0 to 3"),
        ("name:polka", DANCES, "waltz, techno"),
        ("", DANCES, "0 to 3"),
        ("0,", DANCES, "0 to 3"),
        ("-1", DANCES, "0 to 3"),
        ("\u0663", DANCES, "0 to 3"),
        ("\u00b2", DANCES, "0 to 3"),
        ("9" * 5000, DANCES, "0 to 3"),
    ],
)
def test_what_is_unclear_is_refused(
    text: str, names: tuple[str, ...], says: str | None
) -> None:
    if says is None:  # a name that looks like a number stays a name
        assert flag(text, names) == [0]
        return
    with pytest.raises(UsageError, match=says):
        flag(text, names)


@pytest.mark.parametrize(
    ("value", "names", "numbers"),
    [
        (2, MONTHS, [2]),
        ("2", MONTHS, [1]),
        (["2", "12"], MONTHS, [1, 11]),
        ([2, "2"], MONTHS, [2, 1]),
        (np.array([0, 2]), MONTHS, [0, 2]),
        (np.array(["1", "2"]), MONTHS, [0, 1]),
        (np.int64(3), MONTHS, [3]),
        ((0, "techno"), DANCES, [0, 1]),
        ("3", DANCES, [3]),  # as before: nothing is called 3
        ("waltz,techno", DANCES, [0, 1]),
        (["0", "1"], DANCES, [0, 1]),
    ],
)
def test_in_python_ints_are_numbers_and_strings_are_names(
    value: Any, names: tuple[str, ...], numbers: list[int]
) -> None:
    assert call(value, names) == numbers


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (["0", "2"], "2 by name and 0 by number"),
        (12, "0 to 11"),
        (-1, "0 to 11"),
        (True, "0 to 11"),
        (1.0, "0 to 11"),
        (None, "0 to 11"),
        ([], "0 to 11"),
        ([[1], [2, 3]], "0 to 11"),
    ],
)
def test_bad_values_in_python(value: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        call(value, MONTHS)


def test_digits_with_a_zero_before_them_are_no_number() -> None:
    with pytest.raises(UsageError, match="expected numbers from 0 to 11"):
        flag("03", MONTHS)
    assert flag("03", ("01", "02", "03")) == [2]
