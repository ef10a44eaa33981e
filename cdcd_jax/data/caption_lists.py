"""The three formats of files with captions that `captions` reads, as lists of pairs.

Pictures and sounds are not opened here.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from cdcd_jax.data import pickles
from cdcd_jax.data.folders import (
    divide,
    draw,
    lines_of,
    not_utf8,
    numbered_lines,
    read_lines,
    refuse_repeated,
    wrong_tree,
)
from cdcd_jax.data.names import existing, first_names
from cdcd_jax.data.sources import Unreadable
from cdcd_jax.errors import InputError

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
path/a/b.jpg                              or "audio" and a/b.wav (media="audio")""",
}


class Pair(NamedTuple):
    """One example."""

    key: str
    file: str  # its name below the root, of the picture or sound
    caption: str
    bad: str = ""  # why its caption cannot be used
    place: str = ""  # file and line of the caption


def read_coco(
    root: Path, options: Mapping[str, Any], seed: int
) -> dict[str, list[Pair]]:
    """Its pairs by split; see the top of `captions`.

    Raises:
        InputError: not such a tree, or a json file that is not as it should be.
    """
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
                _pair(
                    f"{name}/{note['image_id']}/{note['id']}",
                    f"{folder}/{files[note['image_id']]}",
                    note["caption"],
                )
                for note in content["annotations"]
            ]
        except (KeyError, TypeError, AttributeError) as error:
            lacks = f"without {error} where COCO has it"
            if not isinstance(error, KeyError):
                lacks = f"of another form ({error})"
            raise InputError(
                f"Found {path} {lacks}; expected images with "
                "id and file_name, and annotations with id, image_id (of one of these "
                "images) and caption; fetch the file again."
            ) from error
    return pairs


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise wrong_tree(f"no readable {path} ({error.strerror})", TREES["coco"]) from (
            error
        )
    except ValueError as error:
        raise InputError(
            f"Found {path}, which is not JSON ({error}); expected COCO's captions; "
            "fetch the file again."
        ) from error


def _pair(key: str, image: str, caption: Any) -> Pair:
    """A pair; a bad one where the caption is no text, or has half a character."""
    if isinstance(caption, str) and not re.search("[\ud800-\udfff]", caption):
        return Pair(key, image, _clean(caption))
    return Pair(key, image, "", f"{json.dumps(caption)[:60]} where a caption should be")


def _clean(caption: str) -> str:
    return " ".join(caption.split())


def read_cub(
    root: Path, options: Mapping[str, Any], seed: int
) -> dict[str, list[Pair]]:
    """Its pairs by split; see the top of `captions`.

    Raises:
        InputError: not such a tree, or a list that is not as it should be.
    """
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
    image, path = f"images/{name}.jpg", existing(text, f"{name}.txt")
    try:
        lines = lines_of(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        yield Pair(f"{name}#0", image, "", f"no readable {path} ({error.strerror})")
        return
    except UnicodeDecodeError as error:
        yield Pair(f"{name}#0", image, "", f"{path} is {not_utf8(error)}")
        return
    # blank last lines are no captions; blank ones between are reported
    while lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines or [""]):
        place = f"line {number + 1} of {path}"
        yield Pair(f"{name}#{number}", image, _clean(line), place=place)


def _official_names(root: Path) -> dict[str, list[str]]:
    tables = {}
    for file in ("images.txt", "train_test_split.txt"):
        lines = read_lines(root / file, TREES["cub"])
        most = 1 if file == "images.txt" else -1  # names may hold blanks
        rows = [line.split(maxsplit=most) for line in lines]
        odd = [row for row in rows if len(row) != 2]
        if odd:
            raise wrong_tree(
                f"the line {' '.join(odd[0])!r} in {root / file}", TREES["cub"]
            )
        refuse_repeated((row[0] for row in rows), root / file)
        tables[file] = dict(rows)
    files, flags = tables["images.txt"], tables["train_test_split.txt"]
    refuse_repeated(files.values(), root / "images.txt")
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
            try:
                content = [n.decode() if isinstance(n, bytes) else n for n in content]
            except UnicodeDecodeError as error:
                raise wrong_tree(
                    f"{path} with {error.object!r}, which is not UTF-8", TREES["cub"]
                ) from error
        if not isinstance(content, list) or {type(n) for n in content} != {str}:
            raise wrong_tree(f"{path}, which holds no list of names", TREES["cub"])
        names[split] = content
    return names


def read_jsonl(
    root: Path, options: Mapping[str, Any], seed: int
) -> dict[str, list[Pair]]:
    """Its pairs by split; see the top of `captions`.

    Raises:
        InputError: not such a tree, or a line that is not as it should be.
    """
    pairs = {"train": _jsonl_pairs(root / "train.jsonl", options["media"])}
    if (root / "test.jsonl").exists():
        pairs["test"] = _jsonl_pairs(root / "test.jsonl", options["media"])
        return pairs
    # a file with two names, by a link, stays in one split
    first = first_names(root, (pair.file for pair in pairs["train"]))
    drawn = draw(first.values(), options["test_fraction"], seed)
    return divide(pairs["train"], drawn, lambda pair: first[pair.file])


def _jsonl_pairs(path: Path, media: str) -> list[Pair]:
    counts: dict[str, int] = {}
    pairs = []
    for number, line in numbered_lines(path, TREES["jsonl"]):
        place = f"line {number} of {path}"
        file, captions = _parse_line(line, media, place)
        for caption in map(_clean, captions):
            counts[file] = counts.get(file, -1) + 1
            key = f"{file}#{counts[file]}"
            pairs.append(Pair(key, file, caption, place=place))
    return pairs


def _parse_line(line: str, media: str, where: str) -> tuple[str, list[str]]:
    try:
        content = json.loads(line)
        file = content[media]
        captions = content.get("captions") or [content.get("caption", "")]
        good = isinstance(captions, list) and all(isinstance(c, str) for c in captions)
        both = content.get("caption") and content.get("captions")  # one would be lost
        good = good and not both
        "".join([file, *captions]).encode()  # halves of characters cannot be kept
        inside = PurePosixPath(file)
        good = good and not inside.is_absolute() and ".." not in inside.parts
    except (ValueError, KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise InputError(
            f"Found {line[:100]!r}, {where}; expected "
            f'{{"{media}": "<path inside the folder>", "caption": "..."}} or '
            f'{{"{media}": ..., "captions": ["...", ...]}}; correct the line, or '
            "data.options.media."
        )
    return str(inside), captions


# format -> reader(root, options, seed)
READERS: dict[str, Callable[[Path, Mapping[str, Any], int], dict[str, list[Pair]]]] = {
    "coco": read_coco,
    "cub": read_cub,
    "jsonl": read_jsonl,
}
