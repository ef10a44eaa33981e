"""Tests of listing folders: each file once, and what is passed over is counted."""

import os
from pathlib import Path

import pytest
from made_folders import make

from cdcd_jax.data.walk import counted, list_files, told
from cdcd_jax.errors import InputError

FILES = ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
LINKED = "links to files that are read already"
FOLDERS = "links to folders that are read already"


def listed(tmp_path: Path, *names: str):
    return list_files(make(tmp_path / "root", [*FILES, *names]), {".png"})


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (["cat/all -> .."], {FOLDERS: 1}),
        (["cat/me -> ."], {FOLDERS: 1}),
        (["cat/up -> ../.."], {"links to folders above": 1}),
        (["cat/top -> /"], {"links to folders above": 1}),
        (["kitten -> cat"], {FOLDERS: 1}),
        (["cat/d -> ../dog", "dog/c -> ../cat"], {FOLDERS: 2}),
        (["cat/x.png -> 0.png"], {LINKED: 1}),
        (["cat/x.png -> ../dog/0.png"], {LINKED: 1}),
        (["cat/x.png -> y.png", "cat/y.png -> 0.png"], {LINKED: 2}),
        (["cat/x.png = 0.png"], {"hard links to files that are read already": 1}),
        (["cat/x.png -> none.png", "cat/y -> none"], {"dangling links": 2}),
        (["cat/x.png -> x.png"], {"dangling links": 1}),
        (["cat/a.jpeg -> 0.png"], {".jpeg": 1}),
    ],
)
def test_links_to_what_is_there_give_nothing_more(tmp_path, names, left) -> None:
    listing = listed(tmp_path, *names)
    assert listing.files == FILES
    assert counted(listing.left.values()) == left
    listing.refuse_torn(lambda name: name.split("/")[0])


@pytest.mark.parametrize(
    ("names", "more"),
    [
        (["../o/9.png", "cat/x.png -> ../../o/9.png"], ["cat/x.png"]),
        (
            ["../o/9", "cat/x.png -> ../../o/9"],
            ["cat/x.png"],
        ),  # as a hub's cache has it
        (["../o/9.png", "emu -> ../o"], ["emu/9.png"]),
        (["../o/9.png", "emu -> ../o", "../o/me -> ."], ["emu/9.png"]),
        (["../o/9.png", "emu -> ../o", "../o/up -> .."], ["emu/9.png"]),
        (["../o/9.png", "emu -> ../o", "../o/back -> ../root"], ["emu/9.png"]),
        (["../o/9.png", "cat/b -> ../../o", "cat/a -> ../../o"], ["cat/a/9.png"]),
        (["../o/9.png", "cat/x.png -> ../../o/9.png", "cat/y -> ../../o"], None),
        (["../o/q/9.png", "cat/x -> ../../o", "cat/y -> ../../o/q"], None),
        (["../o/9.png", "cat/x.png = ../../o/9.png", "cat/y -> ../../o"], None),
        ([".cache/9.png", "cat/x.png -> ../.cache/9.png"], ["cat/x.png"]),
    ],
)
def test_files_from_elsewhere_come_once(tmp_path, names, more) -> None:
    files = listed(tmp_path, *names).files
    assert len({os.path.realpath(tmp_path / "root" / name) for name in files}) == 5
    if more:
        assert sorted({*files} - {*FILES}) == more
    assert len(files) == 5


@pytest.mark.parametrize(
    "names",
    [
        ["cat/x.png -> ../../o/9.png", "dog/y.png -> ../../o/9.png"],
        ["cat/x -> ../../o", "dog/y -> ../../o"],
        ["cat/x -> ../../o", "dog/y.png -> ../../o/9.png"],
        ["dog/y -> ../../o", "emu -> ../o"],
        ["cat/x.png = ../../o/9.png", "dog/y.png = ../../o/9.png"],
        ["cat/x.png = 0.png", "dog/y.png = ../cat/0.png"],
    ],
)
def test_a_file_in_two_classes_is_refused(tmp_path, names) -> None:
    listing = listed(tmp_path, "../o/9.png", *names)
    with pytest.raises(InputError, match=r"two names.* and .*remove one"):
        listing.refuse_torn(lambda name: name.split("/")[0])
    listing.refuse_torn(lambda name: "")  # without classes there is no harm


def test_names_and_kinds_that_are_no_data(tmp_path: Path) -> None:
    listing = listed(
        tmp_path,
        *("cat/._0.png", "cat/.DS_Store", "cat/Thumbs.db", "desktop.ini"),
        *("#recycle/9.png", "@Recycle/9.png", "RECYCLER/9.png", "~snapshot/9.png"),
        *("@Recently-Snapshot/9.png", "#snapshot/9.png", "cat/Icon\r"),
        *("__MACOSX/cat/._0.png", "__MACOSX/cat/9.png", ".git/9.png"),
        *("cat/.secret.png", "cat/a.HEIC", "dog/b.heic", "cat/noext", "cat/x.png.part"),
        *("cat/A.PNG", "cat/two.dots.png", "cat/d.png/9.png"),
    )
    os.mkfifo(tmp_path / "root" / "cat" / "pipe.png")
    listing = list_files(tmp_path / "root", {".png"})
    assert {*listing.files} - {*FILES} == {
        *("cat/A.PNG", "cat/two.dots.png", "cat/d.png/9.png")
    }
    counts = counted(listing.left.values())
    assert counts == {
        **{".heic": 2, ".part": 1, "hidden files": 1},
        **{"no regular files": 1, "without a suffix": 1},
    }
    assert told(counts).startswith(".heic (2), .part (1), hidden")
    many = {f".{i}": 20 - i for i in range(15)}
    assert told(many).endswith(".11 (9), 3 other kinds (21)")
    assert listing.told("dog") == " (left out: .heic (1))"


@pytest.mark.parametrize(
    "name", [b"cat/caf\xe9.png", b"caf\xe9/0.png", b"\xff\xfe.png"]
)
def test_names_that_are_not_utf8_are_told(tmp_path: Path, name: bytes) -> None:
    with pytest.raises(InputError, match="not UTF-8") as caught:
        listed(tmp_path, os.fsdecode(name))
    printed = str(caught.value).encode().decode()  # it can be printed
    assert name.decode("utf-8", "backslashreplace") in printed and "convmv" in printed


def test_names_that_are_not_read_may_be_anything(tmp_path: Path) -> None:
    listing = listed(tmp_path, os.fsdecode(b"cat/caf\xe9.\xe9x"))
    assert told(counted(listing.left.values())) == r".\xe9x (1)"


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch) -> None:
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"dog, which cannot be read \(Permission"):
        listed(tmp_path)


def test_files_are_found_by_other_names(tmp_path: Path) -> None:
    listing = listed(
        tmp_path, "cat/all -> ..", "dog/cafe\u0301.png", "h.png = cat/0.png"
    )
    assert listing.find("cat/0.png") == listing.find("h.png") == "cat/0.png"
    assert listing.find("cat/all/dog/1.png") == "dog/1.png"
    assert listing.find("dog/caf\u00e9.png") == "dog/cafe\u0301.png"
    assert listing.find("cat/9.png") is None and listing.find("../../etc") is None
