"""The small tasks from the command line, reduced: all stages, figures, generation."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny
from PIL import Image

from cdcd_jax.data.sources import open_source

pytestmark = pytest.mark.slow

FEW_STEPS = dict(num_steps=3, warmup_steps=1)
REPORT = dict(log_every=1, sample_every=0, checkpoint_every=3)
SMALL = dict(
    data=dict(batch_size=4),
    model=dict(width=16, depth=1, heads=2, mlp_ratio=1),
    diffusion=dict(timesteps=8),
    contrastive=dict(num_negatives=2),
    optim=FEW_STEPS,
    sampling=dict(steps=2, batch_size=6, num_samples=2),
    report=REPORT,
)
TOKENIZER = dict(
    data=dict(batch_size=4), optim=FEW_STEPS, report=REPORT, eval=dict(shown=2)
)
FILE = """
from ml_collections import ConfigDict
from cdcd_jax.config import merge
from configs.{name} import get_config as whole

def get_config(variant=""):
    config = whole(variant).to_dict()
    for changes in {changes!r}:
        config = merge(config, changes)
    return ConfigDict(config)
"""


def reduced(directory: Path, name: str, *changes: dict) -> str:
    """--config of a file that has the config `name` with changes laid over it."""
    path = directory / f"reduced_{Path(name).name.replace('.', '_')}.py"
    path.write_text(FILE.format(name=name, changes=changes))
    return f"--config={path}"


def run(*argv: str) -> str:
    code, text = tiny.run(*argv)
    assert code == 0, text
    return text


def figures(workdir: Path) -> dict[str, float]:
    return json.loads((workdir / "evaluation.json").read_text())


def test_captioned_digits(tmp_path: Path) -> None:
    options = dict(train_examples=40, test_examples=12)
    sizes = dict(conditions=dict(text=dict(kind="text", depth=1, heads=2)))
    config = reduced(
        tmp_path,
        "captioned_digits",
        SMALL,
        dict(
            model=sizes,
            eval=dict(num_samples=12, bound_samples=1),
            stages=dict(
                tokenizer=dict(TOKENIZER, model=dict(width=8)),
                records=dict(data=dict(options=options), negatives=dict(number=2)),
            ),
        ),
        dict(stages=dict(tokenizer=dict(data=dict(options=options)))),
    )
    workdir = tmp_path / "run"
    run(config, f"--workdir={workdir}")
    found = figures(workdir)
    assert found["caption_accuracy_real"] > 0.3  # of 40 pictures; the judge saw these
    assert found["caption_accuracy/n"] == found["caption_accuracy_guided/n"] == 12
    assert 0 < found["bits_per_token"] < 3 * np.log2(128)
    # the model's own copy serves where the records are not named
    prompt = "--condition.text=a two above an eight"
    pictures = []
    for i, given in enumerate(([], [config])):
        flags = [f"--workdir={workdir}", "--mode=generate", f"--name=mine{i}", prompt]
        if not given:
            (workdir / "records" / "text-vocabulary.json").rename(workdir / "aside")
        else:
            (workdir / "aside").rename(workdir / "records" / "text-vocabulary.json")
        text = run(*given, *flags)
        assert "2 samples" in text
        folder = workdir / "samples" / f"mine{i}"
        with np.load(folder / "samples.npz") as arrays:
            assert arrays["condition/text"].tolist() == ["a two above an eight"] * 2
            assert arrays["images"].shape == (2, 16, 16, 1)
            pictures.append(arrays["images"])
        assert (folder / "contact_sheet.png").exists()
    code, text = tiny.run(
        f"--workdir={workdir}", "--mode=generate", "--condition.text=a two above a cat"
    )
    assert code == 1 and "'cat'" in text


def test_toy_dance(tmp_path: Path) -> None:
    options = dict(train_examples=12, test_examples=12)
    config = reduced(
        tmp_path,
        "toy_dance",
        SMALL,
        dict(
            eval=dict(num_samples=12, bound_samples=1),
            stages=dict(
                tokenizer=dict(
                    TOKENIZER, model=dict(width=8, depth=1), quantizer=dict(dim=8)
                ),
                records=dict(data=dict(options=options), negatives=dict(number=2)),
            ),
        ),
        dict(stages=dict(tokenizer=dict(data=dict(options=options)))),
    )
    workdir = tmp_path / "run"
    run(config, f"--workdir={workdir}")
    found = figures(workdir)
    for name in ("beat_f1_70ms", "tempo_accuracy", "genre_accuracy"):
        for suffix in ("", "_guided", "_real"):
            assert 0 <= found[name + suffix] <= 1 and found[f"{name}{suffix}/n"] > 0
        assert name == "tempo_accuracy" or f"{name}_shuffled" in found
    # a dance of 6 s, half as long again as the model's window
    dances = open_source("toy_dance", options=dict(seconds=6.0)).split("test")
    motion = dances.example(2)["condition"]["motion"]
    assert motion.shape == (360, 219)
    np.save(tmp_path / "dance.npy", motion)
    text = run(
        f"--workdir={workdir}",
        "--mode=generate",
        f"--condition.motion={tmp_path / 'dance.npy'}",
        "--condition.genre=waltz",
        "--config.sampling.num_samples=1",
        "--config.sampling.videos=0",
    )
    assert "1 samples" in text
    (file,) = (workdir / "samples" / "user").glob("*.wav")
    sound, rate = soundfile.read(file)
    assert (len(sound), rate) == (6 * 8000, 8000)


def test_cifar10(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    for split, number in (("train", 3), ("test", 1)):
        for name in names:
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for i in range(number):
                pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    where = dict(path=str(tmp_path / "pictures"))
    tokenizer = tmp_path / "tokenizer"
    sizes = dict(channels=8, num_res_blocks=0, latent_channels=8)
    config = reduced(
        tmp_path,
        "tokenizers.cifar10",
        TOKENIZER,
        dict(model=sizes, data=where, quantizer=dict(num_codes=1024, dim=8)),
    )
    run(config, f"--workdir={tokenizer}")
    made_by = dict(tokenizer=dict(kind="checkpoint", path=str(tokenizer)))
    config = reduced(
        tmp_path,
        "cifar10",
        SMALL,
        dict(
            **made_by,
            data=dict(batch_size=16),
            contrastive=dict(group=16),
            eval=dict(num_samples=10, bound_samples=1),
            stages=dict(records=dict(**made_by, data=where)),
        ),
    )
    workdir = tmp_path / "run"
    run(config, f"--workdir={workdir}")
    found = figures(workdir)
    for name in ("class_accuracy", "frechet_distance", "class_accuracy_guided"):
        assert found[name] >= 0 and found[f"{name}/n"] == 10
    assert found["frechet_distance"] > found["frechet_distance_real"]
    assert found["class_accuracy_real/n"] == 10
    run(f"--workdir={workdir}", "--mode=generate", "--condition.label=frog,#3")
    with np.load(workdir / "samples" / "user" / "samples.npz") as arrays:
        assert arrays["condition/label"].tolist() == [6, 6, 3, 3]
        assert arrays["images"].shape == (4, 32, 32, 3)
