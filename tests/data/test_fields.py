"""Fields of a batch: random ones are drawn from them, others held against them."""

import itertools

import numpy as np
import pytest

from cdcd_jax.data.fields import check_batch
from cdcd_jax.data.synthetic import synthetic_batches
from cdcd_jax.errors import InputError

FIELDS = {
    "codes": dict(shape=(3,), dtype="int32", low=2, high=5),
    "condition": {
        "kind": dict(shape=(), dtype="uint8", low=0, high=256),
        "sound": dict(shape=(4, 2), dtype="float32", low=-1.0, high=1.0),
        "motion": dict(shape=(500,), dtype="float32"),
    },
}


def drawn(rows=range(6), number=1, seed=0, step=0):
    stream = synthetic_batches({"batch": FIELDS}, np.array(rows), seed, step)
    return list(itertools.islice(stream, number))


def test_random_batches_are_as_the_fields_say():
    (batch,) = drawn()
    check_batch(batch, FIELDS)
    assert batch["codes"].dtype == np.int32 and batch["condition"]["kind"].shape == (6,)
    assert set(np.unique(batch["codes"])) == {2, 3, 4}
    assert np.abs(batch["condition"]["sound"]).max() < 1
    assert 0.9 < batch["condition"]["motion"].std() < 1.1


def test_a_row_depends_on_seed_step_and_its_number():
    whole = drawn(number=3)
    part = drawn(rows=[4, 1], step=2)[0]
    np.testing.assert_array_equal(part["codes"], whole[2]["codes"][[4, 1]])
    other = drawn(seed=1)[0]["condition"]["motion"]
    assert (other != whole[0]["condition"]["motion"]).all()


def test_random_numbers_stay_those_of_earlier_versions():
    """Of one row: integers, then a label of one number, then normal ones."""
    fields = {
        "tokens": dict(shape=(8,), dtype="int32", low=0, high=17),
        "condition": {
            "label": dict(shape=(), dtype="int32", low=0, high=10),
            "motion": dict(shape=(2,), dtype="float32"),
        },
    }
    batch = next(synthetic_batches({"batch": fields}, np.array([5]), 7, 3))
    rng = np.random.default_rng((7, 3, 5))
    tokens = rng.integers(0, 17, (8,), dtype=np.int32)
    label = np.int32(rng.integers(10))
    motion = rng.standard_normal((2,), dtype=np.float32)
    np.testing.assert_array_equal(batch["tokens"][0], tokens)
    assert batch["condition"]["label"][0] == label
    np.testing.assert_array_equal(batch["condition"]["motion"][0], motion)


def without(path):
    batch = drawn()[0]
    inner = batch
    *folders, name = path.split("/")
    for folder in folders:
        inner = inner[folder]
    return batch, inner.pop(name)


@pytest.mark.parametrize("path", ["codes", "condition", "condition/sound"])
def test_a_batch_without_a_field_is_refused(path):
    batch, _ = without(path)
    with pytest.raises(InputError, match=f"without '{path}'.*expected"):
        check_batch(batch, FIELDS)


def test_a_batch_of_another_shape_or_kind_is_refused():
    batch, sound = without("condition/sound")
    for other in (sound[:, :3], sound[..., None]):
        batch["condition"]["sound"] = other
        with pytest.raises(InputError, match=r"float32\[B, 4, 2\]"):
            check_batch(batch, FIELDS)
    batch["condition"]["sound"] = sound.astype(np.float16)  # as records may keep it
    batch["beside"] = np.zeros(6)
    check_batch(batch, FIELDS)
    batch["codes"] = batch["codes"].astype(np.float32)
    with pytest.raises(InputError, match=r"'codes' as float32\[6, 3\].*int32\[B, 3\]"):
        check_batch(batch, FIELDS)
