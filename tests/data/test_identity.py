"""Records are told apart by what they hold, wherever they lie."""

import copy
import dataclasses
import shutil

import pytest
from made_records import LABEL

from cdcd_jax.data.card import read_card
from cdcd_jax.data.identity import identity, other_meaning, other_records


@pytest.fixture
def card(make_dataset):
    conditions = copy.deepcopy(LABEL)
    conditions["label"]["names"] = [f"class {i}" for i in range(10)]
    conditions["text"] = dict(
        kind="tokens", shape=[], dtype="int32", num_tokens=9, sha256="a"
    )
    made = make_dataset(12, tokenizer=dict(kind="palette", fingerprint="p"))
    return dataclasses.replace(made, conditions=conditions)


def test_the_place_makes_no_difference(make_dataset, tmp_path):
    one = make_dataset(12)
    other = read_card(shutil.copytree(tmp_path, tmp_path / "moved"))
    assert other.directory != one.directory
    assert identity(one) == identity(other)
    assert other_records(identity(one), identity(other)) == []


def with_label(card, **changes):
    conditions = copy.deepcopy(card.conditions)
    conditions["label"] |= changes
    return dataclasses.replace(card, conditions=conditions)


MEANINGS = {
    "renamed": lambda c: with_label(
        c, names=["zebra", *c.conditions["label"]["names"][1:]]
    ),
    "reordered": lambda c: with_label(c, names=c.conditions["label"]["names"][::-1]),
    "added": lambda c: with_label(
        c, names=[*c.conditions["label"]["names"], "new"], num_classes=11
    ),
    "vocabulary": lambda c: dataclasses.replace(
        c,
        conditions={
            **c.conditions,
            "text": {**c.conditions["text"], "sha256": "b"},
        },
    ),
    "tokenizer": lambda c: dataclasses.replace(
        c, tokenizer={**c.tokenizer, "fingerprint": "q"}
    ),
    "codes": lambda c: dataclasses.replace(c, num_codes=400),
}


@pytest.mark.parametrize("change", MEANINGS.values(), ids=MEANINGS)
def test_another_meaning(card, change):
    old, new = identity(card), identity(change(card))
    assert old["digest"] != new["digest"]
    assert other_meaning(old, new)
    assert set(other_meaning(old, new)) <= set(other_records(old, new))


def test_classes_are_named_with_their_numbers(card):
    new = identity(MEANINGS["renamed"](card))
    (found,) = other_meaning(identity(card), new)
    assert found == "classes of label (0 was 'class 0' and is 'zebra')"


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (dict(count=11), "the split train (12 records there, 11 now)"),
        (dict(count=12, shard_records=4), "what the 12 records of train hold"),
        (dict(count=12, negatives=2), "the table of negatives of train"),
    ],
    ids=["fewer", "other bytes", "negatives"],
)
def test_the_same_meaning_of_other_records(make_dataset, made, says):
    old = identity(make_dataset(12))
    new = identity(make_dataset(made.pop("count"), **made))
    assert other_records(old, new) == [says]
    assert other_meaning(old, new) == []


def test_splits_and_conditions_that_one_has(card):
    less = dataclasses.replace(card, conditions=LABEL)
    more = dataclasses.replace(
        card, splits={**card.splits, "test": card.splits["train"]}
    )
    old = identity(card)
    assert any("conditions (" in line for line in other_records(old, identity(less)))
    assert other_records(old, identity(more)) == [
        "splits (train there, test, train now)"
    ]
