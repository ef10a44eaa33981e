"""Which folders of a tree are splits and which are classes.

    <split>/<class>/...     <class>/<split>/...     <class>/...     <split>/...

A split's folder is called train, training or trn; val, valid, validation, eval,
evaluation or dev; test, testing or tst; in any case. A folder train that has files in
it, and no folders, may be a class of that name. What can be read in two ways is
refused, since a split that is taken for a class (or a class for a split) shows nowhere
else.
"""

import decimal
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from cdcd_jax.data.folders import wrong_tree
from cdcd_jax.data.names import same_name
from cdcd_jax.data.walk import Listing, counted

_NAMES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "eval", "evaluation", "dev"),
    "test": ("test", "testing", "tst"),
}
_SPLITS = {name: split for split, names in _NAMES.items() for name in names}
_SHOWN = 6  # names in a message
_PART = re.compile(r"k?[-_ ]?(fold|split)[-_ ]?\d+", re.IGNORECASE)
# between words of a folder's name, such as train_images, imagesTrain and trainA
_BETWEEN = re.compile(r"[^A-Za-z]+|(?<=[a-z])(?=[A-Z])")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


class Places(NamedTuple):
    """Where in a file's name its split and its class stand, as numbers of folders."""

    split_at: int | None
    class_at: int

    def split(self, name: str) -> str:
        """train, val or test; "" for a file beside their folders."""
        if self.split_at is None:
            return "train"
        return split_of(_folders(name)[self.split_at :][:1])

    def label(self, name: str) -> str:
        """The class; "" where there is no folder of it."""
        return same_name("".join(_folders(name)[self.class_at :][:1]))


def _folders(name: str) -> list[str]:
    return name.split("/")[:-1]


def split_of(folder: Sequence[str]) -> str:
    """The split that [name] of a folder says; "" where it says none."""
    return _SPLITS.get(same_name("".join(folder)).strip().lower(), "")


def sort_classes(names: Iterable[str]) -> list[str]:
    """Different names in order, as numbers where all are numbers."""
    different = set(names)
    if all(_NUMBER.fullmatch(name) for name in different):
        return sorted(different, key=lambda name: (decimal.Decimal(name), name))
    return sorted(different)


def find_places(listing: Listing, labelled: bool, tree: str) -> Places:
    """How the folders of a listing are to be read.

    Args:
        labelled: whether folders are classes; otherwise they may lie at any depth.
        tree: what is expected, for the error.

    Raises:
        InputError: splits beside classes, splits in some classes only, twice the same
            split, a test split without training, or one folder too many.
    """
    tops = _children(listing, "")
    parts = {name: split_of([name]) for name in tops if split_of([name])}
    if labelled:  # a class of locomotives may be called train, too
        inner = {name.split("/")[0] for name in listing.folders if "/" in name}
        parts = {name: split for name, split in parts.items() if name in inner}
    if parts:
        _check_splits(listing, parts, tops, labelled, tree)
        places = Places(0, 1)
    else:
        inside = _splits_inside(listing, tops, labelled, tree)
        places = Places(1 if inside else None, 0)
        if places.split_at is None:
            _refuse_likely(listing, tops, labelled, tree)
    if labelled:
        _check_level(listing, places, tree)
    return places


def _children(listing: Listing, folder: str) -> dict[str, list[str]]:
    """Folders that have files in them -> these files, relative to `folder`."""
    start, found = f"{folder}/" if folder else "", defaultdict(list)
    for name in listing.files:
        top, slash, inside = name.removeprefix(start).partition("/")
        if slash and name.startswith(start):
            found[top].append(inside)
    return found


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)


def _check_splits(
    listing: Listing,
    parts: Mapping[str, str],
    tops: Mapping[str, list[str]],
    labelled: bool,
    tree: str,
) -> None:
    """Args: parts: folder -> its split."""
    root = listing.root
    for split in set(parts.values()):
        same = [name for name in parts if parts[name] == split]
        if len(same) > 1:
            found = f"the folders {_some(same)} in {root}, which are one split"
            raise wrong_tree(found, tree)
    if "train" not in parts.values():
        raise wrong_tree(f"the folder {_some(parts)} in {root} without train", tree)
    inside = {top for part in parts for top in _children(listing, part)}
    beside = [name for name in tops if name in inside and name not in parts]
    if labelled and beside:
        found = f"the classes {_some(beside)} in {root} beside {_some(parts)}"
        raise wrong_tree(found, tree)


def _splits_inside(
    listing: Listing, tops: Mapping[str, list[str]], labelled: bool, tree: str
) -> bool:
    """Whether each class has train/ in it, some test/ or val/, and nothing else."""
    inner = {
        top: {n.rpartition("/")[0].split("/")[0] for n in tops[top]} for top in tops
    }
    splits = {top: [split_of([name]) for name in sorted(inner[top])] for top in tops}
    held_out = [top for top in tops if {"val", "test"} & set(splits[top])]
    if not labelled:  # somebody's test shots are no split
        held_out = [top for top in held_out if "train" in splits[top]]
    if not held_out:
        return False
    for top, found in splits.items():
        if "" in found or "train" not in found or len(found) > len(set(found)):
            first, folder = held_out[0], listing.root / top
            raise wrong_tree(
                f"the folders {_some(sorted(inner[first] - {''}))} in "
                f"{listing.root / first}, but in {folder} "
                f"{_some(sorted(name or 'files' for name in inner[top]))}",
                tree,
            )
    return True


def _refuse_likely(
    listing: Listing, tops: Mapping[str, list[str]], labelled: bool, tree: str
) -> None:
    """Raises InputError for folders like train_images, test_images or fold1, fold2."""
    if labelled and len(tops) > 1 and all(map(_PART.fullmatch, tops)):
        raise wrong_tree(
            f"the folders {_some(tops)} in {listing.root}, which look like parts of a "
            "set and not like classes (put them together, or name classes otherwise)",
            tree,
        )
    likely = {}
    for top in tops:
        words = (word.lower().removesuffix("set") for word in _BETWEEN.split(top))
        if found := {split_of([word]) for word in words} - {""}:
            likely[top] = found
    if len(likely) < len(tops):  # some may be classes with files in them
        nested = lambda top: all("/" in name for name in tops[top])
        likely = {top: found for top, found in likely.items() if nested(top)}
    kinds = set().union(*likely.values())
    if labelled and "train" in kinds and len(kinds) > 1:
        raise wrong_tree(
            f"the folders {_some(likely)} in {listing.root}, which look like splits "
            "(call them train, val and test, with a folder for each class in them, or "
            "read them without classes)",
            tree,
        )


def _check_level(listing: Listing, places: Places, tree: str) -> None:
    """Raises InputError where a class is a folder of folders that cannot be one."""
    train = [name for name in listing.files if places.split(name) == "train"]
    labels = {places.label(name) for name in train}
    last = max(places.split_at or 0, places.class_at)
    deeper = {"/".join(_folders(name)[last + 1 :]) for name in train}
    if "" not in deeper:  # the first folders below that differ
        common = len(os.path.commonpath(deeper).split("/")) if len(labels) == 1 else 0
        deeper = {"/".join(name.split("/")[: common + 1]) for name in deeper}
    nested = "" not in deeper and len(deeper) > 1
    # <class>/train/ may itself be a set of classes
    if "" not in labels and nested and (len(labels) == 1 or places.split_at == 1):
        top = "/".join(_folders(train[0])[: last + 1])
        raise wrong_tree(
            f"the folders {_some(sorted(deeper))} in {listing.root / top}, where "
            "pictures or sounds of one class should be (is data.path one folder too "
            "high?)",
            tree,
        )
    # a folder of files may be a class of locomotives, but no class is called test
    flat = {places.label(name) for name in train if not _folders(name)[last + 1 :]}
    called = {label: split_of([label]) for label in labels if split_of([label])}
    odd = [label for label in called if called[label] != "train" or label not in flat]
    if odd:
        raise wrong_tree(
            f"the folder {_some(sorted(odd))} beside classes in {listing.root}, which "
            "is called like a split",
            tree,
        )


def remarks(listing: Listing, places: Places) -> list[str]:
    """What the user should know of how folders were taken for classes."""
    inner: dict[str, set[str]] = defaultdict(set)
    last = max(places.split_at or 0, places.class_at)
    for name in listing.files:
        if places.split(name):
            inner[places.label(name)].add("/".join(_folders(name)[last + 1 :][:1]))
    common = set.intersection(*inner.values()) if inner else set()
    if len(inner) > 1 and len(common) > 1 and "" not in common:
        return [
            f"each of the {len(inner)} classes {_some(sorted(inner))} has the folders "
            f"{_some(sorted(common))}, which are not told apart"
        ]
    return []


def without_files(listing: Listing, places: Places) -> list[str]:
    """Folders that would be classes, and have no file in them that is read."""
    full = {"/".join(n.split("/")[: places.class_at + 1]) for n in listing.files}
    # as if a file were there
    inside = "{}/train/x" if places.split_at == 1 else "{}/x"
    return [
        folder
        for folder in listing.folders
        if folder.count("/") == places.class_at and folder not in full
        if places.split(inside.format(folder))
    ]


def by_split(listing: Listing, places: Places, tree: str) -> dict[str, list[str]]:
    """Split -> its files, in order; val without test is test.

    Raises:
        InputError: a folder of a split without such files.
    """
    files: dict[str, list[str]] = {split: [] for split in _NAMES}
    for name in listing.files:
        if places.split(name):
            files[places.split(name)].append(name)
    for folder in listing.folders:
        *above, last = folder.split("/")
        if len(above) != places.split_at or not split_of([last]):
            continue
        if not any(name.startswith(f"{folder}/") for name in files[split_of([last])]):
            found = f"no file to read in {listing.root / folder}{listing.told(folder)}"
            raise wrong_tree(found, tree)
    files = {split: names for split, names in files.items() if names}
    if "val" in files and "test" not in files:
        files["test"] = files.pop("val")
    return files


def passed_over(
    listing: Listing, read: Iterable[str], lists: Iterable[str] = ()
) -> dict[str, int]:
    """Kind -> number of all files that are not read.

    Args:
        read: those that are.
        lists: names of files that are read in another way.
    """
    known = {same_name(name) for name in lists}
    kinds = [k for name, k in listing.left.items() if same_name(name) not in known]
    for name in sorted({*listing.files} - {*read}):
        folder = name.split("/")[0] if "/" in name else "."
        kinds.append(f"beside the splits, in {folder}")
    return counted(kinds)
