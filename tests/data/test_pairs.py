"""Pictures as conditions of records: small on the disk, levels in a batch, checked."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import tiny

from cdcd_jax.config.records import default_config
from cdcd_jax.data.card import read_card
from cdcd_jax.data.digits import inverted
from cdcd_jax.data.fields import check_batch, condition_of
from cdcd_jax.data.identity import identity, other_meaning
from cdcd_jax.data.pipeline import check_matches, one_pass, open_dataset
from cdcd_jax.data.records import RecordSource, find_problem
from cdcd_jax.data.synthetic import synthetic_batches
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.networks.conditioners import full_spec
from cdcd_jax.stages.pretokenize import pretokenize
from cdcd_jax.tasks import make_task

TARGET = dict(kind="image", levels=17, grid=(8, 8))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of digits with their inverted pictures; read only."""
    config = default_config()
    config["data"]["options"] = {"pair": "invert"}
    return pretokenize(config, tmp_path_factory.mktemp("pairs") / "records")


def settings(path: Path, **target) -> dict:
    config = tiny.settings(data=dict(path=str(path)))
    config["model"]["conditions"]["target"] = {**TARGET, **target}
    return config


def test_a_byte_a_pixel_on_the_disk_and_levels_in_a_batch(pairs: Path) -> None:
    card = read_card(pairs)
    stored = RecordSource(card, "train")._load(3)["condition/target"]
    assert stored.dtype == np.uint8 and stored.shape == (64,)
    description = make_task(settings(pairs)).describe()
    batch = next(one_pass(open_dataset(pairs, description), "train", 5))
    check_batch(batch, description["batch"])
    target = batch["condition"]["target"]
    assert target.dtype == np.int32
    np.testing.assert_array_equal(target[3], stored)
    digits = batch["tokens"].reshape(5, 8, 8)
    np.testing.assert_array_equal(target.reshape(5, 8, 8), inverted(digits))


def test_random_batches_have_pictures(pairs: Path) -> None:
    description = make_task(settings(pairs)).describe()
    stream = synthetic_batches(description, np.arange(40))
    for batch in itertools.islice(stream, 2):
        check_batch(batch, description["batch"])
        found = np.unique(batch["condition"]["target"])
        np.testing.assert_array_equal(found, np.arange(17))


@pytest.mark.parametrize("bad", [17, 255])
def test_levels_that_there_are_not(bad: int, pairs: Path) -> None:
    card = read_card(pairs)
    target = np.zeros(64, np.uint8)
    condition = {"label": np.int32(1), "target": target}
    example = {"tokens": np.zeros(64, int), "condition": condition}
    assert find_problem(example, 17, 64, card.conditions) is None
    target[5] = bad
    problem = find_problem(example, 17, 64, card.conditions)
    assert f"[0, {bad}]; expected levels in [0, 17)" in problem


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict(levels=16), r"target.levels = 17 .* expected 16"),
        (dict(grid=(4, 16)), r"target.grid = \[8, 8\] .* expected \[4, 16\]"),
        (dict(grid=(16, 16), patch=2), r"target.grid"),
        (dict(field="outline"), r"conditions = \['label', 'target'\]"),
        (dict(field="label"), r"target.levels = None"),
        (dict(field="tokens", levels=16), r"target.levels = 17"),
        (dict(field="tokens", grid=(4, 16)), r"target.grid"),
    ],
)
def test_records_of_other_pictures(change: dict, says: str, pairs: Path) -> None:
    spec = full_spec("target", {**TARGET, **change})
    with pytest.raises(InputError, match=says):
        check_matches(read_card(pairs), 17, (8, 8), {"target": spec})


def test_conditions_that_are_made_of_another_field(pairs: Path) -> None:
    card = read_card(pairs)
    specs = {
        "image": full_spec("image", dict(TARGET, field="tokens", optional=True)),
        "other": full_spec("other", dict(TARGET, field="target")),
        "none": full_spec("none", dict(TARGET, field="outline", optional=True)),
    }
    check_matches(card, 17, (8, 8), specs)
    batch = next(one_pass(card, "test", 4))
    found = condition_of(batch, specs)
    assert set(found) == {"label", "target", "image", "other"}
    np.testing.assert_array_equal(found["image"], batch["tokens"])
    np.testing.assert_array_equal(found["other"], batch["condition"]["target"])
    assert set(batch["condition"]) == {"label", "target"}
    assert condition_of(batch, {}) == batch["condition"]


def test_a_task_of_one_modality_is_not_given_what_it_draws(pairs: Path) -> None:
    says = r"target of the field 'tokens', which model\.target says is drawn"
    with pytest.raises(UsageError, match=says):
        make_task(settings(pairs, field="tokens"))


def test_other_levels_are_another_meaning(pairs: Path) -> None:
    card = read_card(pairs)
    changed = {**card.conditions["target"], "levels": 16}
    other = dataclasses.replace(card, conditions={**card.conditions, "target": changed})
    (found,) = other_meaning(identity(card), identity(other))
    assert "levels of target (17 there, 16 now)" in found
