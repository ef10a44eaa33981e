"""Raw source `captions`: pictures with sentences, in three formats.

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

coco: `year` is 2014 or 2017; "val" serves as the split `test`; picture names come from
`images` in the json; VQ-Diffusion's doubled folder train2014/train2014 is found too.
cub: cub_split="official" is train_test_split.txt (5,994 and 5,794 pictures),
cub_split="classes" the zero-shot split of the text-to-image papers (8,855 and 2,933),
whose pickles hold lists of "<class>/<name>". The captions (Reed et al. 2016) may also
lie in text_c10, as they are published, or text/text, as the reference has them.
jsonl: without test.jsonl, `test_fraction` of the pictures are drawn by the seed.
Picture paths are relative to `path`.

There is one example a caption, or (captions="first") one a picture. The condition is
`text`, the caption with single blanks. Negatives may differ in `image` or `caption`. A
missing or bad picture or text file and an empty caption are reported by name; lists and
json files must be sound, and no example may come twice.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from cdcd_jax.data import images, pickles
from cdcd_jax.data.folders import (
    check_options,
    divide,
    draw,
    open_folder,
    read_lines,
    refuse_repeated,
    wrong_tree,
)
from cdcd_jax.data.sources import Example, Unreadable, known_split
from cdcd_jax.errors import InputError

OPTIONS: dict[str, Any] = {
    "format": "coco",  # coco, cub, jsonl
    "captions": "all",  # all, or first: one example a picture
    "size": 256,  # of the square, in pixels
    "flip": False,  # captions speak of left and right
    "year": "2014",  # coco: 2014 or 2017
    "cub_split": "official",  # cub: official or classes
    "test_fraction": 0.1,  # jsonl: where there is no test.jsonl
}
TREES = {
    "coco": """
path/annotations/captions_train<year>.json, captions_val<year>.json
path/train<year>/*.jpg, path/val<year>/*.jpg""",
    "cub": """
path/images.txt                           <number> <class>/<name>.jpg
path/train_test_split.txt                 <number> <1 for train, 0 for test>
path/train/filenames.pickle, path/test/filenames.pickle   (cub_split="classes")
path/images/<class>/<name>.jpg
path/text/<class>/<name>.txt              one caption a line""",
    "jsonl": """
path/train.jsonl, path/test.jsonl         {"image": "a/b.jpg", "caption": "..."}
path/a/b.jpg""",
}


class Pair(NamedTuple):
    """One example."""

    key: str
    image: str  # file name below the root
    caption: str
    bad: str = ""  # why its caption cannot be used


@dataclass(frozen=True)
class Captions:
    """Pictures below `root` and their captions; see the top of this file."""

    root: Path
    options: Mapping[str, Any]
    pairs: Mapping[str, list[Pair]]  # split -> in the order of the lists

    def card(self) -> dict[str, Any]:
        """See `sources.RawSource`."""
        size = self.options["size"]
        return {
            "name": f"captions/{self.options['format']}",
            "splits": tuple(self.pairs),
            "conditions": {"text": {"kind": "text"}},
            "media": {"kind": "image", "shape": [size, size, 3]},
        }

    def split(self, name: str) -> "CaptionsSplit":
        """One of 'train' and 'test'."""
        known_split(name, tuple(self.pairs), "captions")
        return CaptionsSplit(self.root, self.options, self.pairs[name])


@dataclass(frozen=True)
class CaptionsSplit:
    """The key names the picture and the number of the caption."""

    root: Path
    options: Mapping[str, Any]
    pairs: list[Pair]

    def __len__(self) -> int:
        return len(self.pairs)

    def texts(self) -> list[str]:
        """All captions that can be used, of bad pictures too; opens no picture."""
        return [p.caption for p in self.pairs if p.caption and not p.bad]

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """`image` uint8 [size, size, 3] and its caption."""
        pair = self.pairs[index]
        if pair.bad or not pair.caption:
            raise Unreadable(pair.key, pair.bad or "empty caption")
        image = images.read(self.root / pair.image)
        square = images.fit(image, self.options["size"], rng, self.options["flip"])
        return {
            "key": pair.key,
            "image": square,
            "condition": {"text": pair.caption},
            "groups": {"image": pair.image, "caption": pair.caption},
        }


def open_source(path: str, options: Mapping[str, Any], seed: int) -> Captions:
    """The source; reads the captions and opens no picture.

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
            "captions": ("all", "first"),
            "year": ("2014", "2017"),
            "cub_split": ("official", "classes"),
        },
    )
    root = open_folder(path, "captions", TREES[options["format"]])
    read = {"coco": _read_coco, "cub": _read_cub, "jsonl": _read_jsonl}
    pairs = read[options["format"]](root, options, seed)
    for split, found in pairs.items():
        refuse_repeated((pair.key for pair in found), f"the split {split} of {root}")
        if options["captions"] == "first":
            first = {pair.image: pair for pair in reversed(found)}
            pairs[split] = [pair for pair in found if first[pair.image] is pair]
    return Captions(root, options, pairs)


def _read_coco(
    root: Path, options: Mapping[str, Any], seed: int
) -> dict[str, list[Pair]]:
    del seed
    pairs = {}
    for split, part in (("train", "train"), ("test", "val")):
        name = f"{part}{options['year']}"
        path = root / "annotations" / f"captions_{name}.json"
        content = _load_json(path)
        folder = name if (root / name).is_dir() else ""
        if not folder:
            raise wrong_tree(f"no folder {root / name}", TREES["coco"])
        if (root / name / name).is_dir():
            folder = f"{name}/{name}"
        try:
            refuse_repeated((str(image["id"]) for image in content["images"]), path)
            files = {image["id"]: image["file_name"] for image in content["images"]}
            pairs[split] = [
                Pair(
                    f"{name}/{note['image_id']}/{note['id']}",
                    f"{folder}/{files[note['image_id']]}",
                    _clean(note["caption"]),
                )
                for note in content["annotations"]
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"Found {path} without {error} where COCO has it; expected images with "
                "id and file_name, and annotations with id, image_id (of one of these "
                "images) and caption; fetch the file again."
            ) from error
    return pairs


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise wrong_tree(f"no readable {path} ({error.strerror})", TREES["coco"]) from (
            error
        )
    except ValueError as error:
        raise InputError(
            f"Found {path}, which is not JSON ({error}); expected COCO's captions; "
            "fetch the file again."
        ) from error


def _clean(caption: str) -> str:
    return " ".join(caption.split())


def _read_cub(
    root: Path, options: Mapping[str, Any], seed: int
) -> dict[str, list[Pair]]:
    del seed
    official = options["cub_split"] == "official"
    names = _official_names(root) if official else _pickled_names(root)
    places = [root / place for place in ("text/text", "text", "text_c10")]
    text = next((place for place in places if place.is_dir()), root / "text")
    for folder in (text, root / "images"):
        if not folder.is_dir():
            raise wrong_tree(f"no folder {folder}", TREES["cub"])
    return {
        split: [pair for name in part for pair in _cub_pairs(text, name)]
        for split, part in names.items()
    }


def _cub_pairs(text: Path, name: str) -> Iterator[Pair]:
    """The pairs of the picture "<class>/<name>"; a bad text file gives one bad pair."""
    image, path = f"images/{name}.jpg", text / f"{name}.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        yield Pair(f"{name}#0", image, "", f"no readable {path} ({error})")
        return
    # blank last lines are no captions; blank ones between are reported
    while lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines or [""]):
        yield Pair(f"{name}#{number}", image, _clean(line))


def _official_names(root: Path) -> dict[str, list[str]]:
    tables = {}
    for file in ("images.txt", "train_test_split.txt"):
        rows = [line.split() for line in read_lines(root / file, TREES["cub"])]
        odd = [row for row in rows if len(row) != 2]
        if odd:
            raise wrong_tree(
                f"the line {' '.join(odd[0])!r} in {root / file}", TREES["cub"]
            )
        refuse_repeated((row[0] for row in rows), root / file)
        tables[file] = dict(rows)
    files, flags = tables["images.txt"], tables["train_test_split.txt"]
    if set(files) != set(flags) or not set(flags.values()) <= {"0", "1"}:
        raise wrong_tree(
            f"lists in {root} that do not number the same pictures, or flags other "
            "than 0 and 1",
            TREES["cub"],
        )
    return {
        split: [
            str(PurePosixPath(files[n]).with_suffix(""))
            for n in files
            if flags[n] == flag
        ]
        for split, flag in (("train", "1"), ("test", "0"))
    }


def _pickled_names(root: Path) -> dict[str, list[str]]:
    names = {}
    for split in ("train", "test"):
        path = root / split / "filenames.pickle"
        try:
            content = pickles.loads(path.read_bytes(), str(path))
        except OSError as error:
            raise wrong_tree(f"no readable {path}", TREES["cub"]) from error
        except Unreadable as error:
            raise wrong_tree(f"{error}", TREES["cub"]) from error
        if isinstance(content, list):
            content = [n.decode() if isinstance(n, bytes) else n for n in content]
        if not isinstance(content, list) or {type(n) for n in content} != {str}:
            raise wrong_tree(f"{path}, which holds no list of names", TREES["cub"])
        names[split] = content
    return names


def _read_jsonl(
    root: Path, options: Mapping[str, Any], seed: int
) -> dict[str, list[Pair]]:
    pairs = {"train": _jsonl_pairs(root / "train.jsonl")}
    if (root / "test.jsonl").exists():
        pairs["test"] = _jsonl_pairs(root / "test.jsonl")
        return pairs
    drawn = draw(
        (pair.image for pair in pairs["train"]), options["test_fraction"], seed
    )
    return divide(pairs["train"], drawn, lambda pair: pair.image)


def _jsonl_pairs(path: Path) -> list[Pair]:
    counts: dict[str, int] = {}
    pairs = []
    for number, line in enumerate(read_lines(path, TREES["jsonl"]), 1):
        image, captions = _parse_line(line, f"entry {number} of {path}")
        for caption in captions:
            counts[image] = counts.get(image, -1) + 1
            pairs.append(Pair(f"{image}#{counts[image]}", image, _clean(caption)))
    return pairs


def _parse_line(line: str, where: str) -> tuple[str, list[str]]:
    try:
        content = json.loads(line)
        image = content["image"]
        captions = content.get("captions") or [content.get("caption", "")]
        good = isinstance(captions, list) and all(isinstance(c, str) for c in captions)
        inside = PurePosixPath(image)
        good = good and not inside.is_absolute() and ".." not in inside.parts
    except (ValueError, KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise InputError(
            f"Found {line[:100]!r}, {where}; expected "
            '{"image": "<path inside the folder>", "caption": "..."} or '
            '{"image": ..., "captions": ["...", ...]}; correct the line.'
        )
    return str(inside), captions
