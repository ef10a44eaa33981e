"""A run goes on with the records that it began with, and with no others."""

import dataclasses
import json
import shutil

import jax.numpy as jnp
import pytest
import tiny

import cdcd_jax
from cdcd_jax.config import experiment
from cdcd_jax.data import vocabulary
from cdcd_jax.data.card import read_card, write_card
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.models.model import Trained
from cdcd_jax.models.run_records import KEPT, check_records, keep_records
from cdcd_jax.runtime.checkpoint import Checkpoints


def renamed(card, names):
    label = {**card.conditions["label"], "names": names}
    return dataclasses.replace(card, conditions={**card.conditions, "label": label})


NAMES = [f"class {i}" for i in range(10)]


@pytest.fixture
def card(make_dataset):
    return renamed(make_dataset(12), NAMES)


@pytest.fixture
def begun(card, tmp_path):
    """A work directory with a checkpoint that keeps the identity of the records."""
    workdir = tmp_path / "run"
    keep_records(card, workdir, None)
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        checkpoints.save(3, {"step": jnp.int32(3)})
    return workdir


def test_the_same_records_go_on_wherever_they_lie(card, begun, tmp_path):
    before = (begun / KEPT).read_bytes()
    moved = dataclasses.replace(card, directory=tmp_path / "elsewhere")
    kept = check_records(moved, begun)
    keep_records(moved, begun, kept)
    assert kept and (begun / KEPT).read_bytes() == before


def test_other_classes_are_refused_with_a_way_out(card, begun):
    before = (begun / KEPT).read_bytes()
    with pytest.raises(InputError) as refused:
        check_records(renamed(card, NAMES[::-1]), begun)
    told = str(refused.value)
    assert "0 was 'class 0' and is 'class 9'" in told and "3 steps" in told
    assert f"--config.init_from={begun}" in told and "delete" not in told
    assert (begun / KEPT).read_bytes() == before


def test_other_examples_are_refused_and_may_be_meant(make_dataset, card, begun):
    more = renamed(make_dataset(13), NAMES)
    with pytest.raises(InputError, match=r"12 records there, 13 now.*delete .*json"):
        check_records(more, begun)
    (begun / KEPT).unlink()
    keep_records(more, begun, check_records(more, begun))
    assert check_records(more, begun)
    with pytest.raises(InputError, match="13 records there, 12 now"):
        check_records(card, begun)


def test_nothing_was_learned_yet(card, tmp_path):
    keep_records(card, tmp_path / "run", None)
    other = renamed(card, NAMES[::-1])
    keep_records(other, tmp_path / "run", check_records(other, tmp_path / "run"))
    kept = json.loads((tmp_path / "run" / KEPT).read_text())
    assert kept["conditions"]["label"]["names"] == NAMES[::-1]


def test_a_run_of_an_earlier_version_has_its_vocabulary(card, begun):
    (begun / KEPT).unlink()
    words = [vocabulary.train([text], 64) for text in ("a cat", "my dog")]
    words[0].save(begun / vocabulary.FILE_NAME)
    for own, word in zip((True, False), words, strict=True):
        spec = dict(kind="tokens", shape=[], dtype="int32", sha256=word.sha256)
        spec |= dict(file=vocabulary.FILE_NAME)
        of_texts = dataclasses.replace(card, conditions={"text": spec})
        if own:
            assert check_records(of_texts, begun) is None
            continue
        with pytest.raises(InputError, match="the vocabulary of text"):
            check_records(of_texts, begun)


def test_a_part_that_read_texts_in_another_run_needs_their_words(
    make_dataset, tmp_path
):
    words = [vocabulary.train([text], 64) for text in ("a cat", "my dog")]
    told = dict(kind="text", shape=[4], dtype="int32", vocabulary="trained")
    told |= dict(num_tokens=64, file=vocabulary.FILE_NAME, sha256=words[0].sha256)
    make_dataset(6, conditions=dict(text=told))
    text = dict(kind="text", field="text", shape=(4,), vocabulary=64, frozen=True)
    codes = dict(kind="codes", grid=(2, 2), num_codes=300)
    config = experiment(
        task="bridge",
        data=dict(path=str(tmp_path)),
        model=dict(towers=dict(text=text, codes=codes)),
        init_parts={"towers/text": str(tmp_path / "first")},
    )
    (tmp_path / "first").mkdir()
    words[0].save(tmp_path / "first" / vocabulary.FILE_NAME)
    assert Trained(config, tmp_path / "run").open_records().num_codes == 300
    words[1].save(tmp_path / "first" / vocabulary.FILE_NAME)
    with pytest.raises(InputError, match=r"numbers of a vocabulary .* has learned"):
        Trained(config, tmp_path / "run").open_records()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digest": "0"}'])
def test_a_damaged_digest_is_no_other_one(card, begun, text):
    (begun / KEPT).write_text(text)
    with pytest.raises(InputError, match=r"bad .*records\.json"):
        check_records(card, begun)


# -- in a whole run --------------------------------------------------------------------


def swap(workdir, names):
    write_card(renamed(read_card(workdir / "records"), names))


def test_a_trained_run_and_other_records(copied, capsys):
    """Training, evaluation and generation: refused, refused, and by its own names."""
    flags = (*tiny.flags(config__optim__num_steps=8), f"--workdir={copied}")
    swap(copied, NAMES[::-1])
    before = (copied / "metrics.jsonl").read_bytes()
    code, text = tiny.run(*flags)
    assert code == 1 and "has learned from in 6 steps" in text
    assert (copied / "metrics.jsonl").read_bytes() == before
    model = cdcd_jax.open(copied)
    with pytest.raises(InputError, match="mean something else"):
        model.evaluate()
    with pytest.raises(InputError, match="mean something else"):
        model.bound("test")
    kept = json.loads((copied / KEPT).read_text())
    kept["conditions"]["label"]["names"] = NAMES
    (copied / KEPT).write_text(json.dumps(kept))
    model = cdcd_jax.open(copied)
    assert model.conditions["label"]["names"] == tuple(NAMES)
    assert model.sample(label="class 3", number=1, steps=1).titles == ["class 3"]


def test_a_finished_run_whose_records_moved(copied, tmp_path):
    moved = str(shutil.move(copied / "records", tmp_path / "elsewhere"))
    path = f"--config.data.path={moved}"
    code, text = tiny.run(
        *tiny.flags(), f"--workdir={copied}", path, "--config.eval.at_end=False"
    )
    assert code == 0, text
    assert json.loads((copied / "config.json").read_text())["data"]["path"] == moved
    # of an earlier version nothing says that they are the same
    (copied / KEPT).unlink()
    with pytest.raises(UsageError, match=r"data\.path"):
        cdcd_jax.train(
            json.loads((copied / "config.json").read_text()),
            copied,
            data=dict(path=str(shutil.copytree(moved, tmp_path / "third"))),
        )
