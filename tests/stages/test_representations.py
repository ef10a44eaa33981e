"""Vectors in records: the encoder's, means of classes, repair, what is refused."""

import json
import shutil

import numpy as np
import pytest
from untrained import untrained

from cdcd_jax.config import experiment
from cdcd_jax.config.records import default_config
from cdcd_jax.data.card import read_card
from cdcd_jax.data.pipeline import spread_records
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.models.encoders import encoder_of, open_encoder
from cdcd_jax.models.run_records import keep_records
from cdcd_jax.stages.pretokenize import pretokenize


def encoder_in(workdir, records, size=0.1):
    """A work directory as after training on these records, with random weights."""
    tower = dict(kind="pixels", grid=(8, 8), num_codes=17, width=8, depth=1)
    model = dict(towers=dict(image=tower), features=5)
    untrained(experiment(task="bridge", model=model), workdir, size)
    keep_records(read_card(records), workdir, None)
    return workdir


@pytest.fixture(scope="module")
def encoder_dir(digits_records, tmp_path_factory):
    return encoder_in(tmp_path_factory.mktemp("encoder") / "run", digits_records)


def config(path, **own):
    represent = dict(vector=dict(path=str(path), **own))
    return {**default_config(), "represent": represent}


@pytest.fixture(scope="module")
def with_vectors(encoder_dir, tmp_path_factory):
    """Records of the digits with vectors; read only."""
    return pretokenize(config(encoder_dir), tmp_path_factory.mktemp("vectors"))


def test_records_hold_the_vector_of_their_own_tokens(
    with_vectors, digits_records, encoder_dir
):
    card, encoder = read_card(with_vectors), open_encoder(encoder_dir)
    assert card.conditions["vector"] == dict(
        kind="array", shape=[5], dtype="float32", encoder=encoder.fingerprint
    )
    assert encoder_of(card, "vector").fingerprint == encoder.fingerprint
    plain = read_card(digits_records)
    for split, number in (("train", 1437), ("test", 360)):
        found = spread_records(card, split, number)
        before = spread_records(plain, split, number)
        np.testing.assert_array_equal(found["tokens"], before["tokens"])
        own = encoder.encode(found["tokens"])
        np.testing.assert_array_equal(found["condition"]["vector"], own)
        label = found["condition"]["label"]
        np.testing.assert_array_equal(label, before["condition"]["label"])


def test_means_of_a_class_stand_in_place_of_vectors(encoder_dir, tmp_path):
    pretokenize(config(encoder_dir, mean_by="label"), tmp_path)
    card, encoder = read_card(tmp_path), open_encoder(encoder_dir)
    assert card.conditions["vector"]["mean_by"] == "label"
    train = spread_records(card, "train", 1437)
    test = spread_records(card, "test", 360)
    vectors = encoder.encode(train["tokens"])
    for label in range(10):
        mean = vectors[train["condition"]["label"] == label].mean(0)
        mean /= np.linalg.norm(mean)
        for part in (train, test):
            own = part["condition"]["vector"][part["condition"]["label"] == label]
            np.testing.assert_allclose(own, np.tile(mean, (len(own), 1)), atol=1e-6)


def test_what_is_damaged_is_made_again_to_the_byte(with_vectors, tmp_path):
    records = shutil.copytree(with_vectors, tmp_path / "records")
    (shard,) = records.glob("test-*.arrayrecord")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-10])
    pretokenize(read_card(records).config, records)
    assert shard.read_bytes() == whole


def test_records_of_another_encoder_are_other_records(
    with_vectors, encoder_dir, digits_records, tmp_path
):
    records = shutil.copytree(with_vectors, tmp_path / "records")
    moved = shutil.copytree(encoder_dir, tmp_path / "moved")
    pretokenize(config(moved), records)  # the same one elsewhere
    other = encoder_in(tmp_path / "other", digits_records, 0.2)
    with pytest.raises(InputError, match="with vectors of the encoders"):
        pretokenize(config(other), records)
    with pytest.raises(InputError, match=r"represent\.vector\.mean_by"):
        pretokenize(config(encoder_dir, mean_by="label"), records)
    with pytest.raises(InputError, match="represent"):
        pretokenize(default_config(), records)


def test_records_without_vectors_are_as_before(own_digits):
    path = own_digits / "dataset.json"
    card = json.loads(path.read_text())
    del card["config"]["represent"]  # as those of an earlier version
    path.write_text(json.dumps(card))
    assert pretokenize(default_config(), own_digits) == own_digits


def test_an_encoder_of_other_tokens_is_refused(encoder_dir, tmp_path):
    other = shutil.copytree(encoder_dir, tmp_path / "other")
    kept = json.loads((other / "records.json").read_text())
    (other / "records.json").write_text(json.dumps({**kept, "tokenizer": "0" * 16}))
    with pytest.raises(InputError, match=r"of the tokenizer 0{16}; expected"):
        pretokenize(config(other), tmp_path / "records")


def test_a_tower_of_texts_makes_no_vectors_of_tokens(tmp_path):
    image = dict(kind="pixels", grid=(8, 8), num_codes=17, width=8)
    text = dict(kind="text", field="text", shape=(4,), vocabulary=9, width=8)
    model = dict(towers=dict(image=image, text=text), features=5)
    path = untrained(experiment(task="bridge", model=model), tmp_path / "run")
    with pytest.raises(UsageError, match=r"tower = 'text', .* condition 'text'; exp"):
        pretokenize(config(path, tower="text"), tmp_path / "records")


def test_what_cannot_be_made_is_refused_before_anything_is_written(
    encoder_dir, tmp_path
):
    plain, path = default_config(), str(encoder_dir)

    def refused(represent, error, message):
        with pytest.raises(error, match=message):
            pretokenize({**plain, "represent": represent}, tmp_path / "records")
        assert not (tmp_path / "records").exists()

    refused(dict(vector=dict(tower="image")), UsageError, r"represent\.vector = .*path")
    refused(dict(vector=path), UsageError, r"expected dict\(path=\.\.\)")
    refused(dict(vector=dict(path=path, by="label")), UsageError, r"and mean_by=")
    refused(dict(vector=dict(path=path, mean_by=3)), UsageError, r"and mean_by=")
    refused(dict(label=dict(path=path)), UsageError, "which the source gives itself")
    wrong = dict(vector=dict(path=path, mean_by="colour"))
    refused(wrong, UsageError, r"mean_by = 'colour'; expected a condition .*\(label\)")
    nowhere = dict(vector=dict(path=str(tmp_path / "nowhere")))
    refused(nowhere, InputError, "Found no encoder in")
