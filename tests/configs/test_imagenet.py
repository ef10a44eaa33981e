"""The user's own commands for ImageNet, from tfds's pictures to generated files."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny

TOKENIZER = [
    "--config=configs/tokenizers/imagenet_f16.py",
    "--config.data.options.size=32",
    "--config.data.batch_size=8",
    "--config.data.threads=2",
    "--config.model.resolution=32",
    "--config.model.channels=8",
    "--config.model.channel_mult=(1, 1, 2)",
    "--config.model.num_res_blocks=1",
    "--config.model.attention_resolutions=()",
    "--config.model.latent_channels=8",
    "--config.model.dtype=float32",
    "--config.quantizer.num_codes=32",
    "--config.quantizer.dim=8",
    "--config.optim.num_steps=3",
    "--config.optim.learning_rate=1e-3",
    "--config.optim.warmup_steps=1",
    "--config.losses.adversarial_start=2",
    "--config.eval.num_samples=8",
    "--config.eval.shown=4",
]
MODEL = [
    "--config=configs/imagenet.py",
    "--config.stages.records.data.options.size=32",
    "--config.stages.records.data.threads=2",
    "--config.stages.records.grid=(8, 8)",
    "--config.data.batch_size=8",
    "--config.data.threads=2",
    "--config.model.num_codes=32",
    "--config.model.grid=(8, 8)",
    "--config.model.width=16",
    "--config.model.depth=1",
    "--config.model.heads=2",
    "--config.model.scan_layers=False",
    "--config.model.dtype=float32",
    "--config.optim.num_steps=2",
    "--config.sampling.steps=3",
    "--config.sampling.num_samples=2",
]


def test_records_that_are_missing_are_named_with_their_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = tiny.run("--config=configs/imagenet.py")
    assert code == 1
    commands = [line.strip() for line in text.splitlines() if "python -m" in line]
    assert commands == [
        "python -m cdcd_jax.main --config=configs/tokenizers/imagenet_f16.py "
        "--workdir=runs/tokenizers/imagenet_f16",
        "python -m cdcd_jax.main --config=configs/imagenet.py --mode=pretokenize",
    ]
    assert not (tmp_path / "runs").exists()
    code, text = tiny.run("--config=configs/imagenet.py", "--mode=pretokenize")
    assert code == 1 and "Traceback" not in text


@pytest.mark.slow
def test_from_pictures_to_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow_datasets as tfds

    monkeypatch.chdir(tmp_path)
    with tfds.testing.mock_data(num_examples=24):
        for command in (
            TOKENIZER,
            [*MODEL, "--mode=pretokenize"],
            MODEL,
            [*MODEL, "--mode=generate", "--condition.label=3,999"],
            ["--mode=inspect", "--config.data.path=runs/imagenet/records"],
        ):
            code, text = tiny.run(*command)
            assert code == 0, text

    tokenizer = tmp_path / "runs" / "tokenizers" / "imagenet_f16"
    figures = json.loads((tokenizer / "evaluation.json").read_text())
    assert figures["psnr/n"] == 8 and 0 < figures["codes_used"] <= 1
    assert (tokenizer / "samples/reconstructions/contact_sheet.png").exists()
    run = tmp_path / "runs" / "imagenet"
    card = json.loads((run / "records" / "dataset.json").read_text())
    assert card["conditions"]["label"]["num_classes"] == 1000
    assert card["splits"]["train"]["num_records"] == 24
    drawn = np.load(run / "samples" / "user" / "samples.npz")
    assert drawn["images"].shape == (4, 32, 32, 3) and drawn["images"].dtype == np.uint8
    assert drawn["condition/label"].tolist() == [3, 3, 999, 999]
    page = tmp_path / "runs" / "inspect" / "imagenet" / "index.html"
    assert page.stat().st_size > 1000
