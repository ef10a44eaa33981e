"""What a conversion holds in memory: less than the parameters that it writes."""

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_conversion_holds_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file with averages and an optimizer's state, pages of the file too."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import convert_memory

    found = convert_memory.measure(width=512, depth=16)
    most = 1.3 * found["model"] + found["largest"]
    assert found["file"] > 3.9 * found["model"] > 3.9 * 200 * 2**20
    for name, beyond in found["beyond"].items():
        assert beyond < most, name
