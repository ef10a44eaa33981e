"""benchmarks/multi_task.py: what is compared with what, and a run that goes on."""

import json
import sys

import numpy as np
import pytest
from test_benchmarks import BENCHMARKS

from cdcd_jax.errors import UsageError

sys.path.insert(0, str(BENCHMARKS))

import multi_task

SMALL = (
    "--config.model.width=12",
    "--config.model.depth=1",
    "--config.data.batch_size=8",
    "--config.sampling.steps=2",
    "--samples=360",
    "--points=1,2",
    "--seeds=3",
)


def made(**of_runs: tuple[float, list[float]]) -> dict:
    """Runs of one seed with the figure `distance`: name -> FLOPs and curve."""
    return {
        (name, 0): dict(figures=dict(distance=curve), gflop_of_a_step=cost)
        for name, (cost, curve) in of_runs.items()
    }


def test_several_is_read_where_it_has_spent_as_much() -> None:
    runs = made(
        several=(2.0, [8.0, 4.0, 2.0]),
        unconditional=(1.0, [9.0, 7.0, 1.0]),
        conditional=(1.5, []),
        classifier=(0.5, []),
    )
    found = multi_task.compare(runs, [100, 200, 400], "distance", "unconditional")
    np.testing.assert_array_equal(found["at equal steps"], [[1.0, 3.0, -1.0]])
    # half the steps: before its first point, at it, and at its second
    np.testing.assert_array_equal(found["at equal FLOPs"], [[np.nan, -1.0, -3.0]])
    # 1.5 times the steps: between points, and beyond the last
    np.testing.assert_array_equal(found["at the FLOPs of three"], [[3.0, 4.0, np.nan]])
    assert multi_task.count(found["at equal FLOPs"]) == "0 / 2 / 0"


def test_seeds_agree_or_it_is_open() -> None:
    said = [multi_task.verdict(np.array(d)) for d in ([0.1, 2], [-1, -3], [1, 0, 2])]
    assert said == ["better", "worse", "open"]
    assert multi_task.cell(np.array([np.nan, 1.0]), signed=True) == "–"
    assert multi_task.cell(np.array([1.0, 3.0]), signed=True) == "+2 [+1, +3] better"


def test_single_models_have_the_trunk_of_several() -> None:
    configs = {n: multi_task.config_of(n, 1, 7, []) for n in multi_task.RUNS}
    of = lambda c: {k: c["model"][k] for k in ("width", "depth", "heads", "patch")}
    for name, config in configs.items():
        assert of(config) == of(configs["several"]), name
        assert config["data"]["batch_size"] == configs["several"]["data"]["batch_size"]
        assert (config["seed"], config["optim"]["num_steps"]) == (1, 7)
    # of the plain classifier z says nothing
    assert configs["plain_classifier"]["model"]["modalities"]["label"]["weight"] < 0.01


def test_a_report_of_other_settings_is_refused(tmp_path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(dict(settings=dict(samples=10), runs=[])))
    with pytest.raises(UsageError, match="another --json"):
        multi_task.finished(path, dict(samples=20))


@pytest.mark.slow
def test_a_stopped_benchmark_goes_on(tmp_path, capsys) -> None:
    command = [f"--json={tmp_path / 'report.json'}", *SMALL]
    assert multi_task.main([*command, "--runs=unconditional,classifier"]) == 0
    before = json.loads((tmp_path / "report.json").read_text())["runs"]
    capsys.readouterr()
    assert multi_task.main([*command, "--runs=several,unconditional"]) == 0
    printed = capsys.readouterr()
    runs = json.loads((tmp_path / "report.json").read_text())["runs"]
    assert [r["run"] for r in runs] == ["unconditional", "classifier", "several"]
    assert runs[:2] == before and "unconditional-3" not in printed.err
    cost = {r["run"]: r["gflop_of_a_step"] for r in runs}
    assert 0 < cost["unconditional"] < cost["several"]
    assert {len(curve) for r in runs for curve in r["figures"].values()} == {2}
    lines = printed.out.splitlines()
    assert sum(line.startswith(("| 1 |", "| 2 |")) for line in lines) == 4
    assert multi_task.main([*command, "--runs=severl"]) == 2
