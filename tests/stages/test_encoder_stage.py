"""From plain records over an encoder to records with vectors, as stages of a run."""

import json
import shutil

import numpy as np
import pytest
import tiny

import cdcd_jax
from cdcd_jax.config import experiment, merge
from cdcd_jax.data.card import read_card
from cdcd_jax.errors import UsageError
from cdcd_jax.models.encoders import encoder_of
from cdcd_jax.runtime.checkpoint import Checkpoints

TOWER = dict(kind="pixels", grid=(8, 8), num_codes=17, width=8, depth=1)


def settings(**encoder):
    """Stages whose order only their @ paths say; the last one has vectors."""
    records = dict(mode="pretokenize", data=dict(raw="digits"))
    trained = experiment(
        task="bridge",
        data=dict(path="@z_plain", batch_size=16),
        model=dict(towers=dict(image=TOWER), features=5),
        optim=dict(num_steps=4, warmup_steps=1),
        eval=dict(probe="label"),
        report=dict(log_every=1, checkpoint_every=2),
    )
    return experiment(
        stages=dict(
            z_plain=records,
            encoder=dict(mode="train", **merge(trained, encoder)),
            a_records={**records, "represent": dict(vector=dict(path="@encoder"))},
        ),
        data=dict(path="@a_records"),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A work directory after all stages; read only."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    assert cdcd_jax.train(settings(), workdir, stage="a_records") is None
    return workdir


def test_records_have_vectors_of_the_encoder_that_was_trained_before(made):
    card = read_card(made / "a_records")
    assert card.conditions["vector"]["shape"] == [5]
    assert encoder_of(card, "vector").tokenizer == card.tokenizer["fingerprint"]
    assert list(tiny.rows(made / "encoder")) == [1, 2, 3, 4]


def test_the_encoder_is_judged_and_can_be_opened_by_itself(made):
    known = json.loads((made / "encoder" / "evaluation.json").read_text())
    names = ("noise_retrieval", "probe_accuracy", "view_retrieval")
    assert all(known[f"{name}/n"] == 360 and 0 < known[name] <= 1 for name in names)
    model = cdcd_jax.open(made / "encoder")
    assert model.step == 4 and model.evaluate() == known
    fewer = model.evaluate(num_samples=100, probe="", noise=0.0)
    assert fewer == {"step": 4, "view_retrieval": fewer["view_retrieval"]} | {
        "view_retrieval/n": 100
    }
    assert fewer["view_retrieval"] != known["view_retrieval"]


def test_it_draws_nothing_and_says_so(made, tmp_path):
    model = cdcd_jax.open(made / "encoder")
    for ask in (
        model.sample,
        lambda: model.sample(number=3, label=2, directory=tmp_path / "x"),
        lambda: model.edit("three.png", mask="left"),
    ):
        with pytest.raises(UsageError, match=r"which draws nothing: .*open_encoder"):
            ask()
    with pytest.raises(UsageError, match="which alone has a bound"):
        model.bound()
    assert not (tmp_path / "x").exists()
    more = ["--condition.label=3", "--edit.input=x.png"]
    for flags in ([], more):
        where = f"--workdir={made / 'encoder'}"
        code, text = tiny.run(where, "--mode=generate", *flags)
        assert code == 2 and "which draws nothing" in text


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(made, tmp_path):
    moved = shutil.copytree(made, tmp_path / "moved")
    (last,) = (moved / "encoder" / "checkpoints").glob("4*")
    shutil.rmtree(last) if last.is_dir() else last.unlink()
    before = tiny.rows(moved / "encoder")
    cdcd_jax.train(settings(), moved, stage="encoder")
    assert tiny.rows(moved / "encoder") == before

    def weights(workdir):
        with Checkpoints(workdir / "encoder" / "checkpoints") as checkpoints:
            assert checkpoints.latest_step() == 4
        return encoder_of(read_card(workdir / "a_records"), "vector")

    one, other = weights(made), weights(moved)
    assert one.fingerprint == other.fingerprint
    tokens = np.random.default_rng(0).integers(0, 17, (3, 64))
    np.testing.assert_array_equal(one.encode(tokens), other.encode(tokens))


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (dict(report=dict(sample_every=2)), "report.sample_every = 2 .* no samples"),
        (dict(eval=dict(split="other")), "the split 'other'"),
    ],
)
def test_what_cannot_be_is_told_before_training(made, tmp_path, encoder, message):
    moved = shutil.copytree(made, tmp_path / "moved")
    shutil.rmtree(moved / "encoder")
    with pytest.raises(UsageError, match=message):
        cdcd_jax.train(settings(**encoder), moved, stage="encoder")
    assert not (moved / "encoder" / "checkpoints").exists()
