"""Raw source `audio_folder`: sound files in a folder, of any rate and length.

    path/<label>/*.wav                        (label="folder")
    path/0_george_12.wav                      (label="pattern")
    path/train/..., path/test/...             (split="folder"; val/ serves as test)

Files end in .wav, .flac, .ogg or .mp3. Each becomes one channel at `sample_rate`, cut
to `seconds` (or `length` samples) or filled with zeros at its end. Its label is the
name of the sub-folder it lies in, or the group `label` that the regular expression
`pattern` finds in the file name without its suffix, for instance
r"(?P<label>\\d)_(?P<group>\\w+)_\\d+", or there is none. Labels are numbered in their
sorted order, as numbers where all are.

`split` says where the test split comes from: "fraction" (`test_fraction` of the files,
drawn by the seed), "folder", "list" (the files that `test_list`, a text file in `path`,
names line by line relative to `path`), or "group" (the values `test_groups` of the
pattern's group `group`; without any, `test_fraction` of the values, drawn by the seed).

A missing, empty, truncated or NaN file is reported by name when it is reached. A name
that the pattern does not fit, and a line of the list without its file, are errors at
the start.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cdcd_jax.data import audio
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
    some_below,
    wrong_tree,
)
from cdcd_jax.data.sources import Example, known_split
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
(.wav, .flac, .ogg or .mp3)
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
        return card("audio_folder", self.clips, self.classes, media)

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
    parts = _parts(root, options)
    clips = {}
    for split, folder in parts.items():
        names = some_below(root / folder, audio.SUFFIXES, "sound file", TREE)
        clips[split] = [_to_clip(name, folder, options, pattern) for name in names]
    if "test" not in clips:
        test = _test_names(root, clips["train"], options, seed)
        clips = divide(clips["train"], test, lambda clip: clip.name)
    for split, found in clips.items():
        if not found:
            raise wrong_tree(f"no sound file for the split {split} in {root}", TREE)
    classes = _sorted({clip.label for clip in clips["train"]} - {""})
    new = {clip.label for clip in clips["test"]} - set(classes) - {""}
    if new:
        raise wrong_tree(f"the label {min(new)!r} in the test split only", TREE)
    return AudioFolder(root, options, clips, classes)


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


def _parts(root: Path, options: Mapping[str, Any]) -> dict[str, str]:
    """Split -> its folder below `root` ("" is root itself)."""
    if options["split"] != "folder":
        return {"train": ""}
    test = "test" if (root / "test").is_dir() else "val"
    for name in ("train", test):
        if not (root / name).is_dir():
            raise wrong_tree(f"no folder {root / name}", TREE)
    return {"train": "train", "test": test}


def _to_clip(
    name: str, folder: str, options: Mapping[str, Any], pattern: re.Pattern[str]
) -> Clip:
    """Args: name: relative to `folder`, which is relative to the root."""
    full = f"{folder}/{name}" if folder else name
    groups: dict[str, str | None] = {}
    if options["pattern"]:
        match = pattern.fullmatch(Path(name).stem)
        if not match:
            raise wrong_tree(
                f"the file {full}, whose name does not fit the pattern "
                f"{options['pattern']}",
                TREE,
            )
        groups = match.groupdict()
    label = ""
    if options["label"] == "pattern":
        label = groups["label"] or ""
    elif options["label"] == "folder":
        label = name.split("/")[0] if "/" in name else ""
    if not label and options["label"] != "none":
        raise wrong_tree(f"the file {full} without a label", TREE)
    return Clip(full, label, groups.get("group") or "")


def _test_names(
    root: Path, clips: list[Clip], options: Mapping[str, Any], seed: int
) -> set[str]:
    names = {clip.name for clip in clips}
    fraction = options["test_fraction"]
    if options["split"] == "fraction":
        return draw(names, fraction, seed)
    if options["split"] == "list":
        listed = read_lines(root / options["test_list"], TREE)
        refuse_repeated(listed, root / options["test_list"])
        missing = sorted(set(listed) - names)
        if missing:
            raise wrong_tree(
                f"the line {missing[0]!r} in {root / options['test_list']} without a "
                "file",
                TREE,
            )
        return set(listed)
    groups = {clip.group for clip in clips}
    chosen = set(options["test_groups"]) or draw(groups, fraction, seed)
    if chosen - groups:
        raise UsageError(
            f"Found data.options.test_groups with {min(chosen - groups)!r}; expected "
            f"some of {', '.join(sorted(groups)[:20])}; correct it."
        )
    return {clip.name for clip in clips if clip.group in chosen}


def _sorted(labels: set[str]) -> list[str]:
    if all(label.isdecimal() for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)
