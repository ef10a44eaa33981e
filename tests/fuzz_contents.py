"""For `fuzz.py`: levels of pictures of every mode, and ends of lines in text files."""

import io
import json
import random
from pathlib import Path

import numpy as np
from PIL import Image

from cdcd_jax.data import folders, images
from cdcd_jax.data.caption_lists import READERS
from cdcd_jax.data.sources import Unreadable

# mode -> formats that hold it without loss
WHOLE = {
    "1": ("PNG", "TIFF", "BMP", "PPM"),
    "L": ("PNG", "TIFF", "BMP", "PPM", "TGA", "IM"),
    "LA": ("PNG", "TIFF"),
    "P": ("PNG", "TIFF", "BMP", "GIF"),
    "RGB": ("PNG", "TIFF", "BMP", "PPM", "TGA", "QOI"),
    "RGBA": ("PNG", "TIFF"),
    "CMYK": ("TIFF",),
}
DEEP = {"I;16": ("PNG", "TIFF", "PPM"), "F": ("TIFF", "PPM")}
# what says nothing about white
REFUSED = {"I": ("TIFF",), "F": ("IM",), "I;16": ("IM",), "LAB": ("TIFF",)}
ODD = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"


class Levels:
    """One picture of random levels, of a mode and a format."""

    def __init__(self, folder: Path) -> None:
        del folder

    def damage(self, rng: random.Random) -> str:
        table = rng.choice((WHOLE, DEEP, DEEP, REFUSED))
        mode = rng.choice(list(table))
        kind, pixels = rng.choice(table[mode]), np.random.default_rng(rng.randrange(99))
        grey = pixels.integers(0, 256, (8, 8), np.uint8)
        self.refused, what = table is REFUSED, ""
        if mode == "F":
            levels = pixels.random((8, 8)).astype(np.float32)
            what = rng.choice(("", "", "-0.5", "255", "nan", "inf"))
            if what:
                levels[1, 2], self.refused = float(what), True
            image = Image.fromarray(levels)
            seen = np.rint(np.nan_to_num(levels.astype(np.float64)) * 255)
        elif mode == "I;16":
            most = rng.choice((1, 255, 256, 4096, 65536))
            levels = pixels.integers(0, most, (8, 8), np.uint16)
            image, seen = Image.fromarray(levels), levels >> 8
        elif mode == "I":
            image, seen = Image.fromarray(grey.astype(np.int32)), grey
        elif mode == "LAB":
            image, seen = Image.merge("LAB", [Image.fromarray(grey)] * 3), grey
        else:
            image = Image.fromarray(grey).convert(mode)
            if mode in ("LA", "RGBA"):  # seen through or not
                image.putalpha(Image.fromarray(np.where(grey % 2, 255, 0).astype("u1")))
                grey = np.where(grey % 2, grey, 255)
            seen = grey if mode != "1" else np.asarray(image) * 255
        self.seen = np.broadcast_to(np.asarray(seen)[..., None], (8, 8, 3))
        file = io.BytesIO()
        image.save(file, kind)
        self.name = f"x.{kind.lower()}"
        self.data = file.getvalue()
        return f"{mode} in {kind} {what}"

    def read(self) -> str:
        try:
            found = np.asarray(images.decode(self.data, self.name))
        except Unreadable:
            assert self.refused, "refused, and its levels have one reading"
            raise
        assert not self.refused, "read, and its levels have no reading"
        np.testing.assert_array_equal(found, self.seen)
        return "right"


class Lines:
    """Captions and lists with all that some take for the end of a line."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "lines"
        self.place.mkdir()

    def damage(self, rng: random.Random) -> str:
        def line() -> str:
            return "".join(rng.choice(["a ", "b", rng.choice(ODD)]) for _ in range(6))

        self.kind = rng.choice(("jsonl", "list"))
        self.lines = [f"x{line()}y{i}" for i in range(rng.randrange(1, 5))]
        mark, end = rng.choice(("", "\ufeff")), rng.choice(("\n", "\r\n"))
        lines = self.lines
        if self.kind == "jsonl":
            ascii = rng.random() < 0.3
            rows = [{"image": f"{i}.png", "caption": c} for i, c in enumerate(lines)]
            # JSON forbids bare control characters, so dumps writes escapes for them
            lines = [json.dumps(row, ensure_ascii=ascii) for row in rows]
        data = (mark + end.join(lines) + rng.choice(("", end))).encode()
        for split in ("train", "test"):
            (self.place / f"{split}.jsonl").write_bytes(data)
        return f"{self.kind}: {data[:80]!r}"

    def read(self) -> str:
        if self.kind == "list":
            found = folders.read_lines(self.place / "train.jsonl", "")
            assert found == self.lines
            return "right"
        options = {"media": "image", "test_fraction": 0.5}
        pairs = READERS["jsonl"](self.place, options, 0)
        for part in pairs.values():
            assert [p.caption for p in part] == [
                " ".join(c.split()) for c in self.lines
            ]
        return "right"
