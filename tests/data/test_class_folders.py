"""Tests of folders that are splits, classes, or neither, in pictures and sounds."""

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from made_folders import make

from cdcd_jax.data import class_folders
from cdcd_jax.data.sources import open_source
from cdcd_jax.errors import InputError

FLAT = ["cat/0.png", "cat/1.png", "dog/2.png", "dog/3.png"]
PARTED = ["train/cat/0.png", "train/dog/1.png", "test/cat/2.png"]


def pictures(root: Path, names: list[str], **options: Any) -> Any:
    return open_source("image_folder", str(make(root, names)), {"size": 4, **options})


def sounds(root: Path, names: list[str], **options: Any) -> Any:
    names = [name.replace(".png", ".wav") for name in names]
    options = {"sample_rate": 8000, "seconds": 0.1, **options}
    return open_source("audio_folder", str(make(root, names)), options)


def renamed(train: str, test: str) -> list[str]:
    return [n.replace("train", train).replace("test", test) for n in PARTED]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        *(("Train", "Test"), ("TRAIN", "VAL"), ("training", "testing")),
        *(("train", "validation"), ("Training", "eval"), ("train", "Valid")),
        *(("train", "evaluation"), ("train", "TEST")),
    ],
)
def test_names_of_splits(tmp_path: Path, train: str, test: str) -> None:
    names = renamed(train, test)
    source = pictures(tmp_path, names)
    assert source.classes == ["cat", "dog"]
    assert source.files == {"train": names[:2], "test": names[2:]}
    plain = pictures(tmp_path, [], labels=False)
    assert plain.files == source.files and plain.classes == []
    clips = sounds(tmp_path / "s", names, split="folder")
    assert clips.classes == ["cat", "dog"]
    assert [len(clips.clips[split]) for split in ("train", "test")] == [2, 1]
    with pytest.raises(InputError, match="split='folder'"):
        sounds(tmp_path / "s", [])


def test_splits_inside_of_classes(tmp_path: Path) -> None:
    names = ["cat/train/0.png", "cat/test/1.png", "dog/Train/2.png"]
    source = pictures(tmp_path, names)
    assert source.classes == ["cat", "dog"]
    assert source.files == {"train": [names[0], names[2]], "test": [names[1]]}
    assert source.split("train").example(1)["condition"]["label"] == 1
    assert sounds(tmp_path / "s", names, split="folder").classes == ["cat", "dog"]
    assert pictures(tmp_path, [], labels=False).files == source.files


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([*PARTED, "Train/cat/9.png"], "Train, train .* one split"),
        ([*PARTED, "val/cat/9.png", "valid/cat/9.png"], "val, valid .* one split"),
        ([*FLAT, "test/cat/9.png"], "folder test .* without train"),
        ([*PARTED, "cat/9.png"], "classes cat .* beside test, train"),
        ([*PARTED[:2], "test/cat/0.heic"], r"in .*test .left out: .heic .1.."),
        ([*PARTED, "test/dog/3.png -> ../../train/dog/1.png"], "no picture in .*dog"),
        (
            ["cat/train/0.png", "cat/test/1.png", "dog/2.png"],
            "cat.* but in .*dog files",
        ),
        (["cat/0.png", "cat/test/1.png", "dog/2.png"], "but in .*cat files"),
        ([f"pictures/{name}" for name in FLAT], "cat, dog in .*pictures,.* too high"),
        ([f"pictures/{name}" for name in PARTED], "pictures/train,.* too high"),
        (
            [f"{name.split('/')[0]}/{name}" for name in PARTED],
            "cat, dog in .*train/train,.* too high",
        ),
        ([*PARTED, "train/test/cat/9.png"], "folder test beside classes"),
        (renamed("train_images", "test_images"), "look like splits"),
        (renamed("trainset", "testset"), "look like splits"),
        (renamed("train2017", "val2017"), "look like splits"),
        (["train/0.png", "test/1.png"], "look like splits"),
        (["0.png", "1.png"], "too low"),
        ([*FLAT, "test/0.png"], "folder test beside classes.* called like a split"),
        ([*FLAT, "Valid/0.png"], "folder Valid beside classes"),
        ([*PARTED, "train/val/0.png"], "folder val beside classes"),
        ([*FLAT, "0.png"], "outside class folders"),
        ([*FLAT, "emu/0.heic"], r"no picture in .*emu .left out: .heic"),
        (["cat/0.heic", "dog/0.heic"], r"no picture below .*.heic .2."),
        (["train/cat/0.png", "train/dog/1.png", "test/emu/2.png"], "class 'emu'"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(
    tmp_path: Path, names: list[str], says: str
) -> None:
    with pytest.raises(InputError, match=says) as caught:
        pictures(tmp_path, names)
    assert "path/<class>/*.jpg" in str(caught.value)


@pytest.mark.parametrize(
    ("names", "classes", "line"),
    [
        (FLAT, "cat dog", ""),
        (["plane/0.png", "train/1.png", "train/2.png"], "plane train", ""),
        ([*FLAT, "train_station/0.png"], "cat dog train_station", ""),
        ([*FLAT, "cat/big/9.png"], "cat dog", ""),
        ([*FLAT, "kitten -> cat"], "cat dog", "that are read already (1)"),
        ([*PARTED, "more/8.png"], "cat dog", "beside the splits, in more (1)"),
        ([*FLAT, "a.txt", "cat/b.txt", "cat/c.mp4"], "cat dog", ".txt (2), .mp4 (1)"),
        (
            [f"{part}/{name}" for part in ("a", "b") for name in FLAT],
            "a b",
            "classes a, b has the folders cat, dog, which are not told apart",
        ),
    ],
)
def test_what_is_read_and_what_is_said(
    tmp_path: Path, capsys, names: list[str], classes: str, line: str
) -> None:
    source = pictures(tmp_path, names)
    assert source.classes == classes.split()
    said = capsys.readouterr().err
    assert (line in said) if line else not said
    pictures(tmp_path, [])
    assert not capsys.readouterr().err  # said once


def test_every_sound_is_read_or_counted(tmp_path: Path, capsys) -> None:
    names = [
        f"{c}/{n}" for c in ("waltz", "swing") for n in ("0.WAV", "1.aif", "2.opus")
    ]
    source = sounds(tmp_path, [*names, "waltz/3.m4a", "swing/3.m4a", "swing/4"])
    found = [clip.name for clips in source.clips.values() for clip in clips]
    assert sorted(found) == sorted(names)
    assert ".m4a (2), without a suffix (1)" in capsys.readouterr().err
    assert source.card()["left_out"] == {".m4a": 2, "without a suffix": 1}
    for clips in (source.split("train"), source.split("test")):
        for index in range(len(clips)):
            assert abs(clips.example(index)["audio"].max() - 0.5) < 0.1


def test_every_picture_is_read_or_counted(tmp_path: Path) -> None:
    names = ["cat/0.png", "cat/1.tga", "dog/2.JPG", "dog/3.bmp"]
    source = pictures(tmp_path, [*names, "dog/4.heic", "cat/5.eps", "cat/6.pdf"])
    assert sorted(n for split in source.files.values() for n in split) == names
    assert source.card()["left_out"] == {".eps": 1, ".heic": 1, ".pdf": 1}
    for split in source.files:
        for index in range(len(source.files[split])):
            assert (abs(source.split(split).example(index)["image"] - 9.0) < 3).all()


def test_pooled_splits_are_told(tmp_path: Path, capsys) -> None:
    source = sounds(tmp_path, ["train/0.wav", "test/1.wav"], label="none")
    assert sum(map(len, source.clips.values())) == 2
    assert "test, train were put together" in capsys.readouterr().err


def test_a_list_may_name_files_by_links_and_in_another_form(tmp_path: Path) -> None:
    nfd = unicodedata.normalize("NFD", "a/caf\u00e9.wav")
    make(tmp_path, [nfd, "a/1.wav", "a/3.wav", "b/2.wav", "b/link.wav -> ../a/1.wav"])
    (tmp_path / "test.txt").write_text("a/caf\u00e9.wav\nb/link.wav\n")
    source = sounds(tmp_path, [], split="list")
    assert sorted(clip.name for clip in source.clips["test"]) == ["a/1.wav", nfd]
    assert source.card()["left_out"] == {"links to files that are read already": 1}


def test_two_names_of_one_sound_by_pattern_are_refused(tmp_path: Path) -> None:
    names = ["../o/x.wav", "1_a.wav -> ../o/x.wav", "2_a.wav -> ../o/x.wav"]
    options = dict(label="pattern", pattern=r"(?P<label>\d)_(?P<group>\w+)")
    with pytest.raises(InputError, match=r"two names.*1_a\.wav and 2_a\.wav"):
        sounds(tmp_path / "root", [*names, "3_b.wav"], **options)


def test_groups_and_patterns_in_any_form(tmp_path: Path) -> None:
    names = ["1_é.wav", "2_é.wav", "1_b.wav"]
    names = [unicodedata.normalize("NFD", name) for name in names]
    options = dict(label="pattern", pattern=r"(?P<label>\d)_(?P<group>\w+)")
    source = sounds(tmp_path, names, **options, split="group", test_groups=("b",))
    assert {clip.group for clip in source.clips["train"]} == {"é"}
    options["pattern"] = r"(?P<group>\d)_(?P<label>\w+)"
    options |= dict(split="group", test_groups=(1,))
    with pytest.raises(InputError, match="test split only"):
        sounds(tmp_path, [], **options)


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (map(str, range(1, 13)), [str(n) for n in range(1, 13)]),
        (["10", "9", "09", "1"], ["1", "09", "9", "10"]),
        (["-1", "0.5", "10", "2"], ["-1", "0.5", "2", "10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["class10", "class9"], ["class10", "class9"]),
        ([str(10**20 + 1), str(10**20)], [str(10**20), str(10**20 + 1)]),
    ],
)
def test_numbers_are_sorted_as_numbers(tmp_path: Path, names: Any, order: list) -> None:
    names = list(names)
    assert class_folders.sort_classes(names) == order
    source = pictures(tmp_path, [f"{name}/{i}.png" for name in names for i in range(2)])
    assert source.classes == order
    card = source.card()["conditions"]["label"]
    assert card["names"] == order
    for split in source.files:
        part = source.split(split)
        for index in range(len(part)):
            example = part.example(index)
            folder = example["key"].split("/")[0]
            assert order[example["condition"]["label"]] == folder


def test_a_class_in_two_unicode_forms_is_one(tmp_path: Path) -> None:
    nfc, nfd = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    names = [f"train/{nfd}/0.png", "train/dog/1.png", f"test/{nfc}/2.png"]
    source = pictures(tmp_path, names)
    assert source.classes == [nfc, "dog"]
    assert source.split("test").example(0)["condition"]["label"] == 0


def test_earlier_draws_stay(tmp_path: Path) -> None:
    """The random split of a folder without links, as version 0.1.0 drew it."""
    names = [f"{c}/{i}.jpg" for c in ("cat", "dog") for i in range(10)]
    source = pictures(tmp_path, [*names, "cat/more.txt"], test_fraction=0.2)
    assert source.files["test"] == ["cat/2.jpg", "cat/4.jpg", "cat/6.jpg", "dog/9.jpg"]


@pytest.mark.parametrize(
    "folders",
    [
        ["Pets/Pets/cat", "Pets/Pets/dog"],  # unpacked into a folder of its name
        ["fold1/cat", "fold1/dog", "fold2/cat", "fold2/dog"],
        ["fold1", "fold2", "fold10"],
        ["trainA", "trainB", "testA", "testB"],
        ["imagesTrain", "imagesTest"],
    ],
)
def test_folders_that_are_no_classes(tmp_path: Path, folders: list[str]) -> None:
    names = [f"{folder}/{i}.png" for folder in folders for i in range(2)]
    for opened in (pictures, sounds):
        with pytest.raises(InputError, match="folders"):
            opened(tmp_path / opened.__name__, names)


@pytest.mark.parametrize(("train", "test"), [("trn", "tst"), ("train", "dev")])
def test_short_names_of_splits(tmp_path: Path, train: str, test: str) -> None:
    names = renamed(train, test)
    source = pictures(tmp_path, names)
    assert source.classes == ["cat", "dog"]
    assert set(source.files["train"]) == {n for n in names if n.startswith(train)}
