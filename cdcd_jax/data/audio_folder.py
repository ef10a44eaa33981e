"""Raw source `audio_folder`: sound files in a folder, of any rate and length.

    path/<label>/*.wav                        (label="folder")
    path/0_george_12.wav                      (label="pattern")
    path/train/..., path/test/...             (split="folder"; val/ serves as test)

What libsndfile decodes is read (`audio.suffixes`), each file once (`walk`); the rest is
counted by suffix. A file becomes one channel at `sample_rate`, cut to `seconds` (or
`length` samples) or filled with zeros at its end. Its label is the name of the
sub-folder it lies in, or the group `label` that the regular expression `pattern` finds
in the file name without its suffix, for instance
r"(?P<label>\\d)_(?P<group>\\w+)_\\d+", or there is none. Labels are numbered in their
sorted order, as numbers where all are.

`split` says where the test split comes from: "fraction" (`test_fraction` of the files,
drawn by the seed), "folder" (of the names in `class_folders`), "list" (the files that
`test_list`, a text file in `path`, names line by line relative to `path`), or "group"
(the values `test_groups` of the pattern's group `group`; without any, `test_fraction`
of the values, drawn by the seed).

A missing, empty, truncated or NaN file is reported by name when it is reached. A name
that the pattern does not fit, a line of the list without its file, and folders of
splits that would become labels are errors at the start.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cdcd_jax.data import audio, class_folders
from cdcd_jax.data.folders import (
    card,
    check_options,
    class_of_example,
    divide,
    draw,
    numbered,
    open_folder,
    read_lines,
    refuse_repeated,
    some_files,
    wrong_tree,
)
from cdcd_jax.data.names import same_name
from cdcd_jax.data.sources import Example, known_split
from cdcd_jax.data.walk import Listing
from cdcd_jax.errors import UsageError

OPTIONS: dict[str, Any] = {
    "sample_rate": 22050,  # Hz
    "seconds": 2.0,  # of an example
    "length": 0,  # the same in samples; 0: as `seconds` says
    "label": "folder",  # folder, pattern, none
    "pattern": "",  # regular expression with the groups label and perhaps group
    "split": "fraction",  # fraction, folder, list, group
    "test_fraction": 0.1,
    "test_list": "test.txt",
    "test_groups": (),
    "peak": 0.0,  # scale each file to this largest magnitude; 0: leave it
    "amplitude": True,  # augmented views are 0.3 to 1 times as loud
}
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


@dataclass(frozen=True)
class AudioFolder:
    """The sound files below `root`; see the top of this file."""

    root: Path
    options: Mapping[str, Any]
    clips: Mapping[str, list[Clip]]  # split -> by name
    classes: list[str]  # empty without labels
    passed: Mapping[str, Any]  # see `sources.RawSource`: left_out and remarks

    @property
    def length(self) -> int:
        """Samples of an example."""
        options = self.options
        return options["length"] or round(options["seconds"] * options["sample_rate"])

    def card(self) -> dict[str, Any]:
        """See `sources.RawSource`."""
        media = {
            "kind": "audio",
            "shape": [self.length],
            "sample_rate": self.options["sample_rate"],
        }
        return card("audio_folder", self.clips, self.classes, media) | self.passed

    def split(self, name: str) -> "AudioFolderSplit":
        """One of 'train' and 'test'."""
        known_split(name, tuple(self.clips), "audio_folder")
        numbers = numbered(self.classes)
        return AudioFolderSplit(
            self.root, self.options, self.clips[name], numbers, self.length
        )


@dataclass(frozen=True)
class AudioFolderSplit:
    """The key of a file is its name relative to `root`."""

    root: Path
    options: Mapping[str, Any]
    clips: list[Clip]
    numbers: Mapping[str, int]  # class -> label
    length: int

    def __len__(self) -> int:
        return len(self.clips)

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """`audio` float32 [length], its label, and the groups label and group."""
        clip, options = self.clips[index], self.options
        wave, rate = audio.read(self.root / clip.name)
        wave = audio.resample(wave, rate, options["sample_rate"])
        if options["peak"]:
            wave = audio.scale_to_peak(wave, options["peak"])
        condition, groups = class_of_example(clip.label, self.numbers)
        if clip.group:
            groups["group"] = clip.group
        return {
            "key": clip.name,
            "audio": audio.fit(wave, self.length, rng, options["amplitude"]),
            "condition": condition,
            "groups": groups,
        }


def open_source(path: str, options: Mapping[str, Any], seed: int) -> AudioFolder:
    """The source; lists the files and opens none.

    Raises:
        UsageError: a bad option.
        InputError: not such a tree.
    """
    pattern = _checked(options)
    root = open_folder(path, "audio_folder", TREE)
    listing = some_files(root, audio.suffixes(), "sound file", TREE)
    labelled = options["label"] == "folder"
    places = _places(listing, options, labelled)
    to_clip = lambda name: _to_clip(name, places, options, pattern)
    listing.refuse_torn(lambda name: (places.split(name), *to_clip(name)[1:]))
    files = class_folders.by_split(listing, places, TREE)
    files.pop("val", None)
    clips = {split: [to_clip(name) for name in files[split]] for split in files}
    if "test" not in clips:
        test = _test_names(listing, clips["train"], options, seed)
        clips = divide(clips["train"], test, lambda clip: clip.name)
    for split, found in clips.items():
        if not found:
            raise wrong_tree(f"no sound file for the split {split} in {root}", TREE)
    labels = {clip.label for clip in clips["train"]} - {""}
    classes = class_folders.sort_classes(labels)
    new = {clip.label for clip in clips["test"]} - labels - {""}
    if new:
        raise wrong_tree(f"the label {min(new)!r} in the test split only", TREE)
    read = (clip.name for found in clips.values() for clip in found)
    lists = [options["test_list"]] if options["split"] == "list" else []
    passed = {
        "left_out": class_folders.passed_over(listing, read, lists),
        "remarks": _remarks(listing, places, options),
    }
    return AudioFolder(root, options, clips, classes, passed)


def _checked(options: Mapping[str, Any]) -> re.Pattern[str]:
    """The compiled pattern; raises UsageError for bad options."""
    check_options(
        options,
        positive=["sample_rate", "seconds"],
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
    for name, low, high in (("length", 0, 2**31), ("peak", 0, 1)):
        if not low <= options[name] <= high:
            raise UsageError(
                f"Found data.options.{name} = {options[name]!r}; expected a number "
                f"from {low} to {high}; correct it."
            )
    return pattern


def _places(
    listing: Listing, options: Mapping[str, Any], labelled: bool
) -> class_folders.Places:
    """Where splits and labels stand; every file is of train unless split="folder"."""
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


def _remarks(
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


def _to_clip(
    name: str,
    places: class_folders.Places,
    options: Mapping[str, Any],
    pattern: re.Pattern[str],
) -> Clip:
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


def _test_names(
    listing: Listing, clips: list[Clip], options: Mapping[str, Any], seed: int
) -> set[str]:
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
