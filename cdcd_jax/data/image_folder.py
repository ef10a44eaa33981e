"""Raw source `image_folder`: pictures in class sub-folders.

Two trees are read:

    path/train/<class>/*.jpg           path/<class>/*.jpg
    path/val/<class>/*.jpg     or
    path/test/<class>/*.jpg

In the first, `val` without `test` serves as the split `test`; `train` alone, and the
second tree, give `test_fraction` of their pictures, drawn by the seed, to `test`.
Classes are numbered in the order of their sorted names in `train`. With labels=False
the pictures may lie at any depth and have no condition. Suffixes: `images.SUFFIXES`;
files with others are not read, nor are other folders beside `train`.

An unreadable picture is reported by name when it is reached. A class folder without
pictures, a class only in the test split and a picture outside the class folders are
errors at the start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.data import images
from cdcd_jax.data.folders import (
    card,
    check_options,
    class_of_example,
    divide,
    draw,
    numbered,
    open_folder,
    some_below,
    subfolders,
    wrong_tree,
)
from cdcd_jax.data.sources import Example, known_split

OPTIONS: dict[str, Any] = {
    "size": 256,  # of the square, in pixels
    "channels": 3,  # 1 makes grey levels
    "flip": True,  # mirror half of the augmented views
    "labels": True,  # the class folder's name is the condition `label`
    "test_fraction": 0.1,  # where there is no test folder
}
TREE = """
path/train/<class>/*.jpg    (also .png, .webp, ...)
path/test/<class>/*.jpg     (or val/; without them a part of train is drawn)
or
path/<class>/*.jpg
"""


@dataclass(frozen=True)
class ImageFolder:
    """The pictures below `root`; see the top of this file."""

    root: Path
    options: Mapping[str, Any]
    files: Mapping[str, list[str]]  # split -> names relative to root
    classes: list[str]  # empty without labels
    depth: int  # of the class folders: 1 below "train/", else 0

    def card(self) -> dict[str, Any]:
        """See `sources.RawSource`."""
        size = self.options["size"]
        media = {"kind": "image", "shape": [size, size, self.options["channels"]]}
        return card("image_folder", self.files, self.classes, media)

    def split(self, name: str) -> "ImageFolderSplit":
        """The pictures of a split, in the order of their sorted names."""
        known_split(name, tuple(self.files), "image_folder")
        numbers = numbered(self.classes)
        return ImageFolderSplit(
            self.root, self.options, self.files[name], numbers, self.depth
        )


@dataclass(frozen=True)
class ImageFolderSplit:
    """The key of a picture is its name relative to `root`."""

    root: Path
    options: Mapping[str, Any]
    names: list[str]
    numbers: Mapping[str, int]  # class -> label
    depth: int

    def __len__(self) -> int:
        return len(self.names)

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """`image` uint8 [size, size, channels] and its class."""
        name = self.names[index]
        image = images.read(self.root / name)
        if self.options["channels"] == 1:
            image = image.convert("L").convert("RGB")
        square = images.fit(image, self.options["size"], rng, self.options["flip"])
        folder = _class_of(name, self.depth) if self.numbers else ""
        condition, groups = class_of_example(folder, self.numbers)
        return {
            "key": name,
            "image": square[..., : self.options["channels"]],
            "condition": condition,
            "groups": groups,
        }


def _class_of(name: str, depth: int) -> str:
    return name.split("/")[depth]


def open_source(path: str, options: Mapping[str, Any], seed: int) -> ImageFolder:
    """The source; lists the files and opens none.

    Raises:
        UsageError: a bad option.
        InputError: not such a tree.
    """
    check_options(
        options,
        positive=["size"],
        fractions=["test_fraction"],
        choices={"channels": (1, 3)},
    )
    root = open_folder(path, "image_folder", TREE)
    labels = options["labels"]
    parts = _parts(root, labels)
    files = {split: _listed(root, folder, labels) for split, folder in parts.items()}
    depth = 1 if parts["train"] else 0
    classes = sorted(
        {_class_of(name, depth) for name in files["train"]} if labels else []
    )
    if "test" not in files:
        drawn = draw(files["train"], options["test_fraction"], seed)
        files = divide(files["train"], drawn)
    if labels:
        for split, names in files.items():
            new = {_class_of(name, depth) for name in names} - set(classes)
            if new:
                found = f"the class {min(new)!r} in {root / split}, but not in train"
                raise wrong_tree(found, TREE)
    return ImageFolder(root, options, files, classes, depth)


def _parts(root: Path, labels: bool) -> dict[str, str]:
    """Split -> its folder below `root` ("" is root itself)."""
    train = root / "train"
    # a class of locomotives may be called train, too
    if not train.is_dir() or (labels and not subfolders(train)):
        return {"train": ""}
    parts = {"train": "train"}
    for name in ("val", "test"):
        if (root / name).is_dir():
            parts[name] = name
    if "val" in parts and "test" not in parts:
        parts["test"] = parts.pop("val")
    return parts


def _listed(root: Path, folder: str, labels: bool) -> list[str]:
    inside = some_below(root / folder, images.SUFFIXES, "picture", TREE)
    if labels:
        stray = [name for name in inside if "/" not in name]
        if stray:
            raise wrong_tree(f"{root / folder / stray[0]} outside class folders", TREE)
        full = {name.split("/")[0] for name in inside}
        empty = [name for name in subfolders(root / folder) if name not in full]
        if empty:
            raise wrong_tree(f"no picture in {root / folder / empty[0]}", TREE)
    return [f"{folder}/{name}" if folder else name for name in inside]
