"""Raw source `captions`: pictures or sounds with sentences, in three formats.

    format="coco"    path/annotations/captions_train2014.json, captions_val2014.json
                     path/train2014/COCO_train2014_000000000009.jpg
                     path/val2014/COCO_val2014_000000000042.jpg
    format="cub"     path/images.txt, train_test_split.txt     (CUB_200_2011)
                     path/images/<class>/<name>.jpg
                     path/text/<class>/<name>.txt              one caption a line
                     path/train/filenames.pickle, path/test/filenames.pickle
                                                               for cub_split="classes"
    format="jsonl"   path/train.jsonl, path/test.jsonl, lines such as
                     {"image": "a/b.jpg", "caption": "..."} or {..., "captions": [...]}
                     and of sounds (media="audio") {"audio": "a/b.wav", ...}

coco: `year` is 2014 or 2017; "val" serves as the split `test`; picture names come from
`images` in the json; VQ-Diffusion's doubled folder train2014/train2014 is found too.
cub: cub_split="official" is train_test_split.txt (5,994 and 5,794 pictures),
cub_split="classes" the zero-shot split of the text-to-image papers (8,855 and 2,933),
whose pickles hold lists of "<class>/<name>". The captions (Reed et al. 2016) may also
lie in text_c10, as they are published, or text/text, as the reference has them.
jsonl: without test.jsonl, `test_fraction` of the files are drawn by the seed; sounds
are read as `audio_folder` does. Paths of files are relative to `path`.

There is one example a caption, or (captions="first") one a file. The condition is
`text`, the caption with single blanks. Negatives may differ in `image` (or `audio`) or
`caption`. A missing or bad file and an empty caption are reported by name; lists and
json files must be sound, and no example may come twice.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.data import audio, images
from cdcd_jax.data.caption_lists import READERS, TREES, Pair
from cdcd_jax.data.folders import (
    check_options,
    in_both,
    open_folder,
    refuse_repeated,
    wrong_tree,
)
from cdcd_jax.data.names import existing
from cdcd_jax.data.sources import Example, Unreadable, known_split

OPTIONS: dict[str, Any] = {
    "format": "coco",  # coco, cub, jsonl
    "media": "image",  # image; or audio, of jsonl
    "captions": "all",  # all, or first: one example a file
    "size": 256,  # of the square, in pixels
    "flip": False,  # captions speak of left and right
    "year": "2014",  # coco: 2014 or 2017
    "cub_split": "official",  # cub: official or classes
    "test_fraction": 0.1,  # jsonl: where there is no test.jsonl
    **audio.OPTIONS,  # of sounds
}


@dataclass(frozen=True)
class Captions:
    """Files below `root` and their captions; see the top of this file."""

    root: Path
    options: Mapping[str, Any]
    pairs: Mapping[str, list[Pair]]  # split -> in the order of the lists

    def card(self) -> dict[str, Any]:
        """See `sources.RawSource`."""
        size, media = self.options["size"], self.options["media"]
        names = {k: (pair.file for pair in v) for k, v in self.pairs.items()}
        said = in_both(names, {"image": "pictures", "audio": "sounds"}[media])
        pictures = {"kind": "image", "shape": [size, size, 3]}
        return {
            **({"remarks": said} if said else {}),
            "name": f"captions/{self.options['format']}",
            "splits": tuple(self.pairs),
            "conditions": {"text": {"kind": "text"}},
            "media": audio.media(self.options) if media == "audio" else pictures,
        }

    def split(self, name: str) -> "CaptionsSplit":
        """One of 'train' and 'test'."""
        known_split(name, tuple(self.pairs), "captions")
        return CaptionsSplit(self.root, self.options, self.pairs[name])


@dataclass(frozen=True)
class CaptionsSplit:
    """The key names the file and the number of the caption."""

    root: Path
    options: Mapping[str, Any]
    pairs: list[Pair]

    def __len__(self) -> int:
        return len(self.pairs)

    def names(self) -> list[str]:
        """The keys without the number of the caption, see `sources.RawSplit`.

        COCO's train2014/9/52, of which 9 is the image_id, is train2014/9.
        """
        return [re.sub(r"[#/]\d+$", "", pair.key) for pair in self.pairs]

    def texts(self) -> list[str]:
        """All captions that can be used, of bad files too; opens no file."""
        return [p.caption for p in self.pairs if p.caption and not p.bad]

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """`image` uint8 [size, size, 3] or `audio` float32 [length]; its caption."""
        pair = self.pairs[index]
        if pair.bad or not pair.caption:
            raise Unreadable(_named(pair), pair.bad or "empty caption")
        path, media = existing(self.root, pair.file), self.options["media"]
        return {
            "key": pair.key,
            "place": _named(pair),
            media: _LOAD[media](path, self.options, rng),
            "condition": {"text": pair.caption},
            "groups": {media: pair.file, "caption": pair.caption},
        }


def _picture(
    path: Path, options: Mapping[str, Any], rng: np.random.Generator | None
) -> np.ndarray:
    return images.fit(images.read(path), options["size"], rng, options["flip"])


_LOAD: Mapping[str, Callable[..., np.ndarray]] = {
    "image": _picture,
    "audio": audio.load,
}


def _named(pair: Pair) -> str:
    """The key and, where it has one, the caption's place, for messages."""
    return f"{pair.key} ({pair.place})" if pair.place else pair.key


def open_source(path: str, options: Mapping[str, Any], seed: int) -> Captions:
    """The source; reads the captions and opens no picture or sound.

    Raises:
        UsageError: a bad option.
        InputError: not such a tree, or a list or json file that is not as it should be.
    """
    check_options(
        options,
        positive=["size"],
        fractions=["test_fraction"],
        choices={
            "format": tuple(TREES),
            "media": ("image", "audio") if options["format"] == "jsonl" else ("image",),
            "captions": ("all", "first"),
            "year": ("2014", "2017"),
            "cub_split": ("official", "classes"),
        },
    )
    audio.check(options)
    root = open_folder(path, "captions", TREES[options["format"]])
    pairs = READERS[options["format"]](root, options, seed)
    for split, found in pairs.items():
        if not found:
            raise wrong_tree(
                f"no caption for the split {split} in the lists of {root}",
                TREES[options["format"]],
            )
        refuse_repeated((pair.key for pair in found), f"the split {split} of {root}")
        if options["captions"] == "first":
            first = {pair.file: pair for pair in reversed(found)}
            pairs[split] = [pair for pair in found if first[pair.file] is pair]
    return Captions(root, options, pairs)
