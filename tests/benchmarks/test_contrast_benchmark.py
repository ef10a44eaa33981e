"""benchmarks/contrast.py: its table, its links to stages, what it refuses."""

import json
import pathlib
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import contrast  # noqa: E402
import variants  # noqa: E402


def test_table() -> None:
    results = {
        "vanilla": [
            {"step": 9, "accuracy": 0.5, "accuracy/n": 10, "bits": 4.0},
            {"step": 9, "accuracy": 0.7, "accuracy/n": 10, "bits": 4.0},
        ],
        "contrast": [
            {"step": 9, "accuracy": 0.7, "accuracy/n": 10, "bits": 3.5},
            {"step": 9, "accuracy": 0.7, "accuracy/n": 10, "bits": 3.5},
        ],
    }
    # deviations: 0.2 / sqrt(2); of the differences 0.2 and 0 the same, and over
    # sqrt(2) the error of their mean
    assert contrast.table(results).splitlines() == [
        "| figure | vanilla | contrast | contrast - vanilla |",
        "| --- | --- | --- | --- |",
        "| accuracy | 0.6000 ± 0.1414 | 0.7000 ± 0.0000 | +0.1000 ± 0.1000 |",
        "| bits | 4.0000 ± 0.0000 | 3.5000 ± 0.0000 | -0.5000 ± 0.0000 |",
    ]


def test_table_of_one_seed_has_no_spread() -> None:
    results = {"a": [{"bits": 1.0}], "b": [{"bits": 2.0}], "c": [{"bits": 0.5}]}
    assert contrast.table(results).splitlines()[-1] == (
        "| bits | 1.0000 ± nan | 2.0000 ± nan | 0.5000 ± nan "
        "| +1.0000 ± nan | -0.5000 ± nan |"
    )


def test_stages_of_another_work_directory(tmp_path: pathlib.Path) -> None:
    shared, workdir = tmp_path / "shared", tmp_path / "runs" / "vanilla-0"
    (shared / "records").mkdir(parents=True)
    (shared / "records" / "dataset.json").write_text("{}")
    for _ in range(2):  # a second time finds them
        variants.link_stages(workdir, shared, ["records"])
        assert (workdir / "records").is_symlink()
        assert (workdir / "records" / "dataset.json").read_text() == "{}"
    with pytest.raises(SystemExit, match=r"no .*tokenizer; expected.*--shared"):
        variants.link_stages(workdir, shared, ["records", "tokenizer"])


def test_an_unknown_variant(tmp_path: pathlib.Path) -> None:
    flags = ["--config=configs/digits.py", f"--out={tmp_path}"]
    with pytest.raises(SystemExit, match=r"unknown variant vanila.*'contrast'"):
        contrast.main([*flags, "--variants=contrast,vanila"])
    with pytest.raises(SystemExit, match="found no"):  # stages that nobody made
        contrast.main([*flags, "--seeds=1"])


def test_finished_runs_are_not_made_again(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "shared" / "records").mkdir(parents=True)
    for seed in range(2):
        for i, name in enumerate(("vanilla", "contrast")):
            workdir = tmp_path / "out" / f"{name}-{seed}"
            workdir.mkdir(parents=True)
            found = {"step": 3, "bits": 2.0 - i + seed}
            (workdir / "evaluation.json").write_text(json.dumps(found))
    contrast.main(
        [
            "--config=configs/digits.py",
            f"--out={tmp_path / 'out'}",
            f"--shared={tmp_path / 'shared'}",
            "--seeds=2",
        ]
    )
    row = "| bits | 2.5000 ± 0.7071 | 1.5000 ± 0.7071 | -1.0000 ± 0.0000 |"
    assert row in capsys.readouterr().out
    written = json.loads((tmp_path / "out" / "contrast.json").read_text())
    assert [run["bits"] for run in written["contrast"]] == [1.0, 2.0]
