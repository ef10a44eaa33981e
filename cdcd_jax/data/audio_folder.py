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

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.data import audio, audio_clips, class_folders
from cdcd_jax.data.audio_clips import TREE, Clip
from cdcd_jax.data.folders import (
    card,
    class_of_example,
    divide,
    numbered,
    open_folder,
    some_files,
    wrong_tree,
)
from cdcd_jax.data.sources import Example, known_split

OPTIONS: dict[str, Any] = {
    **audio.OPTIONS,
    "label": "folder",  # folder, pattern, none
    "pattern": "",  # regular expression with the groups label and perhaps group
    "split": "fraction",  # fraction, folder, list, group
    "test_fraction": 0.1,
    "test_list": "test.txt",
    "test_groups": (),
}


@dataclass(frozen=True)
class AudioFolder:
    """The sound files below `root`; see the top of this file."""

    root: Path
    options: Mapping[str, Any]
    clips: Mapping[str, list[Clip]]  # split -> by name
    classes: list[str]  # empty without labels
    passed: Mapping[str, Any]  # see `sources.RawSource`: left_out and remarks

    def card(self) -> dict[str, Any]:
        """See `sources.RawSource`."""
        media = audio.media(self.options)
        return card("audio_folder", self.clips, self.classes, media) | self.passed

    def split(self, name: str) -> "AudioFolderSplit":
        """One of 'train' and 'test'."""
        known_split(name, tuple(self.clips), "audio_folder")
        numbers = numbered(self.classes)
        return AudioFolderSplit(self.root, self.options, self.clips[name], numbers)


@dataclass(frozen=True)
class AudioFolderSplit:
    """The key of a file is its name relative to `root`."""

    root: Path
    options: Mapping[str, Any]
    clips: list[Clip]
    numbers: Mapping[str, int]  # class -> label

    def __len__(self) -> int:
        return len(self.clips)

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """`audio` float32 [length], its label, and the groups label and group."""
        clip = self.clips[index]
        condition, groups = class_of_example(clip.label, self.numbers)
        if clip.group:
            groups["group"] = clip.group
        return {
            "key": clip.name,
            "audio": audio.load(self.root / clip.name, self.options, rng),
            "condition": condition,
            "groups": groups,
        }


def open_source(path: str, options: Mapping[str, Any], seed: int) -> AudioFolder:
    """The source; lists the files and opens none.

    Raises:
        UsageError: a bad option.
        InputError: not such a tree.
    """
    pattern = audio_clips.checked(options)
    root = open_folder(path, "audio_folder", TREE)
    listing = some_files(root, audio.suffixes(), "sound file", TREE)
    labelled = options["label"] == "folder"
    places = audio_clips.places_of(listing, options, labelled)
    to_clip = lambda name: audio_clips.to_clip(name, places, options, pattern)
    listing.refuse_torn(lambda name: (places.split(name), *to_clip(name)[1:]))
    files = class_folders.by_split(listing, places, TREE)
    files.pop("val", None)
    clips = {split: [to_clip(name) for name in files[split]] for split in files}
    if "test" not in clips:
        test = audio_clips.names_of_test(listing, clips["train"], options, seed)
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
        "remarks": audio_clips.remarks(listing, places, options),
    }
    return AudioFolder(root, options, clips, classes, passed)
