"""The list of faults fits the code: each is found once, and its tests are there."""

import re

import mutants
import pytest

ALL = mutants.read(mutants.LIST.read_text())


def test_each_fault_can_be_put_into_its_file() -> None:
    faults = {
        str(m): fault
        for m in ALL
        if (fault := m.fault((mutants.ROOT / m.path).read_text()))
    }
    assert not faults
    assert len(ALL) >= 60 and len(set(ALL)) == len(ALL)
    rooms = {m.file.split("/")[0] for m in ALL}
    expected = "convert data diffusion evaluation generation metrics networks training"
    assert set(expected.split()) <= rooms


def test_the_tests_that_catch_them_are_there() -> None:
    for test in {test for m in ALL for test in m.tests}:
        path, _, name = test.partition("::")
        text = (mutants.ROOT / "tests" / path).read_text()
        assert not name or re.search(rf"^def {name}\(", text, re.MULTILINE), test


@pytest.mark.parametrize("line", ["  - a\n  - b", "  + a", "  - a\n  = t", "  ? a"])
def test_a_line_without_a_place_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="has no place"):
        mutants.read(f"a.py\n{line}\n")
