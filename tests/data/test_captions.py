"""Tests of the source `captions`, on small files of the real formats."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from made_captioned import jsonl
from PIL import Image

from cdcd_jax.data.caption_lists import READERS
from cdcd_jax.data.folders import lines_of, read_lines
from cdcd_jax.data.sources import Unreadable, open_source
from cdcd_jax.errors import InputError, UsageError


def write_picture(path: Path, level: int = 0, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (12, 8), level).convert(mode).save(path)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def all_of(split: Any) -> list[dict[str, Any]]:
    return [split.example(i) for i in range(len(split))]


def open_captions(path: Path, kind: str, **options):
    return open_source("captions", str(path), {"format": kind, "size": 8, **options})


COCO = {
    "info": {"description": "COCO 2014 Dataset", "year": 2014},
    "licenses": [{"id": 1, "name": "Attribution License"}],
    "images": [
        {"license": 1, "file_name": "COCO_X_000000000009.jpg", "id": 9, "height": 8},
        {"license": 1, "file_name": "COCO_X_000000000025.jpg", "id": 25, "height": 8},
    ],
    "annotations": [
        {"image_id": 25, "id": 48, "caption": "A dog  on\nthe left."},
        {"image_id": 9, "id": 52, "caption": "A bowl."},
        {"image_id": 25, "id": 47, "caption": "Ein Hund, größer."},
    ],
}


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    for part in ("train2014", "val2014"):
        text = json.dumps(COCO).replace("COCO_X", f"COCO_{part}")
        write_text(tmp_path / "annotations" / f"captions_{part}.json", text)
        write_picture(tmp_path / part / f"COCO_{part}_000000000009.jpg", 9, "L")
        write_picture(tmp_path / part / f"COCO_{part}_000000000025.jpg", 25, "CMYK")
    return tmp_path


def change_coco(path: Path, **changes) -> None:
    file = path / "annotations" / "captions_train2014.json"
    write_text(file, json.dumps({**json.loads(file.read_text()), **changes}))


def test_coco(coco: Path) -> None:
    source = open_captions(coco, "coco")
    assert source.card() == {
        "name": "captions/coco",
        "splits": ("train", "test"),
        "conditions": {"text": {"kind": "text"}},
        "media": {"kind": "image", "shape": [8, 8, 3]},
    }
    train = all_of(source.split("train"))
    assert [e["key"] for e in train] == [
        "train2014/25/48",
        "train2014/9/52",
        "train2014/25/47",
    ]
    captions = [e["condition"]["text"] for e in train]
    assert captions == ["A dog on the left.", "A bowl.", "Ein Hund, größer."]
    assert train[0]["groups"] == {
        "image": "train2014/COCO_train2014_000000000025.jpg",
        "caption": "A dog on the left.",
    }
    assert train[0]["groups"]["image"] == train[2]["groups"]["image"]
    assert all(
        abs(int(train[i]["image"][0, 0, 0]) - v) < 3 for i, v in [(0, 25), (1, 9)]
    )
    assert all_of(source.split("test"))[1]["key"] == "val2014/9/52"


def test_first_caption_only(coco: Path) -> None:
    split = open_captions(coco, "coco", captions="first").split("train")
    assert [e["key"] for e in all_of(split)] == ["train2014/25/48", "train2014/9/52"]


def test_coco_in_doubled_folders(coco: Path) -> None:
    for part in ("train2014", "val2014"):
        (coco / part).rename(coco / "moved")
        (coco / part).mkdir()
        (coco / "moved").rename(coco / part / part)
    assert all_of(open_captions(coco, "coco").split("train"))


def test_coco_without_a_sound_tree(coco: Path) -> None:
    (coco / "val2014").rename(coco / "other")
    with pytest.raises(
        InputError, match=r"no folder .*val2014.*\n.*captions_train<year>"
    ):
        open_captions(coco, "coco")
    with pytest.raises(InputError, match=r"no readable .*captions_train2017\.json"):
        open_captions(coco, "coco", year="2017")
    with pytest.raises(InputError, match=r"no data\.path"):
        open_source("captions", "", {"format": "coco"})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"annotations": [{"image_id": 7, "id": 1, "caption": "x"}]}, "without 7"),
        ({"annotations": [{"image_id": 9, "id": 1}]}, "without 'caption'"),
        ({"images": COCO["images"] + COCO["images"][:1]}, "'9' twice"),
        ({"annotations": COCO["annotations"][:1] * 2}, "'train2014/25/48' twice"),
        ({"images": None}, "expected images with id"),
    ],
)
def test_malformed_coco(coco: Path, changes: dict[str, Any], match: str) -> None:
    change_coco(coco, **changes)
    with pytest.raises(InputError, match=match):
        open_captions(coco, "coco")


def test_truncated_json(coco: Path) -> None:
    file = coco / "annotations" / "captions_val2014.json"
    file.write_text(file.read_text()[:100])
    with pytest.raises(InputError, match="not JSON"):
        open_captions(coco, "coco")


def test_empty_caption_and_missing_picture_are_reported(coco: Path) -> None:
    notes = [{"image_id": 9, "id": 1, "caption": " \n"}, COCO["annotations"][0]]
    change_coco(coco, annotations=notes)
    (coco / "train2014" / "COCO_train2014_000000000025.jpg").unlink()
    split = open_captions(coco, "coco").split("train")
    with pytest.raises(Unreadable, match="train2014/9/1: empty caption"):
        split.example(0)
    with pytest.raises(Unreadable, match=r"000000000025\.jpg: No such file"):
        split.example(1)
    assert split.texts() == ["A dog on the left."]  # of which no picture is opened


ALBATROSS = "001.Black_footed_Albatross/Black_Footed_Albatross_0046_18"
WREN = "196.House_Wren/House_Wren_0009_187083"
TERN = "146.Forsters_Tern/Forsters_Tern_0016_151463"


@pytest.fixture
def cub(tmp_path: Path) -> Path:
    names = (ALBATROSS, WREN, TERN)
    rows = [f"{number} {name}.jpg" for number, name in enumerate(names, 1)]
    write_text(tmp_path / "images.txt", "\n".join(rows) + "\n")
    write_text(tmp_path / "train_test_split.txt", "1 0\n2 1\n3 1\n")
    for number, name in enumerate(names):
        write_picture(tmp_path / "images" / f"{name}.jpg", number)
        captions = f"bird {number} has a long bill .\nit is brown .\n"
        write_text(tmp_path / "text" / f"{name}.txt", captions)
    return tmp_path


def test_cub(cub: Path) -> None:
    source = open_captions(cub, "cub")
    train, test = (all_of(source.split(name)) for name in ("train", "test"))
    assert [e["key"] for e in train] == [
        f"{name}#{i}" for name in (WREN, TERN) for i in (0, 1)
    ]
    assert [e["key"] for e in test] == [f"{ALBATROSS}#0", f"{ALBATROSS}#1"]
    assert test[0]["condition"] == {"text": "bird 0 has a long bill ."}
    assert test[0]["groups"]["image"] == f"images/{ALBATROSS}.jpg"


@pytest.mark.parametrize("place", ["text/text", "text_c10"])
def test_cub_text_in_other_folders(cub: Path, place: str) -> None:
    (cub / "text").rename(cub / "moved")
    (cub / place).parent.mkdir(exist_ok=True)
    (cub / "moved").rename(cub / place)
    assert len(open_captions(cub, "cub").split("train")) == 4


def test_cub_split_by_classes(cub: Path) -> None:
    for split, names in (("train", [ALBATROSS, TERN]), ("test", [WREN])):
        (cub / split).mkdir()
        data = pickle.dumps(names, 2)
        (cub / split / "filenames.pickle").write_bytes(data)
    source = open_captions(cub, "cub", cub_split="classes", captions="first")
    keys = [e["key"] for e in all_of(source.split("train"))]
    assert keys == [f"{ALBATROSS}#0", f"{TERN}#0"]


class Attack:
    """Pickles to a call of print."""

    def __reduce__(self):
        return print, ("this must not be printed",)


@pytest.mark.parametrize("content", [Attack(), [Attack()], {"a": 1}, [1, 2], []])
def test_other_pickles_are_refused(cub: Path, capsys, content: Any) -> None:
    for split in ("train", "test"):
        (cub / split).mkdir()
        (cub / split / "filenames.pickle").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"filenames\.pickle"):
        open_captions(cub, "cub", cub_split="classes")
    assert not capsys.readouterr().out


def test_cub_bad_lists(cub: Path) -> None:
    def refuse(file: str, text: str, match: str) -> None:
        before = (cub / file).read_text()
        write_text(cub / file, text)
        with pytest.raises(InputError, match=match) as caught:
            open_captions(cub, "cub")
        assert file.removesuffix(".txt") in str(caught.value)
        write_text(cub / file, before)

    refuse("train_test_split.txt", "1 0\n2 1\n", "do not number the same")
    refuse("train_test_split.txt", "1 0\n2 1\n3 2\n", "flags other than")
    refuse("train_test_split.txt", "1 0\n2 1\n2 0\n3 1\n", "'2' twice")
    refuse("train_test_split.txt", "1 0 0\n", "the line '1 0 0'")
    refuse("images.txt", "\n\n", "an empty list")
    (cub / "images.txt").unlink()
    with pytest.raises(InputError, match=r"images\.txt, which cannot be read"):
        open_captions(cub, "cub")


def test_cub_bad_files_are_reported(cub: Path) -> None:
    (cub / "text" / f"{WREN}.txt").unlink()
    write_text(cub / "text" / f"{TERN}.txt", "one .\n\nthree .\n\n\n")
    split = open_captions(cub, "cub").split("train")
    assert len(split) == 4
    with pytest.raises(Unreadable, match=r"House_Wren.* no readable"):
        split.example(0)
    with pytest.raises(Unreadable, match="empty caption"):
        split.example(2)
    assert split.example(3)["condition"] == {"text": "three ."}
    assert split.texts() == ["one .", "three ."]
    write_text(cub / "text" / f"{TERN}.txt", "")
    with pytest.raises(Unreadable, match="empty caption"):
        open_captions(cub, "cub").split("train").example(1)


def test_jsonl(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png"):
        write_picture(tmp_path / name)
    jsonl(
        tmp_path / "train.jsonl",
        {"image": "a/1.png", "captions": ["One.", "Eins."]},
        {"image": "a/1.png", "caption": "Uno."},
        "",
        {"image": "a/2.png", "caption": "Two.", "width": 12},
    )
    jsonl(tmp_path / "test.jsonl", {"image": "a/2.png", "caption": ""})
    source = open_captions(tmp_path, "jsonl")
    train = all_of(source.split("train"))
    assert [(e["key"], e["condition"]["text"]) for e in train] == [
        ("a/1.png#0", "One."),
        ("a/1.png#1", "Eins."),
        ("a/1.png#2", "Uno."),
        ("a/2.png#0", "Two."),
    ]
    with pytest.raises(Unreadable, match="empty caption"):
        source.split("test").example(0)


def test_jsonl_splits_by_picture(tmp_path: Path) -> None:
    rows = [{"image": f"{i}.png", "captions": ["a", "b"]} for i in range(10)]
    jsonl(tmp_path / "train.jsonl", *rows)
    source = open_captions(tmp_path, "jsonl", test_fraction=0.3)
    train, test = ([p.file for p in s] for s in source.pairs.values())
    assert len(train) == 14 and len(test) == 6 and not set(train) & set(test)


@pytest.mark.parametrize(
    "row",
    [
        "{",
        "[1]",
        "null",
        {"caption": "x"},
        {"image": 3, "caption": "x"},
        {"image": "a.png", "caption": 3},
        {"image": "a.png", "captions": "x"},
        {"image": "../a.png", "caption": "x"},
        {"image": "a.png", "caption": "x", "captions": ["y"]},
        {"image": "/a.png", "caption": "x"},
    ],
)
def test_bad_lines(tmp_path: Path, row: Any) -> None:
    jsonl(tmp_path / "train.jsonl", {"image": "b.png", "caption": "x"}, row)
    with pytest.raises(InputError, match=r"line 2 of .*train\.jsonl"):
        open_captions(tmp_path, "jsonl")


def test_a_caption_is_named_by_file_and_line(tmp_path: Path) -> None:
    red = {"image": "a.png", "captions": ["one", ""]}
    jsonl(tmp_path / "train.jsonl", {"image": "a.png", "caption": "x"}, red)
    jsonl(tmp_path / "test.jsonl", red)
    lines = (tmp_path / "train.jsonl").read_text()
    (tmp_path / "train.jsonl").write_text("\n\n" + lines)  # blank lines count
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    found = open_captions(tmp_path, "jsonl").split("train")
    place = f"line 4 of {tmp_path / 'train.jsonl'}"
    assert found.example(1)["place"] == f"a.png#1 ({place})"
    with pytest.raises(Unreadable, match=f"a.png#2 \\({place}\\): empty caption"):
        found.example(2)


def test_bad_options(coco: Path) -> None:
    for options in (
        {"format": "flickr"},
        {"captions": "second"},
        {"year": "2015"},
        {"cub_split": "x"},
        {"size": 0},
    ):
        with pytest.raises(UsageError, match=next(iter(options))):
            open_source("captions", str(coco), options)


# -- lines and captions as they are in the wild ---------------------------------------

ODD = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"


@pytest.mark.parametrize("odd", list(ODD))
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_only_a_newline_ends_a_line(odd: str, end: str, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(f"\ufeffa{odd}b{end}c{end}".encode())
    assert read_lines(file, "") == [f"a{odd}b", "c"]
    assert lines_of("a\n\nb\n") == ["a", "", "b"] and lines_of("a") == ["a"]


def test_a_caption_of_jsonl_keeps_odd_separators_together(tmp_path: Path) -> None:
    caption = f"a red bird{ODD}with a black tail"
    row = json.dumps({"image": "a.png", "caption": caption}, ensure_ascii=False)
    (tmp_path / "train.jsonl").write_text(row + "\n" + row.replace("a.png", "b.png"))
    pairs = READERS["jsonl"](tmp_path, dict(media="image", test_fraction=0.5), 0)
    found = [pair.caption for part in pairs.values() for pair in part]
    assert len(found) == 2 and len(set(found)) == 1
    assert found[0].startswith("a red bird") and found[0].endswith("black tail")


@pytest.mark.parametrize("caption", [None, 5, ["a cat"], {}])
def test_a_coco_caption_that_is_no_text_is_one_bad_example(caption, tmp_path) -> None:
    for name in ("train2014", "val2014"):
        (tmp_path / name).mkdir()
        notes = [
            dict(id=i, image_id=1, caption=c) for i, c in enumerate(("a", caption))
        ]
        content = dict(images=[dict(id=1, file_name="1.jpg")], annotations=notes)
        path = tmp_path / "annotations" / f"captions_{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\ufeff" + json.dumps(content), encoding="utf-8")
    pairs = READERS["coco"](tmp_path, dict(year="2014"), 0)
    good, bad = pairs["train"]
    assert good.caption == "a" and not good.bad
    assert not bad.caption and "where a caption should be" in bad.bad
