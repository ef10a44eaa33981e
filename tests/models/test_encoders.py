"""Encoders by work directory: vectors, what is refused, whose vectors records hold."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tiny
from untrained import untrained

from cdcd_jax.config import experiment
from cdcd_jax.data.identity import identity, other_meaning
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.models.encoders import ROWS, encoder_of, open_encoder

LENGTH, CODES, FEATURES = 4, 300, 6


def settings(**tower):
    tower = dict(kind="pixels", grid=(2, 2), num_codes=CODES, width=8) | tower
    towers = dict(image=tower, other=dict(tower, field="target", grid=(3, 3)))
    return experiment(task="bridge", model=dict(towers=towers, features=FEATURES))


@pytest.fixture(scope="module")
def encoder_dir(tmp_path_factory):
    """A run with random weights; read only."""
    return untrained(settings(), tmp_path_factory.mktemp("encoder") / "run")


def tokens(number, length=LENGTH):
    return np.random.default_rng(0).integers(0, CODES, (number, length))


def test_vectors_are_of_each_example_by_itself(encoder_dir):
    encoder = open_encoder(encoder_dir)
    examples = tokens(ROWS + 3)
    vectors = encoder.encode(examples)
    assert vectors.shape == (ROWS + 3, FEATURES) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    for i in (0, ROWS - 1, ROWS, ROWS + 2):
        np.testing.assert_array_equal(encoder.encode(examples[[i]])[0], vectors[i])
    assert len(np.unique(vectors, axis=0)) == ROWS + 3
    assert encoder.encode(examples[:0]).shape == (0, FEATURES)


def test_the_fingerprint_is_of_weights_and_settings_and_of_no_place(
    encoder_dir, tmp_path
):
    first = open_encoder(encoder_dir)
    moved = shutil.copytree(encoder_dir, tmp_path / "moved")
    assert open_encoder(moved).fingerprint == first.fingerprint
    assert len(first.fingerprint) == 16 and first.tokenizer is None
    other = untrained(settings(), tmp_path / "other", size=0.2)
    assert open_encoder(other).fingerprint != first.fingerprint
    # of another tower of the same run, too
    second = open_encoder(encoder_dir, "other")
    assert second.length == 9 and second.fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (tokens(3, 5), r"tokens int64\[3, 5\] for an encoder; expected .* \[N, 4\]"),
        (tokens(3)[0], r"tokens int64\[4\]"),
        (tokens(3) * 0.5, r"tokens float64"),
        (tokens(3) - 500, r"expected them in \[0, 300\)"),
        (tokens(3) + CODES, r"expected them in \[0, 300\)"),
    ],
)
def test_tokens_that_are_none_of_its_own(encoder_dir, examples, message):
    with pytest.raises(InputError, match=message):
        open_encoder(encoder_dir).encode(examples)


def test_texts_and_codes_have_encoders_of_their_own(tmp_path):
    sizes = dict(width=8, depth=1, heads=2, queries=1)
    towers = dict(
        text=dict(kind="text", field="text", shape=(5,), vocabulary=9, **sizes),
        sound=dict(kind="codes", grid=(1, LENGTH), num_codes=CODES, **sizes),
    )
    config = experiment(task="bridge", model=dict(towers=towers, features=FEATURES))
    run = untrained(config, tmp_path / "run")
    sound, text = open_encoder(run), open_encoder(run, "text")
    assert (sound.field, sound.length, sound.num_codes) == ("tokens", LENGTH, CODES)
    assert (text.field, text.length, text.num_codes) == ("text", 5, 9)
    assert text.fingerprint != sound.fingerprint and text.tokenizer is None
    for encoder in (sound, text):
        examples = tokens(3, encoder.length) % encoder.num_codes
        vectors = encoder.encode(examples)
        assert vectors.shape == (3, FEATURES)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
        alone = encoder.encode(examples[[1]])
        np.testing.assert_allclose(alone[0], vectors[1], atol=1e-6)
    with pytest.raises(InputError, match=r"\[0, 9\).* tokenizer or vocabulary"):
        text.encode(np.full((2, 5), 9))
    with pytest.raises(InputError, match=r"float64.* whole numbers \[N, 5\]"):
        text.encode(np.ones((2, 5)))


def test_what_holds_no_encoder(encoder_dir, tmp_path):
    with pytest.raises(InputError, match=r"Found no encoder in .*nowhere"):
        open_encoder(tmp_path / "nowhere")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(tiny.settings()))
    with pytest.raises(InputError, match="a run of task = 'conditional'"):
        open_encoder(tmp_path / "model")
    with pytest.raises(UsageError, match=r"tower = 'text'.*image, other"):
        open_encoder(encoder_dir, "text")
    begun = shutil.copytree(encoder_dir, tmp_path / "begun")
    shutil.rmtree(begun / "checkpoints")
    with pytest.raises(InputError, match="no checkpoint in"):
        open_encoder(begun)


@pytest.fixture
def card(encoder_dir, make_dataset):
    """Of records whose vectors the encoder made."""
    told = dict(represent=dict(vector=dict(path=str(encoder_dir), tower="")))
    card = make_dataset(12, config=told)
    spec = dict(kind="array", shape=[FEATURES], dtype="float32")
    vector = spec | dict(encoder=open_encoder(encoder_dir).fingerprint)
    return dataclasses.replace(card, conditions={**card.conditions, "vector": vector})


def test_the_encoder_of_records_is_found_where_it_was_or_beside_them(
    encoder_dir, card, tmp_path, monkeypatch
):
    found = encoder_of(card, "vector")
    assert found.fingerprint == card.conditions["vector"]["encoder"]
    shutil.copytree(encoder_dir, tmp_path / "moved" / encoder_dir.name)
    told = dict(path=str(tmp_path / "gone" / encoder_dir.name), tower="")
    (tmp_path / "moved" / "records").mkdir()
    moved = dataclasses.replace(
        card,
        directory=tmp_path / "moved" / "records",
        config=dict(represent=dict(vector=told)),
    )
    assert encoder_of(moved, "vector").fingerprint == found.fingerprint
    lost = dataclasses.replace(moved, directory=tmp_path / "elsewhere" / "records")
    with pytest.raises(InputError, match=r"Found no encoder in .*gone"):
        encoder_of(lost, "vector")


def test_another_encoder_than_that_of_the_records_is_refused(card):
    spec = {**card.conditions["vector"], "encoder": "0" * 16}
    other = dataclasses.replace(card, conditions={**card.conditions, "vector": spec})
    with pytest.raises(InputError, match=r"expected 0{16}, which made the vectors"):
        encoder_of(other, "vector")
    with pytest.raises(InputError, match="Found no vectors 'label'"):
        encoder_of(card, "label")
    # and by a model that has learned from the others
    (told,) = other_meaning(identity(card), identity(other))
    assert told.startswith("encoder of vector (")
