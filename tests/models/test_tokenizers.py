"""Trained tokenizers in use: figures, flags, parts for other runs, records."""

import dataclasses
import json

import numpy as np
import pytest
import tiny
from made_tokenizers import records_config, settings

from cdcd_jax.data.card import read_card, write_card
from cdcd_jax.data.records import RecordSource
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.evaluation.evaluate import open_data
from cdcd_jax.models.model import Trained
from cdcd_jax.runtime.checkpoint import Checkpoints
from cdcd_jax.stages.pretokenize import pretokenize
from cdcd_jax.training import program
from cdcd_jax.training.start import load_params, starting_state


def test_training_leaves_reconstructions_and_figures(tokenizer_dir):
    figures = json.loads((tokenizer_dir / "evaluation.json").read_text())
    assert figures["psnr/n"] == 40 and figures["psnr"] > 5
    folder = tokenizer_dir / "samples" / "reconstructions"
    assert len(list(folder.glob("sample_*.png"))) == 8
    drawn = np.load(folder / "samples.npz")
    assert drawn["condition/image"].shape == drawn["images"].shape == (8, 8, 8, 1)


def test_parts_come_from_elsewhere(tokenizer_dir, tmp_path):
    config = settings(init_parts=dict(autoencoder=str(tokenizer_dir)))
    task, optimizer = program.build(config)
    abstract = program.abstract_state(task, optimizer)
    _, params, _ = load_params(tokenizer_dir, abstract)
    with Checkpoints(tmp_path) as empty:
        mesh = program.place(config, task)
        state = starting_state(config, task, optimizer, empty, mesh)
        assert (
            tiny.max_difference(state.params["autoencoder"], params["autoencoder"]) == 0
        )
        config = settings(init_parts=dict(encoder=str(tokenizer_dir)))
        with pytest.raises(UsageError, match="autoencoder"):
            starting_state(config, task, optimizer, empty, mesh)


def test_codebooks_go_with_the_parameters(tokenizer_dir, tmp_path):
    config = {**settings(), "init_from": str(tokenizer_dir)}
    task, optimizer = program.build(config)
    _, _, extra = load_params(tokenizer_dir, program.abstract_state(task, optimizer))
    with Checkpoints(tmp_path) as empty:
        state = starting_state(
            config, task, optimizer, empty, program.place(config, task)
        )
    assert tiny.max_difference(state.extra["codebooks"], extra["codebooks"]) == 0


@pytest.mark.parametrize(
    "changes", [dict(quantizer=dict(remap=8)), dict(losses=dict(perceptual=1.0))]
)
def test_what_training_does_not_make_must_be_given(changes, tmp_path):
    config = settings(model=dict(resolution=16), **changes)
    task, optimizer = program.build(config)
    with Checkpoints(tmp_path) as empty:
        mesh = program.place(config, task)
        with pytest.raises(UsageError, match="init_from"):
            starting_state(config, task, optimizer, empty, mesh)


def test_figures_of_other_data_are_made_anew(tokenizer_dir, capsys):
    file = tokenizer_dir.parent / "digits.py"
    again = (f"--config={file}", f"--workdir={tokenizer_dir}", "--mode=evaluate")
    assert tiny.run(*again)[0] == 0 and "evaluated before" in capsys.readouterr().out
    before = (tokenizer_dir / "evaluation_config.json").read_text()
    assert tiny.run(*again, "--config.eval.num_samples=16")[0] == 0
    assert "evaluated before" not in capsys.readouterr().out
    (tokenizer_dir / "evaluation_config.json").write_text(before[:20])  # torn
    assert tiny.run(*again)[0] == 0
    assert "evaluated before" not in capsys.readouterr().out


def test_flags_that_a_tokenizer_does_not_take(tokenizer_dir):
    file = tokenizer_dir.parent / "digits.py"
    generate = (f"--config={file}", f"--workdir={tokenizer_dir}", "--mode=generate")
    for flag, message in (
        ("--condition.label=3", "takes none"),
        ("--name=../../up", "no path"),
        ("--views=2", "pretokenize"),
        ("--config.model.channel_mult=()", "channel_mult is empty"),
        ("--config.quantizer.num_codes=0", "num_codes = 0"),
        ("--config.model.dtype=float33", "float33"),
    ):
        code, text = tiny.run(*generate, flag)
        assert code == 2 and message in text, text
    assert tiny.run(*generate, "--name=mine")[0] == 0
    assert (tokenizer_dir / "samples" / "mine" / "contact_sheet.png").exists()


def test_records_of_another_tokenizer_are_refused(tokenizer_dir, tmp_path):
    card = read_card(pretokenize(records_config(tokenizer_dir), tmp_path / "records"))
    config = tiny.settings(
        data=dict(path=str(tmp_path / "records")),
        model=dict(num_codes=16, grid=(4, 4)),
        tokenizer=dict(kind="checkpoint", path=str(tokenizer_dir)),
    )
    assert open_data(Trained(config, tmp_path)) == card
    foreign = dataclasses.replace(card, tokenizer={"fingerprint": "0"})
    write_card(foreign)
    with pytest.raises(InputError, match="of the tokenizer"):
        open_data(Trained(config, tmp_path))


def test_views_are_augmented_and_seeded(tmp_path):
    config = dict(
        seed=3,
        data=dict(
            raw="captioned_digits",
            views=3,
            options=dict(train_examples=20, test_examples=10),
        ),
        grid=(16, 16),
        text=dict(length=24),
    )
    cards = [read_card(pretokenize(config, tmp_path / name)) for name in "ab"]
    assert [c.splits["train"].num_records for c in cards] == [60, 60]
    assert cards[0].splits["test"].num_records == 10
    source = RecordSource(cards[0], "train")
    keys = [source.key(i) for i in range(6)]
    assert keys[1] == keys[0] + "#1" and keys[2] == keys[0] + "#2"
    shards = [sorted((tmp_path / n).glob("*.arrayrecord")) for n in "ab"]
    for a, b in zip(*shards, strict=True):
        assert a.read_bytes() == b.read_bytes()
    rows = np.stack([source[i]["tokens"] for i in range(3)])
    assert len(np.unique(rows, axis=0)) > 1
