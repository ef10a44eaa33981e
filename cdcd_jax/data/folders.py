"""What sources that read folders share: checks, lists of files, splits, classes."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.errors import InputError, UsageError


def wrong_tree(found: str, tree: str) -> InputError:
    """The error of a source whose files do not lie as they should.

    Args:
        found: what, and where.
        tree: the folder tree that the source expects, as text.
    """
    return InputError(
        f"Found {found}; expected this tree:\n{tree.strip()}\n"
        "Point data.path at such a folder, or correct data.options."
    )


def open_folder(path: str, source: str, tree: str) -> Path:
    """`path` as a Path; raises InputError unless it is a folder."""
    if not path:
        raise wrong_tree(f"no data.path for the source {source}", tree)
    folder = Path(path)
    if not folder.is_dir():
        raise wrong_tree(f"no folder {folder}", tree)
    return folder


def files_below(folder: Path, suffixes: Sequence[str]) -> list[str]:
    """Names of all files below `folder` with one of the suffixes, sorted.

    The names are relative to it, with "/". Upper case suffixes count too; hidden files
    and folders do not. Links are followed.
    """
    found = []
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(place).relative_to(folder)
        for name in files:
            if name.lower().endswith(tuple(suffixes)) and not name.startswith("."):
                found.append((inside / name).as_posix())
    return sorted(found)


def some_below(
    folder: Path, suffixes: Sequence[str], what: str, tree: str
) -> list[str]:
    """`files_below`; raises InputError, which says `what` is missing, for none."""
    found = files_below(folder, suffixes)
    if not found:
        raise wrong_tree(f"no {what} below {folder}", tree)
    return found


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in `folder`, sorted; hidden ones left out."""
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    )


def draw(names: Iterable[str], fraction: float, seed: int) -> set[str]:
    """About `fraction` of the different names, and at least one, drawn by `seed`.

    Raises:
        InputError: fewer than two different names.
    """
    different = sorted(set(names))
    if len(different) < 2:
        raise InputError(
            f"Found {len(different)} examples or groups to split into train and test; "
            "expected two or more; add files or make the test split by hand."
        )
    count = min(max(round(fraction * len(different)), 1), len(different) - 1)
    order = np.random.default_rng(seed).permutation(len(different))
    return {different[i] for i in order[:count]}


def divide(
    items: Iterable[Any], test: set[str], name: Callable[[Any], str] = str
) -> dict[str, list[Any]]:
    """The splits: test, of the items whose name is in `test`, and train; in order."""
    splits: dict[str, list[Any]] = {"train": [], "test": []}
    for item in items:
        splits["test" if name(item) in test else "train"].append(item)
    return splits


def class_spec(names: Sequence[str]) -> dict[str, Any]:
    """A card's entry for a condition of one of these classes."""
    return {
        "kind": "label",
        "shape": [],
        "dtype": "int32",
        "num_classes": len(names),
        "names": list(names),
    }


def card(
    name: str, splits: Iterable[str], classes: Sequence[str], media: Mapping[str, Any]
) -> dict[str, Any]:
    """The card of a source of files in classes, or in none; see `sources.RawSource`."""
    return {
        "name": name,
        "splits": tuple(splits),
        "conditions": {"label": class_spec(classes)} if classes else {},
        "media": dict(media),
    }


def numbered(classes: Sequence[str]) -> dict[str, int]:
    """Class -> label."""
    return {name: number for number, name in enumerate(classes)}


def class_of_example(
    name: str, numbers: Mapping[str, int]
) -> tuple[dict[str, np.int32], dict[str, str]]:
    """Condition and groups of an example of a class; {} and {} where there are none."""
    if not numbers:
        return {}, {}
    return {"label": np.int32(numbers[name])}, {"label": name}


def read_lines(path: Path, tree: str) -> list[str]:
    """The lines of a text file without blanks around them; empty lines are left out.

    Raises:
        InputError: the file is missing, no UTF-8 text, or holds no line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise wrong_tree(
            f"the list {path}, which cannot be read ({error})", tree
        ) from (error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise wrong_tree(f"an empty list {path}", tree)
    return lines


def refuse_repeated(keys: Iterable[str], where: Any) -> None:
    """Raises InputError if a key comes twice."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise InputError(
                f"Found {key!r} twice in {where}; expected each example once; remove "
                "one of the two."
            )
        seen.add(key)


def check_options(
    options: Mapping[str, Any],
    *,
    positive: Sequence[str] = (),
    fractions: Sequence[str] = (),
    choices: Mapping[str, Sequence[Any]] | None = None,
) -> None:
    """Checks values of a source's options.

    Args:
        options: all of them.
        positive: names of those that must be above 0.
        fractions: names of those that must lie between 0 and 1, both left out.
        choices: name -> allowed values.

    Raises:
        UsageError: names the first bad one.
    """
    wanted = [(name, options[name] > 0, "a number above 0") for name in positive]
    wanted += [
        (name, 0 < options[name] < 1, "a number between 0 and 1") for name in fractions
    ]
    wanted += [
        (name, options[name] in values, "one of " + ", ".join(map(str, values)))
        for name, values in (choices or {}).items()
    ]
    for name, good, expected in wanted:
        if not good:
            raise UsageError(
                f"Found data.options.{name} = {options[name]!r}; expected {expected}; "
                "correct it."
            )
