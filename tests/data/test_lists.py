"""Lists of examples as people have them: their encoding, and what splits share."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from made_dances import NAMES, write_list, write_segments, write_wave
from PIL import Image

from cdcd_jax.data.sources import Unreadable, open_source
from cdcd_jax.errors import InputError

OPTIONS = {"size": 4}


def jsonl(root: Path, name: str, *numbers: int) -> None:
    for number in numbers:
        Image.new("RGB", (4, 4)).save(root / f"{number}.png")
    rows = [{"image": f"{n}.png", "caption": f"caf\u00e9 {n}"} for n in numbers]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (root / name).write_text("\n".join(lines), "utf-8")


@pytest.mark.parametrize(
    ("encoding", "says"),
    [
        ("latin-1", r"train\.jsonl, which is no UTF-8 text \(the byte 0xe9 in line 1"),
        ("utf-16", r"train\.jsonl, which is UTF-16 text"),
    ],
)
def test_a_list_of_another_encoding(encoding: str, says: str, tmp_path: Path) -> None:
    jsonl(tmp_path, "train.jsonl", 0, 1)
    list_ = tmp_path / "train.jsonl"
    list_.write_bytes(list_.read_text("utf-8").encode(encoding))
    with pytest.raises(InputError, match=says):
        open_source("captions", str(tmp_path), {"format": "jsonl", **OPTIONS})


def test_pictures_of_two_splits_are_told(tmp_path: Path) -> None:
    jsonl(tmp_path, "train.jsonl", 0, 1, 2)
    jsonl(tmp_path, "test.jsonl", 2, 3)
    source = open_source("captions", str(tmp_path), {"format": "jsonl", **OPTIONS})
    assert source.card()["remarks"] == [
        "1 pictures are in train as well as in test, such as 2.png"
    ]
    jsonl(tmp_path, "test.jsonl", 3)
    source = open_source("captions", str(tmp_path), {"format": "jsonl", **OPTIONS})
    assert "remarks" not in source.card()


def coco(root: Path, caption: object, number: int = 2) -> None:
    (root / "annotations").mkdir()
    for part in ("train", "val"):
        (root / f"{part}2014").mkdir()
        files = [{"id": n, "file_name": f"{n}.jpg"} for n in range(2)]
        notes = [{"id": n, "image_id": n, "caption": caption} for n in range(number)]
        content = {"images": files, "annotations": notes}
        path = root / "annotations" / f"captions_{part}2014.json"
        path.write_text(json.dumps(content))


def test_half_a_character_is_one_bad_caption(tmp_path: Path) -> None:
    coco(tmp_path, "\ud83d")
    source = open_source("captions", str(tmp_path), {"format": "coco", **OPTIONS})
    with pytest.raises(Unreadable, match="ud83d"):
        source.split("train").example(0)


def test_no_captions_at_all(tmp_path: Path) -> None:
    coco(tmp_path, "a", number=0)
    with pytest.raises(InputError, match="no caption for the split train"):
        open_source("captions", str(tmp_path), {"format": "coco", **OPTIONS})


def test_a_picture_of_cub_with_two_numbers(tmp_path: Path) -> None:
    (tmp_path / "images.txt").write_text("1 a/x.jpg\n2 a/x.jpg\n")
    (tmp_path / "train_test_split.txt").write_text("1 1\n2 0\n")
    with pytest.raises(InputError, match=r"'a/x\.jpg' twice"):
        open_source("captions", str(tmp_path), {"format": "cub", **OPTIONS})


def test_dances_of_two_splits_are_told(tmp_path: Path) -> None:
    same = {"train": NAMES["train"], "test": [NAMES["test"][0], NAMES["train"][1]]}
    write_segments(tmp_path, names_of=same)
    # a list of val for another length is none for this one
    (tmp_path / "aist_audio_val_segment_s6.txt").write_text("")
    card = open_source("aist", str(tmp_path)).card()
    assert card["splits"] == ("train", "test")
    assert card["remarks"] == [
        f"1 dances are in train as well as in test, such as {NAMES['train'][1]}"
    ]


def test_motions_by_file_and_those_that_are_too_short(tmp_path: Path, capsys) -> None:
    names = {"train": ["gBR_sBM_cAll_d04_mBR0_ch01", "gBR_sBM_cAll_d05_mBR0_ch02"]}
    names["test"] = ["gLO_sBM_cAll_d13_mLO1_ch02"]
    for folder in ("motions", "music", "splits"):
        (tmp_path / folder).mkdir()
    for split, found in names.items():
        for frames, name in zip((250, 100), found, strict=False):
            motion = {
                "smpl_poses": np.zeros((frames, 72)),
                "smpl_trans": np.zeros((frames, 3)),
            }
            path = tmp_path / "motions" / f"{name}.pkl"
            path.write_bytes(pickle.dumps(motion))
        # as a shell lists them
        lines = [f"motions/{name}.pkl" for name in found]
        write_list(tmp_path / "splits" / f"crossmodal_{split}.txt", lines)
    for track in ("mBR0", "mLO1"):
        write_wave(tmp_path / "music" / f"{track}.wav", np.full(5 * 22050, 0.1))
    options = {"layout": "release"}
    train = open_source("aist", str(tmp_path), options).split("train")
    assert train.names() == [f"{names['train'][0]}_seg{n}" for n in (1, 2)]
    assert train.example(0)["condition"]["genre"] == 0
    said = "1 motions of train are shorter than 2 s and left out, such as"
    assert f"{said} {names['train'][1]}" in capsys.readouterr().err
    long = open_source("aist", str(tmp_path), {**options, "seconds": 9})
    with pytest.raises(InputError, match="no motion of 9 s in the split train"):
        long.split("train")


def test_a_folder_without_sounds_is_told(tmp_path: Path) -> None:
    for name in ("a/0", "a/1", "b/2", "b/3"):
        write_wave(tmp_path / f"{name}.wav", np.full(800, 0.1), 8000)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x.m4a").write_bytes(b"x")
    card = open_source("audio_folder", str(tmp_path)).card()
    assert card["conditions"]["label"]["names"] == ["a", "b"]
    (said,) = card["remarks"]
    assert said == "no sound file in c (left out: .m4a (1)), which is no class then"
