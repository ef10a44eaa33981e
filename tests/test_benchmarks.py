"""The benchmarks run, agree with themselves and report what they promise."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.slow
def test_loss_benchmark_runs(tmp_path: pathlib.Path) -> None:
    report = tmp_path / "loss.json"
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "loss.py", "--quick", f"--json={report}"],
        cwd=tmp_path,
        # times do not matter here: compile fast
        env={**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dense / closed" in done.stdout
    figures = json.loads(report.read_text())
    for key in ("device", "cpu", "cores", "python", "jax", "num_codes", "runs"):
        assert key in figures
    for number in (0, 2):
        assert figures[f"difference_{number}"] < 1e-4
        assert figures[f"speedup_{number}"] > 0
        assert 0 < figures[f"memory_ratio_{number}"] < 1
        assert figures[f"step_{number}_ms"] > 0
    for part in ("loss", "step"):
        assert figures[f"negatives_overhead_of_{part}"] > -1
