"""The benchmark of frozen towers runs and tells what is not computed."""

import pytest
from test_benchmarks import BENCHMARKS, figures, run

BENCHMARK = "frozen.py"
SMALL = (
    "--config.model.width=16",
    "--config.model.depth=1",
    "--config.model.heads=2",
    "--config.model.conditions.text.heads=2",
    "--config.data.batch_size=4",
    "--config.contrastive.num_negatives=0",
    "--config.contrastive.weight=0.0",
)


@pytest.mark.slow
def test_frozen_benchmark_runs(tmp_path):
    printed, found = figures(BENCHMARK, tmp_path, *SMALL)
    trained, unsplit, frozen = found["rows"]
    assert "parameters frozen" in printed
    assert trained["parameters_frozen"] == 0 < frozen["parameters_frozen"]
    assert frozen["mflop"] < trained["mflop"]
    assert frozen["mflop_compiled"] <= unsplit["mflop_compiled"]
    assert unsplit["of_unsplit"] == 1


def test_a_config_without_a_tower_is_refused():
    done = run(BENCHMARKS / BENCHMARK, "--config=configs/imagenet.py:synthetic")
    assert done.returncode == 2 and "no condition with a tower" in done.stderr
