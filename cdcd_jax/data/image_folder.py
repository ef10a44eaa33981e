"""Raw source `image_folder`: pictures in class sub-folders.

    path/train/<class>/*.jpg           path/<class>/train/*.jpg       path/<class>/*.jpg
    path/val/<class>/*.jpg     or      path/<class>/test/*.jpg    or
    path/test/<class>/*.jpg

`class_folders` says what a folder of a split may be called. `val` without `test` serves
as the split `test`; `train` alone, and the last tree, give `test_fraction` of their
pictures, drawn by the seed, to `test`. Classes are numbered in the order of their
sorted names in `train`, as numbers where all are. With labels=False the pictures may
lie at any depth and have no condition.

What Pillow decodes is read (`images.suffixes`), each file once (`walk`); the rest is
counted by suffix, as are pictures in other folders beside `train`.

An unreadable picture is reported by name when it is reached. A class folder without
pictures, a class only in the test split, a picture outside the class folders and
folders that may be splits as well as classes are errors at the start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.data import class_folders, images
from cdcd_jax.data.folders import (
    card,
    check_options,
    class_of_example,
    divide,
    draw,
    numbered,
    open_folder,
    some_files,
    wrong_tree,
)
from cdcd_jax.data.sources import Example, known_split
from cdcd_jax.data.walk import Listing

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
path/<class>/train/*.jpg    (and path/<class>/test/*.jpg)
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
    places: class_folders.Places  # where in a name its class stands
    passed: Mapping[str, Any]  # see `sources.RawSource`: left_out and remarks

    def card(self) -> dict[str, Any]:
        """See `sources.RawSource`."""
        size = self.options["size"]
        media = {"kind": "image", "shape": [size, size, self.options["channels"]]}
        return card("image_folder", self.files, self.classes, media) | self.passed

    def split(self, name: str) -> "ImageFolderSplit":
        """The pictures of a split, in the order of their sorted names."""
        known_split(name, tuple(self.files), "image_folder")
        numbers = numbered(self.classes)
        return ImageFolderSplit(
            self.root, self.options, self.files[name], numbers, self.places
        )


@dataclass(frozen=True)
class ImageFolderSplit:
    """The key of a picture is its name relative to `root`."""

    root: Path
    options: Mapping[str, Any]
    names: list[str]
    numbers: Mapping[str, int]  # class -> label
    places: class_folders.Places

    def __len__(self) -> int:
        return len(self.names)

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """`image` uint8 [size, size, channels] and its class."""
        name = self.names[index]
        image = images.read(self.root / name)
        if self.options["channels"] == 1:
            image = image.convert("L").convert("RGB")
        square = images.fit(image, self.options["size"], rng, self.options["flip"])
        label = self.places.label(name)
        condition, groups = class_of_example(label, self.numbers)
        return {
            "key": name,
            "image": square[..., : self.options["channels"]],
            "condition": condition,
            "groups": groups,
        }


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
    labelled = options["labels"]
    listing = some_files(root, images.suffixes(), "picture", TREE)
    places = class_folders.find_places(listing, labelled, TREE)
    label = places.label if labelled else lambda name: ""
    listing.refuse_torn(lambda name: (places.split(name), label(name)))
    files = class_folders.by_split(listing, places, TREE)
    if labelled:
        _check_classes(listing, places)
    classes = class_folders.sort_classes(set(map(label, files["train"])) - {""})
    if "test" not in files:
        drawn = draw(files["train"], options["test_fraction"], seed)
        files = divide(files["train"], drawn)
    if labelled:
        for split, names in files.items():
            new = set(map(places.label, names)) - set(classes)
            if new:
                found = f"the class {min(new)!r} in {split} of {root}, but not in train"
                raise wrong_tree(found, TREE)
    read = (name for names in files.values() for name in names)
    passed = {
        "left_out": class_folders.passed_over(listing, read),
        "remarks": class_folders.remarks(listing, places) if labelled else [],
    }
    return ImageFolder(root, options, files, classes, places, passed)


def _check_classes(listing: Listing, places: class_folders.Places) -> None:
    """Raises InputError for pictures outside class folders, and empty ones of these."""
    for name in listing.files:
        if places.split(name) and not places.label(name):
            raise wrong_tree(
                f"{listing.root / name} outside class folders (is data.path one folder "
                "too low? without classes set labels=False)",
                TREE,
            )
    for folder in class_folders.without_files(listing, places):
        found = f"no picture in {listing.root / folder}{listing.told(folder)}"
        raise wrong_tree(found, TREE)
