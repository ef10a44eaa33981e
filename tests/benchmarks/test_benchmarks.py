"""The benchmarks run, agree with themselves and report what they promise."""

import json
import pathlib
import subprocess
import sys

import pytest
import tiny

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"
MACHINE = {"device", "cpu", "cores", "python", "jax"}


def run(*argv: str | pathlib.Path) -> subprocess.CompletedProcess:
    """Runs Python on these arguments."""
    return subprocess.run(
        [sys.executable, *argv],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def figures(name: str, tmp_path: pathlib.Path, *flags: str) -> tuple[str, dict]:
    """What a benchmark prints and writes with --quick."""
    report = tmp_path / "report.json"
    done = run(BENCHMARKS / name, "--quick", f"--json={report}", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads(report.read_text())


@pytest.mark.slow
def test_loss_benchmark_runs(tmp_path: pathlib.Path) -> None:
    printed, found = figures("loss.py", tmp_path)
    assert "dense / closed" in printed
    assert set(found) >= {*MACHINE, "num_codes", "runs"}
    for number in (0, 2):
        assert found[f"difference_{number}"] < 1e-4
        assert found[f"speedup_{number}"] > 0
        assert 0 < found[f"memory_ratio_{number}"] < 1
        assert found[f"step_{number}_ms"] > 0
    for part in ("loss", "step"):
        assert found[f"negatives_overhead_of_{part}"] > -1


@pytest.mark.slow
def test_step_benchmark_runs(tmp_path: pathlib.Path) -> None:
    printed, found = figures(
        "train_step.py",
        tmp_path,
        *tiny.flags(),
        "--batches=16,32",
        "--negatives",
        "--input",
    )
    assert "best: batch" in printed
    assert "10 negatives add" in printed
    assert set(found["machine"]) >= MACHINE
    assert "train_step.py" in found["command"]
    assert [(r["batch"], r["negatives"]) for r in found["rows"]] == [
        *[(16, 0), (16, 10)],
        *[(32, 0), (32, 10)],
    ]
    for row in found["rows"]:
        assert 0 < row["ms_min"] <= row["ms"] <= row["ms_max"]
        # tokens a second, from the time and the shape
        expected = row["batch"] * 64 / row["ms"] * 1e3
        assert row["tokens_per_second"] == pytest.approx(expected)
        flops = row["flops_per_example"] * row["batch"] / row["ms"] * 1e3
        assert row["tflops_per_device"] == pytest.approx(flops / 1e12)
    assert found["input"]["tokens_per_second"] > 0
    assert found["input"]["ratio"] > 0


@pytest.mark.slow
def test_sampler_benchmark_draws_the_same_tokens_both_ways(
    tmp_path: pathlib.Path,
) -> None:
    _, found = figures(
        "sampler.py",
        tmp_path,
        *tiny.flags(config__sampling__guidance_scale=2.0),
        "--batches=1,3",
    )
    assert [row["batch"] for row in found["rows"]] == [1, 3]
    for row in found["rows"]:
        assert row["steps"] == 5
        assert row["equal_tokens"] > 0.9
        assert row["loop_ratio"] > 0


@pytest.mark.slow
def test_benchmarks_explain_bad_flags() -> None:
    done = run(BENCHMARKS / "train_step.py", "--config.model.depht=3", *tiny.flags())
    assert done.returncode == 2
    assert "model.depth" in done.stderr


@pytest.mark.slow
def test_torch_comparison_says_what_it_needs() -> None:
    done = run(BENCHMARKS / "torch_peer.py", "--help")
    assert done.returncode == 0
    assert "--shape" in done.stdout
    code = (
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); "
        "sys.modules['torch'] = None; import torch_peer; "
        "sys.exit(torch_peer.main(['--shape=tiny']))"
    )
    done = run("-c", code)
    assert done.returncode == 2
    assert "pip install torch" in done.stderr


@pytest.mark.slow
def test_editing_benchmark_runs(tmp_path: pathlib.Path) -> None:
    code, text = tiny.run(*tiny.flags(), f"--workdir={tmp_path}/run")
    assert code == 0, text
    done = run(
        BENCHMARKS / "editing.py",
        f"--workdir={tmp_path}/run",
        "--number=12",
        f"--picture={tmp_path}/picture.png",
        f"--json={tmp_path}/report.json",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["originals"] > 0.8 and (tmp_path / "picture.png").exists()
    assert all(0 <= v <= 1 for k, v in found.items() if not k.startswith("change"))
    assert found["change_strength_0.2"] <= found["change_strength_1.0"]
