"""benchmarks/steps_to_quality.py: where a curve comes to a goal, and its intervals."""

import json
import pathlib
import sys

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import steps_to_quality as benchmark  # noqa: E402

STEPS = np.array([2, 4, 8, 16])


def test_steps_to_a_goal() -> None:
    rising = np.array([0.1, 0.3, 0.5, 0.9])
    assert benchmark.steps_to(0.3, STEPS, rising) == 4
    # halfway between 8 and 16 on a scale of logarithms
    assert benchmark.steps_to(0.7, STEPS, rising) == pytest.approx(8 * np.sqrt(2))
    assert benchmark.steps_to(0.05, STEPS, rising) == 2
    assert benchmark.steps_to(0.95, STEPS, rising) == float("inf")
    # a dip is levelled with what came before it, not read as a loss
    assert benchmark.steps_to(0.4, STEPS, np.array([0.1, 0.5, 0.3, 0.9])) == 4


def test_intervals_hold_the_middle() -> None:
    values = np.append(np.arange(1, 100), np.inf)
    assert benchmark.interval(values) == (3, 98)
    assert benchmark.interval(np.array([2.0])) == (2, 2)


def test_a_variant_that_needs_half_of_the_steps() -> None:
    """The same curve, moved by one step on the axis of logarithms."""
    curve = np.array([0.1, 0.3, 0.5, 0.9])
    noise = np.random.default_rng(0).normal(0, 0.002, (3, 5, 4))
    curves = {
        "vanilla": curve + noise[0],
        "fast": np.array([0.3, 0.5, 0.9, 0.9]) + noise[1],
        "slow": curve - 0.3 + noise[2],
    }
    found = benchmark.compare(curves, STEPS, "class_accuracy")
    assert found["vanilla"]["steps"][0] == pytest.approx(16 * 2**-0.025, rel=0.01)
    assert found["vanilla"]["saved"] == (0, 0, 0)
    value, low, high = found["fast"]["saved"]
    assert 0.45 < low <= value <= high < 0.55
    assert found["slow"]["steps"][0] == float("inf")
    assert found["slow"]["gain"][0] == pytest.approx(-0.3, abs=0.01)


def test_table_turns_distances_round() -> None:
    runs = {
        "vanilla": [{"frechet_distance@steps=2": 3.0, "frechet_distance@steps=4": 1.0}],
        "other": [{"frechet_distance@steps=2": 1.0, "frechet_distance@steps=4": 0.5}],
    }
    head, _, vanilla, other = benchmark.table(runs, [2, 4], "frechet_distance")
    assert head.startswith("| frechet_distance | 2 | 4 | steps to the goal | saved |")
    # within 5 % of 1.0, on the way from 3.0
    assert "| 3.9 [3.9, 3.9] | +0 % [+0 %, +0 %] |" in vanilla
    assert "| 2.0 [2.0, 2.0] | +49 % [+49 %, +49 %] | +0.500" in other


def test_finished_runs_are_not_trained_again(
    tmp_path: pathlib.Path, capsys, monkeypatch
) -> None:
    calls = []
    monkeypatch.setattr(benchmark, "run", lambda command, _: calls.append(command))
    (tmp_path / "shared" / "records").mkdir(parents=True)
    for variant, shift in (("vanilla", 0.0), ("infonce", 0.1)):
        for seed in range(2):
            folder = tmp_path / "out" / "absorbing_linear-4" / f"{variant}-{seed}"
            folder.mkdir(parents=True)
            found = {f"class_accuracy@steps={s}": 0.1 * s + shift for s in (2, 4)}
            (folder / "evaluation.json").write_text(json.dumps(found))
            if seed:
                (folder / "done").touch()
    benchmark.main(
        [
            "--config=configs/digits.py",
            f"--out={tmp_path / 'out'}",
            f"--shared={tmp_path / 'shared'}",
            "--variants=vanilla,infonce",
            "--seeds=2",
            "--schedules=absorbing_linear",
            "--timesteps=4",
            "--steps=8,4,2",
            "--figures=class_accuracy",
        ]
    )
    out = capsys.readouterr().out
    assert "## absorbing_linear, T = 4, 2 seeds" in out
    assert "| infonce | 0.300 ± 0.000 | 0.500 ± 0.000 |" in out
    assert (tmp_path / "out" / "absorbing_linear-4.json").exists()
    # of each variant, the seed that was not done is trained, and both are judged
    judged = [call for call in calls if "--mode=evaluate" in call]
    assert len(judged) == 4 and len(calls) == 6
    assert all("--config.sampling.guidance_scale=1.0" in call for call in judged)
    assert all("--config.eval.sweep.steps=(2, 4)" in call for call in judged)
