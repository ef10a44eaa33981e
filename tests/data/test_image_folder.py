"""Tests of the source `image_folder`."""

import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdcd_jax.data.sources import Unreadable, open_source
from cdcd_jax.errors import InputError, UsageError

CIFAR = Path(__file__).parents[2].parent / "shared" / "data" / "cifar10_train.tar.gz"


def write(path: Path, level: int = 0, mode: str = "RGB", **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (12, 8), level).convert(mode).save(path, **options)


@pytest.fixture
def parted(tmp_path: Path) -> Path:
    """Two classes, with train and test folders; pixels tell the file."""
    for number, name in enumerate(("cat/a.png", "cat/b.PNG", "dog/c.png")):
        write(tmp_path / "train" / name, 10 * number)
    write(tmp_path / "test" / "dog" / "d.png", 50)
    return tmp_path


def test_folders_of_splits(parted: Path) -> None:
    source = open_source("image_folder", str(parted), {"size": 8})
    card = source.card()
    assert card["splits"] == ("train", "test")
    assert card["media"] == {"kind": "image", "shape": [8, 8, 3]}
    assert card["conditions"]["label"]["names"] == ["cat", "dog"]
    assert card["conditions"]["label"]["num_classes"] == 2
    train = source.split("train")
    found = [train.example(i) for i in range(len(train))]
    assert [e["key"] for e in found] == [
        "train/cat/a.png",
        "train/cat/b.PNG",
        "train/dog/c.png",
    ]
    assert [int(e["condition"]["label"]) for e in found] == [0, 0, 1]
    assert [e["groups"] for e in found] == [{"label": "cat"}] * 2 + [{"label": "dog"}]
    for number, example in enumerate(found):
        assert example["image"].shape == (8, 8, 3)
        assert (example["image"] == 10 * number).all()
        assert example["condition"]["label"].dtype == np.int32
    assert source.split("test").example(0)["condition"]["label"] == 1


def test_val_serves_as_test_unless_there_is_one(parted: Path) -> None:
    (parted / "test").rename(parted / "val")
    source = open_source("image_folder", str(parted), {"size": 8})
    assert source.card()["splits"] == ("train", "test")
    assert source.split("test").example(0)["key"] == "val/dog/d.png"
    write(parted / "test" / "cat" / "e.png")
    source = open_source("image_folder", str(parted), {"size": 8})
    assert source.card()["splits"] == ("train", "val", "test")


@pytest.mark.parametrize("folder", ["", "train"])
def test_seed_draws_the_test_split(tmp_path: Path, folder: str) -> None:
    for number in range(20):
        write(tmp_path / folder / f"{number % 2}" / f"{number:02d}.jpg", number)

    def keys(seed: int) -> list[list[str]]:
        options = {"size": 8, "test_fraction": 0.25}
        source = open_source("image_folder", str(tmp_path), options, seed)
        assert source.card()["conditions"]["label"]["names"] == ["0", "1"]
        splits = [source.split(name) for name in ("train", "test")]
        return [[s.example(i)["key"] for i in range(len(s))] for s in splits]

    train, test = keys(0)
    assert (len(train), len(test)) == (15, 5)
    assert len({*train, *test}) == 20 and train == sorted(train)
    assert keys(0) == [train, test] and keys(1)[1] != test


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("plane", "train"):
        for number in range(3):
            write(tmp_path / name / f"{number}.png")
    card = open_source("image_folder", str(tmp_path), {"size": 8}).card()
    assert card["conditions"]["label"]["names"] == ["plane", "train"]


def test_without_labels(tmp_path: Path) -> None:
    for name in ("a.png", "deep/er/b.png", "deep/c.png"):
        write(tmp_path / name)
    options = {"size": 8, "labels": False}
    source = open_source("image_folder", str(tmp_path), options)
    assert source.card()["conditions"] == {}
    example = source.split("train").example(0)
    assert example["condition"] == {} and example["groups"] == {}


def test_grey_channel(parted: Path) -> None:
    source = open_source("image_folder", str(parted), {"size": 8, "channels": 1})
    assert source.card()["media"]["shape"] == [8, 8, 1]
    example = source.split("test").example(0)
    assert example["image"].shape == (8, 8, 1) and (example["image"] == 50).all()


def test_odd_modes(tmp_path: Path) -> None:
    for number, (mode, suffix) in enumerate(
        [("L", "jpg"), ("CMYK", "jpg"), ("RGBA", "png"), ("P", "gif"), ("1", "png")]
    ):
        write(tmp_path / "train" / "x" / f"{number}.{suffix}", 255, mode)
    write(tmp_path / "test" / "x" / "0.webp")
    split = open_source("image_folder", str(tmp_path), {"size": 4}).split("train")
    for index in range(len(split)):
        assert (split.example(index)["image"] >= 254).all()


def test_unreadable_pictures_are_named(parted: Path) -> None:
    split = open_source("image_folder", str(parted), {"size": 8}).split("train")
    bad = parted / "train" / "cat" / "a.png"
    bad.write_bytes(bad.read_bytes()[:50])
    with pytest.raises(Unreadable, match="not a whole picture") as caught:
        split.example(0)
    assert caught.value.name == str(bad)
    bad.unlink()
    with pytest.raises(Unreadable, match="No such file"):
        split.example(0)
    split.example(1)


def test_views_are_random_and_threads_may_share(parted: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(parted / "train" / "cat" / "a.png")
    split = open_source("image_folder", str(parted), {"size": 8}).split("train")

    def view(seed: int) -> bytes:
        return split.example(0, np.random.default_rng(seed))["image"].tobytes()

    alone = [view(seed) for seed in range(16)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(view, range(16))) == alone
    assert len(set(alone)) > 8


def test_wrong_trees_are_shown(parted: Path) -> None:
    def refuse(path: Path | str, match: str, **options) -> None:
        with pytest.raises(InputError, match=match) as caught:
            open_source("image_folder", str(path), {"size": 8, **options})
        assert "path/train/<class>/*.jpg" in str(caught.value)

    refuse("", "no data.path")
    refuse(parted / "none", "no folder")
    (parted / "empty").mkdir()
    refuse(parted / "empty", "no picture below")
    write(parted / "flat" / "a.png")
    refuse(parted / "flat", "outside class folders")
    (parted / "train" / "bird").mkdir()
    refuse(parted, "no picture in .*bird")
    (parted / "train" / "bird").rmdir()
    write(parted / "test" / "emu" / "x.png")
    refuse(parted, "the class 'emu'")


def test_bad_options(parted: Path) -> None:
    for options in (
        {"size": 0},
        {"channels": 2},
        {"test_fraction": 1.0},
        {"size": "8"},
        {"width": 8},
    ):
        with pytest.raises(UsageError, match=next(iter(options))):
            open_source("image_folder", str(parted), options)
    source = open_source("image_folder", str(parted), {"size": 8})
    with pytest.raises(UsageError, match="train, test"):
        source.split("valid")


def test_one_picture_cannot_be_split(tmp_path: Path) -> None:
    write(tmp_path / "x" / "a.png")
    with pytest.raises(InputError, match="two or more"):
        open_source("image_folder", str(tmp_path), {"size": 8})


@pytest.mark.skipif(not CIFAR.exists(), reason="needs the CIFAR-10 archive")
def test_real_photographs(tmp_path: Path) -> None:
    with tarfile.open(CIFAR) as archive:
        for number, member in enumerate(archive):
            if number > 300:
                break
            archive.extract(member, tmp_path, filter="data")
    for empty in (tmp_path / "train").iterdir():
        if not any(empty.iterdir()):
            empty.rmdir()
    source = open_source("image_folder", str(tmp_path), {"size": 32})
    image = source.split("train").example(0)["image"]
    assert image.shape == (32, 32, 3) and image.std() > 10
