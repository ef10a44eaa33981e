"""What the name and the place of a sound file say: its label, its group, its split.

For `audio_folder`, at whose top the ways to say it stand; no file is opened here.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cdcd_jax.data import audio, class_folders
from cdcd_jax.data.folders import (
    check_options,
    draw,
    read_lines,
    refuse_repeated,
    wrong_tree,
)
from cdcd_jax.data.names import same_name
from cdcd_jax.data.walk import Listing
from cdcd_jax.errors import UsageError

TREE = """
path/<label>/*.wav            with label="folder"
path/*.wav                    with label="pattern" or "none"
path/train/, path/test/       around these, with split="folder"
(or .flac, .ogg, .mp3, .aif, .opus, ...)
"""
EXAMPLE = r"(?P<label>\d)_(?P<group>\w+)_\d+"


class Clip(NamedTuple):
    """One file."""

    name: str  # relative to the root
    label: str
    group: str


def checked(options: Mapping[str, Any]) -> re.Pattern[str]:
    """The compiled pattern; raises UsageError for bad options."""
    audio.check(options)
    check_options(
        options,
        fractions=["test_fraction"],
        choices={
            "label": ("folder", "pattern", "none"),
            "split": ("fraction", "folder", "list", "group"),
        },
    )
    needed = {"label"} if options["label"] == "pattern" else set()
    needed |= {"group"} if options["split"] == "group" else set()
    try:
        pattern = re.compile(options["pattern"])
        missing = needed - set(pattern.groupindex)
        problem = f"no group {min(missing)!r} in it" if missing else ""
    except re.error as error:
        problem = str(error)
    if problem:
        raise UsageError(
            f"Found data.options.pattern = {options['pattern']!r} ({problem}); "
            f"expected a regular expression such as {EXAMPLE}; correct it."
        )
    return pattern


def places_of(
    listing: Listing, options: Mapping[str, Any], labelled: bool
) -> class_folders.Places:
    """Where splits and labels stand; every file is of train unless split="folder".

    Args:
        listing: the sound files.
        options: of the source.
        labelled: folders are labels.

    Raises:
        InputError: folders that do not fit the options.
    """
    by_folder = options["split"] == "folder"
    if not by_folder and not labelled:
        return class_folders.Places(None, 0)
    places = class_folders.find_places(listing, labelled, TREE)
    if by_folder and places.split_at is None:
        raise wrong_tree(f"no folder {listing.root / 'train'}", TREE)
    if by_folder and not set(map(places.split, listing.files)) & {"val", "test"}:
        raise wrong_tree(f"no folder {listing.root / 'test'}", TREE)
    if places.split_at is not None and not by_folder:
        found = f"folders of splits in {listing.root} (set split='folder')"
        raise wrong_tree(found, TREE)
    return places


def remarks(
    listing: Listing, places: class_folders.Places, options: Mapping[str, Any]
) -> list[str]:
    """What the user should know of how folders were read."""
    if options["label"] == "folder":
        empty = [
            f"no sound file in {folder}{listing.told(folder)}, which is no class then"
            for folder in class_folders.without_files(listing, places)
        ]
        return empty + class_folders.remarks(listing, places)
    tops = {name.split("/")[0] for name in listing.files}
    parts = sorted(name for name in tops if class_folders.split_of([name]))
    if options["split"] == "folder" or not parts:
        return []
    return [
        f"the files of {', '.join(parts)} were put together and split by "
        f"{options['split']}; split='folder' keeps them apart"
    ]


def to_clip(
    name: str,
    places: class_folders.Places,
    options: Mapping[str, Any],
    pattern: re.Pattern[str],
) -> Clip:
    """A file with its label and its group, "" for none.

    Args:
        name: relative to the root.
        places: where labels stand.
        options: of the source.
        pattern: the compiled one.

    Raises:
        InputError: a name that does not fit the pattern, or no label.
    """
    groups: dict[str, str | None] = {}
    if options["pattern"]:
        match = pattern.fullmatch(same_name(Path(name).stem))
        if not match:
            raise wrong_tree(
                f"the file {name}, whose name does not fit the pattern "
                f"{options['pattern']}",
                TREE,
            )
        groups = match.groupdict()
    label = ""
    if options["label"] == "pattern":
        label = groups["label"] or ""
    elif options["label"] == "folder":
        label = places.label(name)
    if not label and options["label"] != "none":
        raise wrong_tree(f"the file {name} without a label", TREE)
    return Clip(name, label, groups.get("group") or "")


def names_of_test(
    listing: Listing, clips: list[Clip], options: Mapping[str, Any], seed: int
) -> set[str]:
    """Names of the clips of the test split, where no folder says which they are.

    Args:
        listing: the sound files.
        clips: all of them.
        options: of the source.
        seed: of what is drawn.

    Raises:
        UsageError: groups that are not there.
        InputError: lines of the list without a file.
    """
    fraction = options["test_fraction"]
    if options["split"] == "fraction":
        return draw((clip.name for clip in clips), fraction, seed)
    if options["split"] == "list":
        path = listing.root / options["test_list"]
        lines = read_lines(path, TREE)
        refuse_repeated(lines, path)
        found = {line: listing.find(line) for line in lines}
        missing = sorted(line for line, name in found.items() if name is None)
        if missing:
            raise wrong_tree(f"the line {missing[0]!r} in {path} without a file", TREE)
        return set(found.values())
    groups = {clip.group for clip in clips}
    wanted = {same_name(str(group)) for group in options["test_groups"]}
    chosen = wanted or draw(groups, fraction, seed)
    if chosen - groups:
        raise UsageError(
            f"Found data.options.test_groups with {min(chosen - groups)!r}; expected "
            f"some of {', '.join(sorted(groups)[:20])}; correct it."
        )
    return {clip.name for clip in clips if clip.group in chosen}
