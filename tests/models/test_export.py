"""A model as it is passed on: what it holds, what it draws, what is refused."""

import json
import re
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy
import tiny
from flax.traverse_util import unflatten_dict
from made_tokenizers import open_digits

import cdcd_jax
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.runtime.exported import WEIGHTS, weights_file


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """By the command line, and moved; read only."""
    place = tmp_path_factory.mktemp("exports")
    words = f"--workdir={trained}", f"--output={place}/first", "--licence=cc0-1.0"
    code, text = tiny.run("--mode=export", *words)
    assert code == 0, text
    shutil.move(place / "first", place / "moved")
    assert [path.name for path in place.iterdir()] == ["moved"]  # nothing is left over
    return place / "moved"


@pytest.fixture
def own(exported, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(exported, tmp_path / "own")


def test_it_draws_what_its_run_draws(trained, exported):
    asked = dict(label=[3, 8], number=2, seed=1)
    drawn = [cdcd_jax.open(place).sample(**asked) for place in (trained, exported)]
    np.testing.assert_array_equal(*(one.outputs["tokens"] for one in drawn))
    assert cdcd_jax.open(exported).step == cdcd_jax.open(trained).step == 6


def test_it_holds_no_place_and_nothing_else(trained, exported):
    names = {path.name for path in exported.iterdir()}
    known = {"README.md", "config.json", "evaluation.json", "records.json", WEIGHTS}
    assert names == known
    for path in exported.glob("*.[jm]*"):
        if path.name != WEIGHTS:
            text = path.read_text()
            assert str(trained.parent) not in text and "@records" not in text
    config = json.loads((exported / "config.json").read_text())
    assert config["data"]["path"] == "" and "stages" not in config
    # averaged parameters alone, without what an optimizer keeps
    arrays = safetensors.numpy.load_file(exported / WEIGHTS)
    assert {name.split("/")[0] for name in arrays} == {"ema_params", "extra"}


def test_the_card_says_what_is_known(exported):
    card = (exported / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: cdcd_jax\nlicense: cc0-1.0\n")
    assert "after 6 steps" in card and "takes `label`: label, num classes 10" in card
    assert "--condition.label=0" in card and "1,437 records of `train`" in card
    figures = json.loads((exported / "evaluation.json").read_text())
    accuracy, number = figures["class_accuracy"], figures["class_accuracy/n"]
    assert re.search(rf"`class_accuracy` \| {accuracy:.4g} .*\| {number} \|", card)
    # what it says of Python works
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert "model.sample(label=0, number=4)" in code


def test_the_command_line_draws_of_it(own):
    code, text = tiny.generate(own, "mine", "--condition.label=3")
    assert code == 0, text
    assert (own / "samples" / "mine" / "samples.npz").exists()


def test_an_export_can_be_exported(exported, tmp_path):
    again = cdcd_jax.open(exported).save(tmp_path / "again")
    assert (again / WEIGHTS).read_bytes() == (exported / WEIGHTS).read_bytes()
    assert "None was chosen" in (again / "README.md").read_text()


def test_it_is_a_start_and_not_a_run(own, tmp_path):
    code, text = tiny.run(*tiny.flags(), f"--workdir={own}")
    assert code == 2 and f"--config.init_from={own}" in text
    assert not (own / "records").exists()
    start = f"--config.init_from={own}", f"--workdir={tmp_path / 'next'}"
    code, text = tiny.run(*tiny.flags(config__optim__num_steps=1), *start)
    assert code == 0, text
    # steps begin anew
    assert cdcd_jax.open(tmp_path / "next").step == 1


def test_what_lies_there_stays(trained, tmp_path):
    model = cdcd_jax.open(trained)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="something in it"):
        model.save(tmp_path)
    with pytest.raises(UsageError, match="a local directory"):
        model.save("gs://bucket/model")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_export_that_fails_leaves_nothing(trained, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cdcd_jax.models.export.weights_file", full)
    with pytest.raises(OSError, match="No space"):
        cdcd_jax.open(trained).save(tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_a_flipped_bit_is_told(own, at):
    whole = bytearray((own / WEIGHTS).read_bytes())
    start = int.from_bytes(whole[:8], "little") + 8
    whole[start + int(at * (len(whole) - start))] ^= 4
    (own / WEIGHTS).write_bytes(whole)
    with pytest.raises(InputError, match=r"Found a bad .*model\.safetensors.*differ"):
        cdcd_jax.open(own).sample(label=3)


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_file_cut_short_is_told(own, length):
    whole = (own / WEIGHTS).read_bytes()
    (own / WEIGHTS).write_bytes(whole[:length])
    with pytest.raises(InputError, match="Found a bad"):
        cdcd_jax.open(own).sample(label=3)


def test_weights_of_others_are_told(own):
    arrays = safetensors.numpy.load_file(own / WEIGHTS)
    safetensors.numpy.save_file(arrays, own / WEIGHTS)  # without what ours say
    with pytest.raises(InputError, match="Found a bad"):
        cdcd_jax.open(own)
    _, *rest = list(arrays.items())  # one is missing
    state = unflatten_dict(dict(rest), sep="/")
    (own / WEIGHTS).write_bytes(weights_file(6, state))
    with pytest.raises(InputError, match="Found nothing at 'ema_params/"):
        cdcd_jax.open(own).sample(label=3)


def test_a_tokenizer_keeps_codes_and_fingerprint(tokenizer_dir, tmp_path):
    workdir = tokenizer_dir
    cdcd_jax.open(workdir).save(tmp_path / "out")
    before, after = open_digits(workdir), open_digits(tmp_path / "out")
    assert before.fingerprint == after.fingerprint
    pictures = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
    np.testing.assert_array_equal(before.encode(pictures), after.encode(pictures))
    # no network of its losses goes along
    names = safetensors.numpy.load_file(tmp_path / "out" / WEIGHTS)
    assert {name.split("/")[1] for name in names} <= {"autoencoder", "codebooks"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "tokenizer.encode" in card and "--config.tokenizer.path=out" in card


def test_a_name_on_a_hub(exported, monkeypatch):
    def fetched(name, revision=None):
        assert (name, revision) in {("me/digits", None), ("me/digits", "v2")}
        return str(exported)

    hub = SimpleNamespace(snapshot_download=fetched)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert cdcd_jax.open("hf://me/digits").step == 6
    assert cdcd_jax.open("hf://me/digits@v2").step == 6
    with pytest.raises(InputError, match="Found no model at hf://me/other"):
        cdcd_jax.open("hf://me/other")
    with pytest.raises(UsageError, match="expected hf://<who>/<what>"):
        cdcd_jax.open("hf://digits")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match="pip install huggingface_hub"):
        cdcd_jax.open("hf://me/digits")
