"""Tests of names of files in lists: in another form, by links, and odd ones."""

import json
import os
import unicodedata
from pathlib import Path

import pytest
from made_folders import make

from cdcd_jax.data import audio, images, names
from cdcd_jax.data.sources import Unreadable, open_source
from cdcd_jax.errors import InputError

NFC, NFD = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))


def captions(root: Path, *lines: dict):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (root / "train.jsonl").write_text(text)
    return open_source("captions", str(root), {"format": "jsonl", "size": 4})


@pytest.mark.parametrize(("listed", "stored"), [(NFC, NFD), (NFD, NFC), (NFC, NFC)])
def test_lists_name_files_in_any_form(tmp_path: Path, listed: str, stored: str) -> None:
    make(tmp_path, [f"{stored}/{stored}.png", "b.png"])
    assert names.existing(tmp_path, f"{listed}/{listed}.png").exists()
    line = {"image": f"{listed}/{listed}.png", "caption": "a"}
    source = captions(tmp_path, line, {"image": "b.png", "caption": "b"})
    found = [source.split(split).example(0)["key"] for split in ("train", "test")]
    assert f"{listed}/{listed}.png#0" in found


def test_a_picture_with_two_names_stays_in_one_split(tmp_path: Path) -> None:
    links = [f"{i}.png -> {i + 1}.png" for i in range(0, 20, 2)]
    files = [f"{i}.png" for i in range(1, 20, 2)]
    hard = ["a.png", "b.png = a.png", "folder -> ."]
    make(tmp_path, [*links, *files, *hard])
    told = [f"{i}.png" for i in range(20)] + ["a.png", "b.png", "folder/a.png"]
    assert names.first_names(tmp_path, told)["1.png"] == "0.png"
    assert names.first_names(tmp_path, told)["folder/a.png"] == "a.png"
    source = captions(tmp_path, *({"image": n, "caption": n} for n in told))
    real = [
        {os.stat(tmp_path / pair.file).st_ino for pair in source.pairs[split]}
        for split in ("train", "test")
    ]
    assert not real[0] & real[1] and len(real[0] | real[1]) == 11
    assert sum(map(len, source.pairs.values())) == len(told)  # all captions stay


@pytest.mark.parametrize("line", ['{"image": "\\udce9.png", "caption": "x"}'])
def test_halves_of_characters_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "train.jsonl").write_text(line)
    with pytest.raises(InputError, match="udce9"):
        open_source("captions", str(tmp_path), {"format": "jsonl"})


@pytest.mark.parametrize(
    "name", ["a\0.png", "x" * 300 + ".png", "b.png/c.png", "l.png"]
)
def test_names_that_no_file_can_have_are_unreadable(tmp_path: Path, name: str) -> None:
    make(tmp_path, ["b.png", "l.png -> l.png"])
    for read in (images.read, audio.read):
        with pytest.raises(Unreadable):
            read(tmp_path / name)


def test_names_in_print() -> None:
    assert names.shown("café") == "café"
    assert names.shown(os.fsdecode(b"caf\xe9")) == r"caf\xe9"
