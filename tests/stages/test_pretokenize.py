"""Tests of the mode that makes records: determinism, restart, refusals."""

import json
import re
from pathlib import Path

import ml_collections
import pytest
from made_folders import make
from PIL import Image

from cdcd_jax.config import merge
from cdcd_jax.config.records import default_config
from cdcd_jax.data.card import read_card
from cdcd_jax.data.records import check_shards
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.stages import shard_set
from cdcd_jax.stages.pretokenize import pretokenize


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def with_data(**changes) -> dict:
    config = default_config()
    config["data"] |= changes
    return config


def as_json(config: dict) -> dict:
    return json.loads(json.dumps(config))


def test_card_of_the_digits(digits_records: Path) -> None:
    card = read_card(digits_records)
    assert (card.name, card.num_codes, card.grid) == ("digits", 17, (8, 8))
    counts = {name: split.num_records for name, split in card.splits.items()}
    assert counts == {"train": 1437, "test": 360}
    assert card.conditions["label"]["num_classes"] == 10
    assert set(card.tokenizer) == {"kind", "levels", "fingerprint"}
    assert card.config == as_json(default_config())
    check_shards(card)


def test_same_config_same_bytes(digits_records: Path, tmp_path: Path) -> None:
    assert pretokenize(default_config(), tmp_path / "again") == tmp_path / "again"
    assert contents(tmp_path / "again") == contents(digits_records)


def test_one_line_says_what_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pretokenize(with_data(shard_records=1000), tmp_path)
    (line,) = capsys.readouterr().out.splitlines()
    assert str(tmp_path) in line and "train 1437, test 360" in line
    assert len(read_card(tmp_path).splits["train"].shards) == 2


def test_finished_is_left_alone(
    own_digits: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_set, "write_shard", None)
    before = contents(own_digits)
    config = ml_collections.ConfigDict(default_config() | {"grid": (8, 8)})
    assert pretokenize(config, own_digits) == own_digits
    assert contents(own_digits) == before
    assert re.fullmatch(
        f"Token records of digits are in {own_digits}: 2 files, 0.6 MiB, of the sizes "
        "and sha256 of the card\n",
        capsys.readouterr().out,
    )


def test_other_settings_are_refused(own_digits: Path) -> None:
    before = contents(own_digits)
    with pytest.raises(InputError, match=r"'seed': 0.*'seed': 1"):
        pretokenize(default_config() | {"seed": 1}, own_digits)
    config = default_config()
    config["tokenizer"]["levels"] = 16
    with pytest.raises(InputError, match="another work directory"):
        pretokenize(config, own_digits)
    assert contents(own_digits) == before


def test_killed_run_goes_on(
    digits_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretokenize(with_data(shard_records=500), tmp_path / "whole")
    written = []
    write_shard = shard_set.write_shard

    def killed_at_the_third(path: Path, *args):
        written.append(path.name)
        if len(written) == 3:
            path.with_name(path.name + ".tmp").write_bytes(b"half")
            raise Killed
        return write_shard(path, *args)

    monkeypatch.setattr(shard_set, "write_shard", killed_at_the_third)
    with pytest.raises(Killed):
        pretokenize(with_data(shard_records=500), tmp_path / "parts")
    with pytest.raises(InputError, match=r"Found no dataset\.json"):
        read_card(tmp_path / "parts")
    with pytest.raises(InputError, match=r"'seed': 0.*'seed': 1"):
        pretokenize(with_data(shard_records=500) | {"seed": 1}, tmp_path / "parts")
    pretokenize(with_data(shard_records=500), tmp_path / "parts")
    assert written == [  # what was done is not done again
        "train-00000-of-00003.arrayrecord",
        "train-00001-of-00003.arrayrecord",
        "train-00002-of-00003.arrayrecord",
        "train-00002-of-00003.arrayrecord",
        "test-00000-of-00001.arrayrecord",
    ]
    assert contents(tmp_path / "parts") == contents(whole)
    # shards are not what the records are
    assert read_card(whole).config != read_card(digits_records).config


class Killed(BaseException):
    pass


@pytest.fixture
def unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job of four shards that was killed after the second."""
    config = with_data(shard_records=500) | {"negatives": {"number": 2}}
    write_shard, written = shard_set.write_shard, []

    def killed(path: Path, *args):
        written.append(path.name)
        if len(written) == 3:
            raise Killed
        return write_shard(path, *args)

    with monkeypatch.context() as patch:
        patch.setattr(shard_set, "write_shard", killed)
        with pytest.raises(Killed):
            pretokenize(config, tmp_path)
    return tmp_path


def go_on(workdir: Path, **changes) -> Path:
    negatives = {"number": 2} | changes
    config = with_data(shard_records=500) | {"negatives": negatives}
    return pretokenize(config, workdir)


@pytest.mark.parametrize(
    "damage",
    [
        lambda note: {**note, "groups": note["groups"][:5]},
        lambda note: {**note, "counts": note["counts"][:5]},
        lambda note: {**note, "unreadable": [1]},
        lambda note: [note],
    ],
)
def test_damaged_notes_are_not_believed(unfinished: Path, damage) -> None:
    (first, _) = sorted(unfinished.glob("*.arrayrecord.json"))
    first.write_text(json.dumps(damage(json.loads(first.read_text()))))
    card = read_card(go_on(unfinished))
    assert card.splits["train"].num_records == 1437
    check_shards(card)


def test_a_shard_that_changed_is_made_again(unfinished: Path) -> None:
    (first, _) = sorted(unfinished.glob("*.arrayrecord"))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    check_shards(read_card(go_on(unfinished)))


def test_another_number_of_negatives_loses_nothing(
    unfinished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"negatives\.rule"):
        go_on(unfinished, rule="labl")
    card = read_card(go_on(unfinished, number=3))
    assert card.splits["train"].negatives.number == 3


def test_raw_data_that_changed_meanwhile(
    unfinished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cdcd_jax.data.digits import DigitsSplit

    monkeypatch.setattr(DigitsSplit, "__len__", lambda self: len(self.chosen) - 1)
    with pytest.raises(InputError, match=r"examples.*1437.*1436"):
        go_on(unfinished)


def test_a_typo_locks_no_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"negatives\.rule = 'labl'"):
        go_on(tmp_path, rule="labl")
    assert read_card(go_on(tmp_path)).splits["train"].negatives.rule == "label"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (default_config() | {"batch_size": 0}, "batch_size"),
        (default_config() | {"negatives": {"numbr": 3}}, "negatives.number"),
        (with_data(raw="digit"), "expected one of .*digits"),
        (with_data(shard_records=0), "shard_records"),
        (with_data(path="x"), "path"),
        (with_data(views=0), "data.views"),
        (default_config() | {"grid": [8, 9, 2]}, "grid"),
        (default_config() | {"seed": object()}, "expected numbers"),
    ],
)
def test_bad_config(tmp_path: Path, config: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pretokenize(config, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_images_unlike_the_grid(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected .*\[4, 16, 1\]"):
        pretokenize(default_config() | {"grid": [4, 16]}, tmp_path)
    with pytest.raises(InputError, match="Found no"):
        read_card(tmp_path)


def test_workdir_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made a directory"):
        pretokenize(default_config(), tmp_path / "file")


def folder_config(root: Path) -> dict:
    return dict(
        data=dict(
            raw="image_folder",
            path=str(root),
            options=dict(size=4, channels=1),
            shard_records=4,
        ),
        tokenizer=dict(kind="palette", levels=2),
        grid=(4, 4),
    )


def test_files_that_are_not_read_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    names = [f"{c}/{i}.png" for c in ("9", "10") for i in range(6)]
    root = make(tmp_path / "p", [*names, "9/a.heic", "9/all -> ..", "readme.md"])
    card = read_card(pretokenize(folder_config(root), tmp_path / "records"))
    counts = {".heic": 1, ".md": 1, "links to folders that are read already": 1}
    assert card.left_out == counts
    assert card.conditions["label"]["names"] == ["9", "10"]
    assert sum(split.num_records for split in card.splits.values()) == len(names)
    told = capsys.readouterr()
    assert "left out: .heic (1), .md (1), links" in told.err
    assert "not read: .heic (1), .md (1), links" in told.out
    from cdcd_jax.modes.inspect_data import describe

    assert "not read" in describe(card) and ".heic (1)" in describe(card)


def test_classes_that_changed_meanwhile(tmp_path: Path, monkeypatch) -> None:
    names = [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(6)]
    root = make(tmp_path / "p", names)

    def die(*given) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cdcd_jax.stages.pretokenize._finish", die)
    with pytest.raises(KeyboardInterrupt):
        pretokenize(folder_config(root), tmp_path / "records")
    monkeypatch.undo()
    (root / "cat").rename(root / "tom")
    with pytest.raises(InputError, match=r"classes = .*cat.*tom"):
        pretokenize(folder_config(root), tmp_path / "records")
    job = tmp_path / "records" / "pretokenize.json"
    told = json.loads(job.read_text())
    del told["classes"]  # as version 0.1.0 wrote it
    job.write_text(json.dumps(told))
    (root / "tom").rename(root / "cat")
    pretokenize(folder_config(root), tmp_path / "records")


def test_all_broken_pictures_are_named_and_read_again_when_repaired(tmp_path) -> None:
    pictures = tmp_path / "pictures"
    for i in range(20):
        file = pictures / ("cat", "dog")[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (9 * i, 0, 0)).save(file)
    broken = [pictures / "cat" / f"{i}.png" for i in (2, 6, 10)]
    sound = {file: file.read_bytes() for file in broken}
    for file in broken:
        file.write_bytes(b"")
    config = merge(
        default_config(),
        dict(
            data=dict(
                raw="image_folder", path=str(pictures), options=dict(size=8, channels=1)
            ),
            tokenizer=dict(kind="palette", levels=8),
        ),
    )
    with pytest.raises(InputError) as caught:
        pretokenize(config, tmp_path / "records")
    assert all(str(file) in str(caught.value) for file in broken)
    lenient = merge(config, dict(data=dict(unreadable=0.5)))
    left = pretokenize(lenient, tmp_path / "lenient")
    assert sum(p.num_records for p in read_card(left).splits.values()) == 17
    for file, data in sound.items():
        file.write_bytes(data)
    card = read_card(pretokenize(config, tmp_path / "records"))
    assert sum(part.num_records for part in card.splits.values()) == 20
