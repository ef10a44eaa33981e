"""Samples for records of several kinds, of which no record holds all."""

import numpy as np
import pytest

from cdcd_jax.data.card import Card, Shard, Split
from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.errors import UsageError
from cdcd_jax.evaluation import sides
from cdcd_jax.evaluation.sets import DrawnSet

SPECS = {"image": {"field": "tokens"}, "text": {}, "sound": {}}


def card(name, *conditions):
    shard = Shard("test.arrayrecord", 3, 9, f"sha of {name}")
    return Card(
        directory=name,
        name=name,
        num_codes=4,
        grid=(2, 2),
        conditions={name: {} for name in conditions},
        tokenizer={"fingerprint": f"tokenizer of {name}"},
        splits={"test": Split(3, (shard,))},
        config={},
    )


class Model:
    """Before pictures, until somebody puts it before sounds."""

    decoders = None

    def __init__(self, others, conditions=SPECS, records="pictures"):
        self.config = {"eval": {"split": "test", "others": others}}
        self.conditions, self.records = conditions, records

    def before(self, path, stream):
        specs = {"sound": {"field": "tokens"}, "text": {}, "image": {}}
        return Model({}, specs, f"{stream} of {path}")

    def open_records(self):
        return card(self.records, "text")


def drawn(name="one", **changes):
    return DrawnSet(name, SamplingOptions(), {}, **changes)


@pytest.fixture
def both():
    return sides.sides_of(Model({"sound": "sounds"}), card("pictures", "text"))


def test_each_set_has_its_records(both):
    assert list(both) == ["", "sound"]
    assert both["sound"].card.directory == "sound of sounds"
    parts = [drawn(given=("image", "text"), swapped=("text",))]
    parts += [drawn(given=("sound", "text"), records="sound"), drawn()]
    sides.check_given(parts, both)


@pytest.mark.parametrize(
    "changes, expected",
    [
        (dict(given=("sound",)), "given with 'sound', which the records pictures"),
        (dict(given=("image",), records="sound"), "'image', which the records sound"),
        (dict(records="films"), "records = 'films'; expected one of '', 'sound'"),
        (dict(swapped=("sound",)), "swapped with 'sound', which the records"),
    ],
)
def test_what_records_do_not_hold_is_not_given(both, changes, expected):
    with pytest.raises(UsageError, match=expected):
        sides.check_given([drawn(**changes)], both)


def test_records_of_no_modality_and_without_the_split_are_refused():
    with pytest.raises(UsageError, match=r"eval\.others with 'film'"):
        sides.sides_of(Model({"film": "films"}), card("pictures"))
    model = Model({"sound": "sounds"})
    model.config["eval"]["split"] = "val"
    with pytest.raises(UsageError, match=r"eval\.others"):
        sides.sides_of(model, card("pictures"))


def test_an_evaluation_knows_all_its_records_again(both):
    one = sides.all_told({"": both[""]})
    assert one == sides.told({}, both[""].card)  # as before there were others
    told = sides.all_told(both)
    assert told["shards"] == one["shards"]
    assert told["others"]["sound"] == sides.told({}, both["sound"].card)


def test_swapped_conditions_are_those_of_the_next_row():
    rows = {"a": np.arange(4), "b": np.arange(4) + 10}
    part = drawn(given=("a", "b"), swapped=("b",))
    seen = part.under(rows)
    assert seen["a"].tolist() == [0, 1, 2, 3]
    assert seen["b"].tolist() == [11, 12, 13, 10]
    assert rows["b"].tolist() == [10, 11, 12, 13]
    assert part.settings["swapped"] == ("b",) and "records" not in part.settings
    assert "swapped" not in drawn().settings
