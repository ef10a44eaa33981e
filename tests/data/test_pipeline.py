"""Tests of the batches: order, position, processes, and what is refused."""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny

from cdcd_jax.config import experiment
from cdcd_jax.data.card import Card, read_card, write_card
from cdcd_jax.data.fields import check_batch
from cdcd_jax.data.pipeline import (
    RecordExamples,
    check_matches,
    one_pass,
    open_dataset,
    open_training,
    spread_records,
    training_batches,
)
from cdcd_jax.data.records import RecordSource
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.tasks import make_task

MakeDataset = Callable[..., Card]


def take(count: int, card: Card, **options) -> list[np.ndarray]:
    """The first token (that is, the record's index) of each example of each batch."""
    examples = RecordExamples(card, "train")
    batches = training_batches(examples, **{"seed": 0} | options)
    return [batch["tokens"][:, 0] for batch in itertools.islice(batches, count)]


def test_batches_have_the_promised_form(digits_records: Path) -> None:
    card = read_card(digits_records)
    batch = next(training_batches(RecordExamples(card, "train"), batch_size=32, seed=1))
    assert set(batch) == {"tokens", "condition"}
    assert batch["tokens"].shape == (32, 64) and batch["tokens"].dtype == np.int32
    label = batch["condition"]["label"]
    assert label.shape == (32,) and label.dtype == np.int32


def test_every_epoch_is_another_permutation(make_dataset: MakeDataset) -> None:
    card = make_dataset(30)
    stream = np.concatenate(take(24, card, batch_size=10))
    epochs = stream.reshape(8, 30)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(30))
    assert len({tuple(epoch) for epoch in epochs}) == 8


def test_records_are_spread_evenly(make_dataset: MakeDataset) -> None:
    """Few of them over the whole split; of many each as often, one behind the other."""
    card = make_dataset(12)
    which = lambda number: spread_records(card, "train", number)["tokens"][:, 0]
    np.testing.assert_array_equal(which(3), [0, 5, 11])
    np.testing.assert_array_equal(which(12), np.arange(12))
    np.testing.assert_array_equal(which(96), np.repeat(np.arange(12), 8))
    counts = np.bincount(which(100), minlength=12)
    assert set(counts) == {8, 9} and (np.diff(which(100)) >= 0).all()


@pytest.mark.parametrize("batch_size", [1, 7, 45])
def test_batches_cross_the_border_of_epochs(
    make_dataset: MakeDataset, batch_size: int
) -> None:
    card = make_dataset(30)
    count = -(-60 // batch_size)  # two epochs or a little more
    batches = take(count, card, batch_size=batch_size)
    assert {len(batch) for batch in batches} == {batch_size}
    singles = take(60, card, batch_size=1)
    np.testing.assert_array_equal(np.concatenate(batches)[:60], np.ravel(singles))


@pytest.mark.parametrize("step", [1, 4, 23])
@pytest.mark.parametrize("threads", [0, 2])
def test_start_step_is_the_position(
    make_dataset: MakeDataset, step: int, threads: int
) -> None:
    card = make_dataset(30)
    whole = take(step + 3, card, batch_size=8)
    rest = take(3, card, batch_size=8, start_step=step, threads=threads)
    np.testing.assert_array_equal(whole[step:], rest)


def test_a_far_position_costs_nothing(make_dataset: MakeDataset) -> None:
    card = make_dataset(30)
    # three batches an epoch: this one opens an epoch
    batches = take(3, card, batch_size=10, start_step=3_000_000)
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(30))


def test_seed_decides(make_dataset: MakeDataset) -> None:
    card = make_dataset(30)
    first, same, other = (take(1, card, batch_size=30, seed=s)[0] for s in (3, 3, 4))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_global_batches_do_not_depend_on_processes(make_dataset: MakeDataset) -> None:
    card = make_dataset(30)
    whole = take(9, card, batch_size=8, start_step=2)
    # as two hosts hold them, and as hosts of a mesh whose rows alternate
    for rows in (range(4), range(4, 8), (0, 1, 4, 5), (7,)):
        part = take(9, card, batch_size=8, start_step=2, rows=rows)
        for step in range(9):
            np.testing.assert_array_equal(part[step], whole[step][list(rows)])


def test_one_pass_gives_each_record_once_in_order(make_dataset: MakeDataset) -> None:
    batches = list(one_pass(make_dataset(12), "train", 5))
    assert [len(batch["tokens"]) for batch in batches] == [5, 5, 2]
    tokens = np.concatenate([batch["tokens"] for batch in batches])
    labels = np.concatenate([batch["condition"]["label"] for batch in batches])
    np.testing.assert_array_equal(tokens[:, 0], np.arange(12))
    np.testing.assert_array_equal(labels, np.arange(12) % 10)


@pytest.mark.parametrize("threads", [0, 2])
def test_corrupt_record_comes_out_by_name(own_digits: Path, threads: int) -> None:
    card = read_card(own_digits)
    path = own_digits / card.splits["train"].shards[0].file
    content = bytearray(path.read_bytes())
    content[30_000:30_064] = bytes(64)
    path.write_bytes(content)
    examples = RecordExamples(card, "train")
    batches = training_batches(examples, batch_size=64, seed=0, threads=threads)
    for stream in (batches, one_pass(card, "train", 64)):
        with pytest.raises(InputError, match=rf"record \d+ of train .*{path.name}"):
            for _ in range(24):
                next(stream)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ((18, (8, 8), {}), "model.num_codes"),
        ((17, (4, 16), {}), "model.grid"),
        ((17, (64,), {}), "model.grid"),
        ((17, (8, 8), {"caption": {}}), "model.conditions"),
        ((17, (8, 8), {"label": {"num_classes": 11}}), "conditions.label.num_classes"),
        ((17, (8, 8), {"label": {"shape": [1]}}), "conditions.label.shape"),
    ],
)
def test_check_matches_refuses(
    digits_records: Path, arguments: tuple, key: str
) -> None:
    with pytest.raises(InputError, match=key):
        check_matches(read_card(digits_records), *arguments)


def test_check_matches_names_both_values(digits_records: Path) -> None:
    with pytest.raises(InputError, match=r"num_codes = 17 .*expected 256"):
        check_matches(read_card(digits_records), 256, (8, 8), {})


def test_check_matches_accepts(digits_records: Path) -> None:
    card = read_card(digits_records)
    check_matches(card, 17, [8, 8], {"label": {"num_classes": 10, "shape": ()}})
    check_matches(card, 17, (8, 8), {})


def test_conditions_have_their_defaults(own_digits: Path) -> None:
    """CLIP's tower is described by its kind alone, as in the configs."""
    text = {"kind": "text", "shape": [77], "dtype": "int32", "vocabulary": "clip"}
    card = dataclasses.replace(read_card(own_digits), conditions={"text": text})
    write_card(card)
    clip = dict(text=dict(kind="clip_text", frozen=True))
    config = experiment(model=dict(conditions=clip), contrastive=dict(num_negatives=0))
    assert open_dataset(own_digits, make_task(config).describe()) == card
    write_card(dataclasses.replace(card, conditions={"text": {**text, "shape": [76]}}))
    with pytest.raises(InputError, match=r"shape = \[76\] .*expected \[77\]"):
        open_dataset(own_digits, make_task(config).describe())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"rows": (7, 8)}, "rows"),
        ({"rows": ()}, "rows"),
        ({"start_step": -1}, "start_step = -1"),
        ({"seed": 2**32}, "seed = 4294967296"),
    ],
)
def test_training_batches_refuses(
    digits_records: Path, options: dict, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        examples = RecordExamples(read_card(digits_records), "train")
        training_batches(examples, **{"batch_size": 8, "seed": 0} | options)


def test_negatives_come_from_the_table(make_dataset: MakeDataset) -> None:
    card = make_dataset(30, negatives=6)
    table = RecordSource(card, "train").negatives()
    assert table.shape == (30, 6)
    for number in (6, 4):
        examples = RecordExamples(card, "train", number)
        first, same = (
            next(training_batches(examples, batch_size=30, seed=2)) for _ in range(2)
        )
        assert first["negatives"].shape == (30, number, 4)
        np.testing.assert_array_equal(first["negatives"], same["negatives"])
        for own, others in zip(first["tokens"], first["negatives"], strict=True):
            index, found = own[0], others[:, 0]
            assert set(found) <= set(table[index]) and len(set(found)) == number
            assert (found % 10 != index % 10).all()


def test_negatives_that_are_not_there(make_dataset: MakeDataset) -> None:
    with pytest.raises(InputError, match=r"contrastive.inter_from"):
        RecordExamples(make_dataset(30), "train", 3)
    with pytest.raises(InputError, match=r"contrastive.num_negatives"):
        RecordExamples(make_dataset(30, negatives=2), "train", 3)


def test_records_may_lack_a_condition_that_is_optional(own_digits):
    config = tiny.settings(data=dict(path=str(own_digits)))
    style = dict(kind="label", num_classes=2)
    config["model"]["conditions"]["style"] = style
    with pytest.raises(InputError, match="conditions"):
        open_dataset(own_digits, make_task(config).describe())
    config["model"]["conditions"]["style"] = dict(style, optional=True)
    description = make_task(config).describe()
    card = open_dataset(own_digits, description)
    batch = next(one_pass(card, "test", 4))
    check_batch(batch, description["batch"])
    del batch["condition"]["label"]
    with pytest.raises(InputError, match="'condition/label'"):
        check_batch(batch, description["batch"])


IMAGE = dict(kind="image", field="tokens")


@pytest.mark.parametrize(
    ("name", "own", "says"),
    [
        ("target", dict(kind="image"), r"'target' as None .* which have \['label'\]"),
        ("vector", dict(kind="vector", features=3, given=False), "'vector' as None"),
        ("label", dict(kind="label", num_classes=11), "'num_classes': 10.* below': 11"),
        ("label", dict(kind="vector", features=3), r"expected \{'shape': \[3\]"),
        ("label", dict(kind="label", num_classes=10), None),
        ("holes", dict(kind="masked_image", field="tokens"), None),
    ],
)
def test_records_have_what_each_batch_needs(
    name: str, own: dict, says: str | None, digits_records: Path
) -> None:
    """A modality may be left out where samples are drawn, and of no batch."""
    config = experiment(
        task="mt_diffusion", model=dict(modalities={"image": IMAGE, name: own})
    )
    description = make_task(config).describe()
    assert description["conditions"].get(name, {"optional": True})["optional"]
    if says is None:
        open_dataset(digits_records, description)
        return
    with pytest.raises(InputError, match=rf"{says}.*make records that hold it"):
        open_dataset(digits_records, description)


@pytest.mark.parametrize(("count", "refused"), [(1, True), (2, False)])
def test_records_under_one_condition_have_no_negatives(
    count: int, refused: bool, make_dataset: MakeDataset
) -> None:
    """A contrast among the examples of a batch needs two values of its key."""
    folder = make_dataset(count).directory  # label i of record i
    tokens = dict(high=300, grid=(2, 2))
    wanted = dict(batch=dict(tokens=tokens), conditions={}, negatives=0, differ="label")
    config = dict(data=dict(path=folder))
    if refused:
        with pytest.raises(InputError, match="Found one 'label' in 1 training records"):
            open_training(config, wanted)
    else:
        assert len(open_training(config, wanted)) == 2
    assert len(open_training(config, {**wanted, "differ": ""})) == count
