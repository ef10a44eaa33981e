"""benchmarks/few_steps.py: how it reads samplers, its intervals, a run of it."""

import json
import pathlib
import sys

import numpy as np
import pytest
import tiny

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import few_steps  # noqa: E402


def test_samplers_are_read() -> None:
    assert few_steps.sampler_of("strided") == {"method": "strided"}
    assert few_steps.sampler_of("spread,temperature=1.05,grid=geometric") == {
        "method": "spread",
        "temperature": 1.05,
        "grid": "geometric",
    }


@pytest.mark.parametrize(
    "text", ["spreed", "strided,temprature=1.1", "spread,grid", "strided,steps=3"]
)
def test_unknown_samplers_and_options_end_it_at_once(text, tmp_path):
    with pytest.raises(SystemExit) as stop:
        few_steps.main([f"--workdir={tmp_path}", f"--samplers=strided;{text}"])
    assert "unknown" in str(stop.value)


def test_intervals_hold_the_value() -> None:
    rng = np.random.default_rng(0)
    test, pixels = rng.normal(size=(2, 400, 3))
    near = few_steps.Judged(rng.random(400) < 0.9, pixels)
    far = few_steps.Judged(rng.random(400) < 0.5, pixels + 1.0)
    found = few_steps.figures_of(far, near, test)
    for name in ("right", "gap", "distance", "ratio"):
        low, high = json.loads(found[f"{name}_interval"])
        assert low < found[name] < high
    assert found["gap"] == pytest.approx(-0.4, abs=0.06) and found["ratio"] > 10
    alike = few_steps.figures_of(near, near, test)
    assert alike["gap"] == 0 and alike["ratio"] == 1


@pytest.mark.slow
def test_a_table_of_a_work_directory(tmp_path: pathlib.Path, capsys) -> None:
    workdir = tmp_path / "digits"
    settings = dict(config__diffusion__schedule="absorbing_linear")
    code, text = tiny.run(*tiny.flags(**settings), f"--workdir={workdir}")
    assert code == 0, text
    flags = [f"--workdir={workdir}", "--samplers=strided;spread,grid=geometric"]
    flags += ["--steps=2,11", "--samples=20", f"--json={tmp_path / 'table.json'}"]
    few_steps.main(flags)
    out = capsys.readouterr().out
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert [(r["sampler"], r["steps"]) for r in rows] == [
        ("ancestral", 10),
        ("strided", 2),
        ("spread,grid=geometric", 2),
    ]
    # samples of six steps are noise, about 43 from the test split
    assert all(20 < r["distance"] < 100 for r in rows)
    assert sum(" 11 " in line for line in out.splitlines()) == 2  # too many steps
