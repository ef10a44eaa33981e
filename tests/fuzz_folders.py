"""For `fuzz.py`: folders with links and odd names; classes that are asked for."""

import os
import random
import shutil
import unicodedata
from pathlib import Path

import numpy as np
from made_folders import content, make

from cdcd_jax.data import images
from cdcd_jax.data.sources import open_source
from cdcd_jax.generation import classes

LITTER = (".DS_Store", "Thumbs.db", "._0.png", "desktop.ini")


class Folders:
    """Six pictures in two classes, to which links, files and folders are added."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "folders"

    def damage(self, rng: random.Random) -> str:
        shutil.rmtree(self.place, ignore_errors=True)
        parts = rng.choice(
            [[""], ["train/", "test/"], ["Train/", "VAL/"], ["a/", "b/"]]
        )
        names = [
            f"{p}{c}/{i}.png" for p in parts for c in ("cat", "dog") for i in "012"
        ]
        self.root = make(self.place / "root", names)
        make(self.place / "elsewhere", ["8.png", "in/9.png", "blob"])
        self.labelled = rng.random() < 0.7
        return ", ".join(self._add(rng) for _ in range(rng.choice((1, 2, 4))))

    def _add(self, rng: random.Random) -> str:
        inside = [p for p, _, _ in os.walk(self.root)]
        everything = [os.path.join(p, n) for p, _, f in os.walk(self.place) for n in f]
        folder = Path(rng.choice(inside))
        stem = rng.choice(
            ["x", "two.dots", "café", "cafe\u0301", " ", "9", "a,b", "#2"]
        )
        suffix = rng.choice([".png", ".PNG", ".jpg", ".heic", ".part", "", ".tga"])
        path = folder / (stem + suffix)
        kind = rng.choice(
            [
                "file",
                "link",
                "hard",
                "folder link",
                "dangling",
                "litter",
                "bytes",
                "dir",
            ]
        )
        if kind == "litter":
            path = folder / rng.choice(LITTER)
        if kind == "bytes":
            path = folder / os.fsdecode(b"caf\xe9" + suffix.encode())
        if kind == "dir":
            path = folder / rng.choice(["train", "Test", "__MACOSX", "emu", "x.png"])
            path = path / rng.choice(["0.png", "emu/0.png", "0.heic"])
        if kind == "folder link":
            path = path.with_name(f"{stem} folder")
        taken = (p for p in path.parents if os.path.lexists(p) and not p.is_dir())
        if os.path.lexists(path) or any(taken):
            return "nothing"
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            path.symlink_to(rng.choice(everything))
        elif kind == "hard":
            target = rng.choice(
                [name for name in everything if not os.path.islink(name)]
            )
            os.link(target, path)
        elif kind == "folder link":
            others = [self.root, self.place, self.place / "elsewhere", ".", ".."]
            path.symlink_to(rng.choice([*inside, *others]))
        elif kind == "dangling":
            path.symlink_to(rng.choice(["nowhere.png", path.name]))
        else:
            path.write_bytes(content(path.suffix.lower()))
        shown = os.fsencode(path.relative_to(self.root)).decode("utf-8", "replace")
        return f"{kind} {shown}"

    def read(self) -> str:
        options = {"size": 4, "labels": self.labelled}
        source = open_source("image_folder", str(self.root), options)
        card, names = source.card(), [n for part in source.files.values() for n in part]
        files = [os.stat(self.root / name) for name in names]
        assert len({(f.st_dev, f.st_ino) for f in files}) == len(names), (
            "one file twice"
        )
        "".join([*names, *card["left_out"]]).encode()  # UTF-8
        labels = card["conditions"]["label"]["names"] if self.labelled else [""]
        assert len({unicodedata.normalize("NFC", name) for name in labels}) == len(
            labels
        )
        if self.labelled:
            assert not {n.lower() for n in labels} & {"test", "val", "valid"}
        for split in source.files:
            part = source.split(split)
            for index in range(len(part)):
                example = part.example(index)
                self._check_place(example["key"])
                if self.labelled:
                    label = labels[int(example["condition"]["label"])]
                    folders = example["key"].split("/")[:-1]
                    assert label in [unicodedata.normalize("NFC", n) for n in folders]
        unread = self._visible() - len(names)
        assert unread <= sum(card["left_out"].values()), "left out without a count"
        return "read"

    def _check_place(self, key: str) -> None:
        """A file that has a place below the root, and is read there, has that name."""
        real = os.path.relpath(
            os.path.realpath(self.root / key), os.path.realpath(self.root)
        )
        parts, suffix = real.split("/"), os.path.splitext(real)[1].lower()
        unseen = any(n.startswith(".") or n in (*LITTER, "__MACOSX") for n in parts)
        if not unseen and suffix in images.suffixes():
            assert key == real, f"{key} in place of {real}"

    def _visible(self) -> int:
        """Files and dangling links that are no litter and not hidden."""
        count = 0
        for _, folders, files in os.walk(self.root):
            folders[:] = [n for n in folders if n != "__MACOSX"]
            count += sum(
                n not in (*LITTER, "__MACOSX") and not n.startswith(".") for n in files
            )
        return count


class Classes:
    """Requests of names and numbers, with all kinds of names."""

    def __init__(self, folder: Path) -> None:
        del folder

    def damage(self, rng: random.Random) -> str:
        pools = [
            [str(n) for n in range(12)],
            [str(n) for n in range(1, 13)],
            ["cat", "Cat", "dog", "café", "cafe\u0301e", "Été", "a,b", "a", "b", "#1"],
            ["2", "1", "0", "cat", "name:2", " 3", "²"],
        ]
        names = rng.choice(pools)
        self.names = tuple(rng.sample(names, rng.randrange(2, len(names) + 1)))
        parts = [*self.names, *map(str, range(14)), "#2", "name:2", "x", "", " 1 "]
        chosen = rng.choices(parts, k=rng.choice((1, 1, 2, 3)))
        form = rng.choice(("NFC", "NFD"))
        self.parts = [unicodedata.normalize(form, part) for part in chosen]
        self.as_list = rng.random() < 0.3
        return f"{self.parts} of {self.names}"

    def read(self) -> str:
        value = self.parts if self.as_list else classes.Flag(",".join(self.parts))
        found = classes.read("label", value, len(self.names), self.names)
        assert found.dtype == np.int32 and (0 <= found).all()
        assert found.max() < len(self.names)
        plain = [p for p in self.parts if p.strip() and p.strip()[0] != "#"]
        plain = [p.strip() for p in plain if "name:" not in p and "," not in p]
        if self.as_list or len(plain) < len(self.parts):
            return "read"
        key = lambda name: unicodedata.normalize("NFC", name).strip().casefold()
        by_number = [str(n) for n in found] == plain
        by_name = [key(self.names[n]) for n in found] == [key(p) for p in plain]
        whole = key(",".join(plain)) == key(self.names[found[0]])
        assert by_number or by_name or whole, "a mixture"
        return "right"
