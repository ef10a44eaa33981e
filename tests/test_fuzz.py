"""Tests of `fuzz.py`: a few damaged files of each kind, and that faults are seen."""

import io
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fuzz
import fuzz_files

KINDS = 13


def outcomes(cases: int, seed: int, kinds: str = "") -> tuple[dict, str]:
    """Cases by outcome, and the faults in words."""
    out = io.StringIO()
    argv = [f"--cases={cases}", f"--seed={seed}", f"--kinds={kinds}"]
    counts = fuzz.run(argv, 0, cases, out)
    assert sum(counts.values()) == cases
    return counts, out.getvalue()


def test_damage_is_refused() -> None:
    counts, faults = outcomes(10 * KINDS, seed=1)
    assert not faults
    by_kind = {kind: 0 for kind, outcome in counts if outcome == "refused"}
    assert len(by_kind) == KINDS - 1  # no end of a line is refused


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 2])
def test_damage_is_refused_often(seed: int) -> None:
    assert not outcomes(1000, seed)[1]


def test_mutations_change_bytes_and_depend_on_the_seed() -> None:
    data = bytes(range(256)) * 4
    made = [fuzz_files.mutate(data, random.Random(seed)) for seed in range(300)]
    assert made == [fuzz_files.mutate(data, random.Random(seed)) for seed in range(300)]
    assert sum(other == data for other, _ in made) < 20  # zeros over zeros
    assert len({what.split()[0] for _, what in made}) >= 6
    assert fuzz_files.mutate(b"", random.Random(0))[0] is not None


def test_faults_crashes_and_hangs_are_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # a child that tells of a fault, crashes, is started again, hangs, and goes on
    script = tmp_path / "child.py"
    script.write_text(
        "import json, os, sys, time\n"
        "first = int([a for a in sys.argv if 'first' in a][0].split('=')[1])\n"
        "tell = lambda **c: print(json.dumps(c), flush=True)\n"
        "for case in range(first, 5):\n"
        "    tell(case=case, kind='k', damage='some')\n"
        "    if case == 1: print('last words', file=sys.stderr); os.abort()\n"
        "    if case == 3: time.sleep(60)\n"
        "    tell(case=case, outcome='fault' if case == 0 else 'right', detail='why')\n"
    )
    monkeypatch.setattr(fuzz, "__file__", str(script))
    monkeypatch.setattr(fuzz, "SECONDS", 2)
    out = io.StringIO()
    counts = fuzz.run([], 0, 5, out)
    assert counts == {("k", "fault"): 3, ("k", "right"): 2}
    text = out.getvalue()
    for part in ("case 0 (k: some)\nwhy", "case 1 (", "last words", "case 3 ("):
        assert part in text
    assert "silent for too long" in text
    assert fuzz.table(counts).splitlines()[-1].split() == ["all", "2", "0", "0", "3"]
