"""diffusers' VQ-Diffusion folder: what its classes compute, a picture, refusals."""

import gzip
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cdcd_jax.config import merge
from cdcd_jax.convert.__main__ import main
from cdcd_jax.data import bpe
from cdcd_jax.data.synthetic import synthetic_batches
from cdcd_jax.runtime.checkpoint import load_parts
from cdcd_jax.tasks import make_task
from cdcd_jax.training import loop

VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "vq_folder.npz"


def make_folder(root: pathlib.Path) -> dict[str, np.ndarray]:
    """Writes the recorded folder; returns the recorded inputs and outputs."""
    golden = dict(np.load(GOLDEN))
    files: dict[str, dict[str, np.ndarray]] = {}
    for key in [key for key in golden if key.startswith("folder/")]:
        value, parts = golden.pop(key), key.split("/")[1:]
        path = root.joinpath(*parts[:2])
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            path.write_text(str(value))
        else:
            files.setdefault(str(path), {})[parts[2]] = value
    for path, tensors in files.items():
        save_file(tensors, path)
    return golden


def convert(tmp_path: pathlib.Path, *more: str) -> int:
    put = [f"--input={tmp_path / 'folder'}", f"--output={tmp_path / 'out'}"]
    return main([*put, *(more or ["--family=diffusers_vqdiffusion"])])


def restored(workdir: pathlib.Path) -> tuple:
    task = make_task(json.loads((workdir / "config.json").read_text()))
    wanted = jax.eval_shape(task.init, jax.random.key(0))
    return task, *load_parts(workdir, *wanted)[1:]


def test_log_probabilities_and_pictures_of_diffusers(tmp_path: pathlib.Path) -> None:
    golden = make_folder(tmp_path / "folder")
    assert convert(tmp_path) == 0
    task, params, _ = restored(tmp_path / "out")
    times = np.full(2, golden["t"], np.int32)
    tokens, words = (golden[n].astype(np.int32) for n in ("tokens", "words"))
    logits = jax.jit(task.network.apply)(
        {"params": params}, tokens, times, {"text": words}, np.array([False, True])
    )
    # the reference adds 1e-30 and bounds at -70, which changes nothing here
    found = np.moveaxis(np.asarray(jax.nn.log_softmax(logits)), -1, 1)
    expected = golden["logp"][:, : found.shape[1]]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)

    codec, params, extra = restored(tmp_path / "out" / "tokenizer")
    codes = golden["picked"].astype(np.int32)
    image = jax.jit(codec.decode_codes)(params, extra, codes)
    assert np.abs(np.asarray(image) - golden["image"]).max() < 1


@pytest.mark.slow
def test_going_on_with_contrast(tmp_path: pathlib.Path) -> None:
    make_folder(tmp_path / "folder")
    assert convert(tmp_path) == 0
    changed = dict(
        init_from=str(tmp_path / "out"),
        data=dict(synthetic=True, batch_size=4),
        contrastive=dict(num_negatives=2, weight=0.1, group=4),
        optim=dict(num_steps=2, warmup_steps=0),
        report=dict(log_every=1),
    )
    config = merge(json.loads((tmp_path / "out" / "config.json").read_text()), changed)
    describe = make_task(config).describe()
    batches = lambda step, rows: synthetic_batches(describe, rows, 0, step)
    loop.train(config, tmp_path / "run", batches, lambda *args: {})
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    row = json.loads(lines[-1])
    total = row["bound"] + row["auxiliary"] + 0.1 * row["contrastive"]
    assert row["loss"] == pytest.approx(total, rel=1e-5) and row["contrastive"] > 0


@pytest.mark.slow
def test_a_picture_by_prompt(tmp_path: pathlib.Path) -> None:
    """From the folder alone, its family found out, with CLIP's whole vocabulary."""
    make_folder(tmp_path / "folder")
    index = {"_class_name": "VQDiffusionPipeline"}
    (tmp_path / "folder" / "model_index.json").write_text(json.dumps(index))
    path = tmp_path / "folder" / "text_encoder" / "model.safetensors"
    state = load_file(path)
    name = next(n for n in state if n.endswith("token_embedding.weight"))
    rows = np.random.default_rng(0).normal(size=(49408, 64)).astype(np.float32)
    save_file({**state, name: rows}, path)
    assert convert(tmp_path, "--remap_codes=0") == 0
    flags = ["--mode=generate", f"--workdir={tmp_path / 'out'}"]
    flags += ["--condition.text=two frogs"]
    command = [sys.executable, "-m", "cdcd_jax.main", *flags]
    subprocess.run(command, check=True, timeout=300)
    assert list((tmp_path / "out").rglob("*.png"))


@pytest.mark.parametrize(
    "part, name, value",
    [
        ("scheduler/scheduler_config.json", "alpha_cum_end", 0.1),
        ("scheduler/scheduler_config.json", "num_train_timesteps", 7),
        ("transformer/config.json", "activation_fn", "geglu"),
        ("tokenizer/tokenizer_config.json", "pad_token", "<|endoftext|>"),
        ("text_encoder/config.json", "hidden_act", "gelu"),
        ("vqvae/config.json", "norm_type", "spatial"),
    ],
)
def test_other_settings_are_refused(
    tmp_path: pathlib.Path, capsys, part: str, name: str, value: object
) -> None:
    make_folder(tmp_path / "folder")
    path = tmp_path / "folder" / part
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    assert convert(tmp_path) == 1
    assert f"Found {name} = {value!r}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "part",
    [
        *("vqvae", "transformer", "scheduler", "text_encoder", "tokenizer"),
        "learned_classifier_free_sampling_embeddings",
    ],
)
def test_a_missing_part_is_named(tmp_path: pathlib.Path, capsys, part: str) -> None:
    make_folder(tmp_path / "folder")
    (tmp_path / "folder" / part).rename(tmp_path / "away")
    assert convert(tmp_path) == 1
    assert f"folder/{part}" in capsys.readouterr().err


LEARNED = pathlib.Path("folder", "learned_classifier_free_sampling_embeddings")


def test_a_learned_null_without_its_weights(tmp_path: pathlib.Path, capsys) -> None:
    make_folder(tmp_path / "folder")
    (tmp_path / LEARNED / "diffusion_pytorch_model.safetensors").unlink()
    assert convert(tmp_path) == 1
    error = capsys.readouterr().err
    assert str(LEARNED) in error and "diffusion_pytorch_model.safetensors" in error


def tokenizer_files() -> tuple[dict[str, int], list[str]]:
    """Tokens and merges as openai/clip-vit-* have them, by transformers' own steps."""
    with gzip.open(pathlib.Path(bpe.__file__).with_name(VOCABULARY)) as file:
        lines = file.read().decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    codes = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(n) for n in codes]
    letters += [chr(256 + i) for i in range(256 - len(codes))]
    pieces = letters + [letter + "</w>" for letter in letters]
    pieces += ["".join(line.split()) for line in lines]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    return {piece: i for i, piece in enumerate(pieces)}, lines


@pytest.mark.parametrize(
    "change, error",
    [
        (None, ""),
        ("swap", "vocab.json; expected CLIP's tokens"),
        ("more", "the token 49408 for 'dancemusic', not None"),
        ("merges", "the pair 7"),
        ("fewer", "the pair 48893, None, not"),
        ("fast", "tokenizer.json; expected CLIP's tokens"),
        ("odd", "something else"),
    ],
)
def test_the_tokenizer_of_the_folder_is_ours(
    tmp_path: pathlib.Path, capsys, change: str | None, error: str
) -> None:
    """Else prompts would have other tokens than those that the model learned."""
    make_folder(tmp_path / "folder")
    (tmp_path / "folder" / "transformer").rename(tmp_path / "away")
    tokens, pairs = tokenizer_files()
    folder = tmp_path / "folder" / "tokenizer"
    model = dict(vocab=dict(tokens), merges=[pair.split() for pair in pairs])
    if change == "swap":
        tokens["a</w>"], tokens["b</w>"] = tokens["b</w>"], tokens["a</w>"]
    if change == "more":
        tokens["dancemusic"] = 49408
    if change == "merges":
        pairs[7:9] = pairs[8:6:-1]
    if change == "fewer":
        del pairs[-1]
    if change == "fast":
        model["merges"].reverse()
    if change == "odd":
        model["vocab"] = 3
    (folder / "vocab.json").write_text(json.dumps(tokens))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs, ""]))
    (folder / "tokenizer.json").write_text(json.dumps(dict(model=model)))
    assert convert(tmp_path) == 1
    # with CLIP's own the next thing is refused: the part that was taken away
    assert (error or "folder/transformer") in capsys.readouterr().err


@pytest.mark.slow
def test_a_null_that_is_not_learned_is_the_empty_text(tmp_path: pathlib.Path) -> None:
    """As diffusers has it where `learnable` is false; it was never trained."""
    make_folder(tmp_path / "folder")
    (tmp_path / LEARNED / "config.json").write_text('{"learnable": false}')
    path = tmp_path / "folder" / "text_encoder" / "model.safetensors"
    state = load_file(path)
    name = next(n for n in state if n.endswith("token_embedding.weight"))
    rows = np.random.default_rng(0).normal(size=(49408, 64)).astype(np.float32)
    save_file({**state, name: rows}, path)
    assert convert(tmp_path) == 0
    _, params, _ = restored(tmp_path / "out")
    assert not json.loads((tmp_path / "out/config.json").read_text())["model"][
        "null_trained"
    ]
    null = params["text"]["null"]
    assert np.isfinite(null).all() and np.asarray(null).std() > 0.01
