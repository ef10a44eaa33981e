"""Digits and labels in one z from the command line, reduced, from records to draws."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

import cdcd_jax

pytestmark = pytest.mark.slow
SETTINGS = {
    "data.batch_size": 8,
    "model.width": 16,
    "model.depth": 1,
    "model.heads": 2,
    "diffusion.timesteps": 10,
    "optim.num_steps": 3,
    "sampling.steps": 2,
    "sampling.batch_size": 20,
    "sampling.num_samples": 2,
    "eval.num_samples": 20,
    "eval.bound_samples": 1,
    "report.log_every": 1,
}


def run(*argv: Any) -> str:
    code, text = tiny.run(*argv)
    assert code == 0, text
    return text


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After records, training and evaluation."""
    folder = tmp_path_factory.mktemp("joint")
    flags = [f"--config.{key}={value}" for key, value in SETTINGS.items()]
    config = "--config=configs/mt_diffusion/digits_joint.py"
    run(config, f"--workdir={folder}", *flags)
    return folder


def drawn(workdir: Path, *flags: str) -> dict[str, np.ndarray]:
    run(f"--workdir={workdir}", "--mode=generate", *flags)
    with np.load(workdir / "samples" / "user" / "samples.npz") as arrays:
        return dict(arrays)


def test_figures(workdir: Path) -> None:
    found = json.loads((workdir / "evaluation.json").read_text())
    parts = ("denoising", "reconstruction", "others", "prior")
    total = sum(found[f"bits_per_token_{part}"] for part in parts)
    assert found["bits_per_token"] == pytest.approx(total, rel=1e-4)
    assert sorted(tiny.rows(workdir)) == [1, 2, 3]
    assert {"values", "of_image", "of_label", "prior_kl"} <= set(tiny.rows(workdir)[3])


def test_either_is_drawn_of_the_other(workdir: Path) -> None:
    found = drawn(workdir, "--condition.label=3")
    assert found["label"].tolist() == [3, 3] and found["images"].shape == (2, 8, 8, 1)
    given = cdcd_jax.open(workdir).sample(image=found["images"][:1], number=2)
    assert given.outputs["label"].shape == (2,)
    np.testing.assert_array_equal(given.images, found["images"][[0, 0]])
    both = drawn(workdir)
    assert len(both["label"]) == len(both["images"]) > 0


def test_the_handle_and_inspect_tell_of_it(workdir: Path, capsys: Any) -> None:
    told = repr(cdcd_jax.open(workdir))
    assert "image" in told and "label" in told
    records = f"--config.data.path={workdir / 'records'}"
    run("--mode=inspect", records, f"--workdir={workdir / 'inspected'}")
    assert "label; int32 []; 10 classes" in capsys.readouterr().out


def test_records_that_lack_a_modality(workdir: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from configs.mt_diffusion.digits_joint import get_config as whole\n"
        "def get_config(_):\n"
        "    config = whole('').to_dict()\n"
        "    style = dict(kind='label', num_classes=2)\n"
        "    config['model']['modalities']['style'] = style\n"
        f"    config['data']['path'] = {str(workdir / 'records')!r}\n"
        "    config['stages'] = {}\n"
        "    from ml_collections import ConfigDict\n"
        "    return ConfigDict(config)\n"
    )
    code, text = tiny.run(f"--config={file}", f"--workdir={tmp_path / 'run'}")
    assert code == 1 and "Found 'style' as None in the records" in text
