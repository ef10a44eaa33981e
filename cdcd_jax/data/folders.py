"""What sources that read folders share: checks, lists of files, splits, classes."""

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.data.walk import Listing, list_files
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


def some_files(
    folder: Path, suffixes: Collection[str], what: str, tree: str
) -> Listing:
    """`walk.list_files`; raises InputError, which says `what` is missing, for none."""
    listing = list_files(folder, suffixes)
    if not listing.files:
        raise wrong_tree(f"no {what} below {folder}{listing.told('')}", tree)
    return listing


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


def lines_of(text: str) -> list[str]:
    """The lines of a text that was read with universal newlines.

    Not `splitlines`, which takes much else for the end of a line: U+2028, form feeds,
    separators, all of which stand in captions that were copied from somewhere.
    """
    return text.removesuffix("\n").split("\n")


def read_lines(path: Path, tree: str, may_be_empty: bool = False) -> list[str]:
    """The lines of `numbered_lines`, alone; raises as it does."""
    return [line for _, line in numbered_lines(path, tree, may_be_empty)]


def numbered_lines(
    path: Path, tree: str, may_be_empty: bool = False
) -> list[tuple[int, str]]:
    """Lines of a text file, from 1, without blanks around them; empty ones left out.

    Raises:
        InputError: the file is missing, no UTF-8 text, or holds no line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise wrong_tree(
            f"the list {path}, which cannot be read ({error})", tree
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"Found {path}, which is {not_utf8(error)}; expected text in UTF-8; save "
            "it so, with `iconv -f FROM -t utf-8` for one."
        ) from error
    lines = enumerate(map(str.strip, lines_of(text)), 1)
    if not (found := [pair for pair in lines if pair[1]]) and not may_be_empty:
        raise wrong_tree(f"an empty list {path}", tree)
    return found


def not_utf8(error: UnicodeDecodeError) -> str:
    """What is wrong with a text, in words."""
    if error.object[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "UTF-16 text"
    line = error.object.count(b"\n", 0, error.start) + 1
    return f"no UTF-8 text (the byte {error.object[error.start]:#x} in line {line})"


def in_both(splits: Mapping[str, Iterable[str]], what: str) -> list[str]:
    """A sentence for the user where splits share some of their names.

    Args:
        what: the names are of, in the plural.
    """
    names = {split: set(found) for split, found in splits.items()}
    said = []
    for one, other in itertools.combinations(names, 2):
        if same := names[one] & names[other]:
            said.append(
                f"{len(same)} {what} are in {one} as well as in {other}, such as "
                f"{min(same)}"
            )
    return said


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
