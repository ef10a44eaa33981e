"""Finished records are read through, and what is damaged is made again, no more."""

import dataclasses
import json
import shutil

import pytest
import tiny
from made_records import kill_at_second_shard

from cdcd_jax.config.records import default_config
from cdcd_jax.data.card import read_card, write_card
from cdcd_jax.data.records import check_shards
from cdcd_jax.errors import InputError
from cdcd_jax.stages import shard_set
from cdcd_jax.stages.pretokenize import pretokenize
from cdcd_jax.stages.repair import FOLDER

TRAIN = [f"train-{i:05d}-of-00003.arrayrecord" for i in range(3)]
TEST, TABLE = "test-00000-of-00001.arrayrecord", "train-negatives.npy"


def config():
    """Of three shards with a table of negatives."""
    found = default_config() | {"negatives": {"number": 2, "rule": "label"}}
    found["data"]["shard_records"] = 500
    return found


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Records; read only."""
    return pretokenize(config(), tmp_path_factory.mktemp("whole") / "records")


@pytest.fixture
def records(whole, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(whole, tmp_path / "records")


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "missing": lambda d: (d / TRAIN[1]).unlink(),
    "empty": lambda d: (d / TRAIN[1]).write_bytes(b""),
    "cut": lambda d: (d / TRAIN[0]).write_bytes((d / TRAIN[0]).read_bytes()[:-9]),
    "a flipped bit": lambda d: flipped(d / TRAIN[2]),
    "longer": lambda d: (d / TEST).write_bytes((d / TEST).read_bytes() + b"0"),
    "of another split": lambda d: shutil.copy(d / TEST, d / TRAIN[2]),
    "changed places": lambda d: shutil.copy(d / TRAIN[0], d / TRAIN[1]),
    "a table missing": lambda d: (d / TABLE).unlink(),
    "a table flipped": lambda d: flipped(d / TABLE),
    "all gone": lambda d: [(d / n).unlink() for n in (*TRAIN, TEST, TABLE)],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_made_again(whole, records, damage, monkeypatch, capsys):
    damage(records)
    bad = {n for n, b in contents(whole).items() if contents(records).get(n) != b}
    written, write = [], shard_set.write_shard
    noted = lambda path, *args: (written.append(path.name), write(path, *args))[1]
    monkeypatch.setattr(shard_set, "write_shard", noted)
    with pytest.raises(InputError, match="mode=pretokenize"):
        check_shards(read_card(records))
    pretokenize(config(), records)
    assert contents(records) == contents(whole)
    assert set(written) == bad - {TABLE}
    told = capsys.readouterr().out
    assert all(name in told for name in bad) and "5 files" in told


@pytest.mark.parametrize("stage", [True, False])
def test_training_names_the_command_that_repairs(digits_records, tmp_path, stage):
    """The advice, letter by letter, for a stage's records and for others."""
    run = tmp_path / "run"
    place = run / "records" if stage else tmp_path / "own"
    shutil.copytree(digits_records, place)
    (place / TEST).unlink()
    flags = [] if stage else [f"--config.data.path={place}"]
    code, text = tiny.run(*tiny.flags(), f"--workdir={run}", *flags)
    assert code == 1 and TEST in text and not (place / TEST).exists()
    command = f"python -m cdcd_jax.main --mode=pretokenize --workdir={place}"
    assert f"`{command}`" in text
    code, text = tiny.run(*command.split()[3:])
    assert code == 0, text
    assert contents(place) == contents(digits_records)


def test_a_killed_repair_goes_on(whole, records, monkeypatch):
    for name in TRAIN:
        (records / name).unlink()
    written = kill_at_second_shard(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        pretokenize(config(), records)
    pretokenize(config(), records)
    assert written == [TRAIN[0], TRAIN[1], TRAIN[1], TRAIN[2]]
    assert contents(records) == contents(whole)


def test_other_raw_data_repair_nothing(records, monkeypatch):
    """What is made again is compared with the card before it takes a place."""
    flipped(records / TRAIN[1])
    before = contents(records)
    load = shard_set.ShardSet.load

    def other(self, row):
        example = load(self, row)
        return {**example, "image": example["image"] * (row != 700)}

    monkeypatch.setattr(shard_set.ShardSet, "load", other)
    with pytest.raises(InputError, match=f"{TRAIN[1]} made again with other bytes"):
        pretokenize(config(), records)
    assert contents(records) == before and not (records / FOLDER).exists()


def test_classes_of_the_raw_data_that_changed_repair_nothing(records):
    card = read_card(records)
    label = {**card.conditions["label"], "names": [str(i) for i in range(10)]}
    write_card(dataclasses.replace(card, conditions={"label": label}))
    (records / TRAIN[1]).unlink()
    before = contents(records)
    with pytest.raises(InputError, match="the condition label"):
        pretokenize(config(), records)
    assert contents(records) == before


def test_shards_of_no_card_are_named_and_stay(records, capsys):
    extra = records / "train-00003-of-00004.arrayrecord"
    shutil.copy(records / TEST, extra)
    pretokenize(config(), records)
    assert f"does not name {extra.name}" in capsys.readouterr().out
    assert extra.exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["splits"]["test"].update(shards=[], num_records=0), "no shard"),
        (lambda c: c.update(splits={}), "no split"),
    ],
)
def test_a_card_without_shards_is_bad(records, change, says):
    card = json.loads((records / "dataset.json").read_text())
    change(card)
    (records / "dataset.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match=f"{says}.*delete.*--mode=pretokenize"):
        pretokenize(config(), records)


def test_a_card_that_tells_no_config_repairs_nothing(make_dataset, tmp_path):
    make_dataset(3)
    code, text = tiny.run("--mode=pretokenize", f"--workdir={tmp_path}")
    assert code == 1 and "Found no config in the card" in text


def test_a_vocabulary_is_made_again(tmp_path):
    raw = dict(raw="captioned_digits", options=dict(train_examples=12, test_examples=4))
    made = default_config() | dict(
        data={**default_config()["data"], **raw},
        grid=(16, 16),
        text=dict(vocabulary="trained", size=64, length=16),
    )
    records = pretokenize(made, tmp_path / "records")
    before = contents(records)
    for damage in ("", "{}", None):
        path = records / "text-vocabulary.json"
        path.write_text(damage) if damage is not None else path.unlink()
        pretokenize(made, records)
        assert contents(records) == before
