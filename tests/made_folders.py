"""Folders of pictures and sounds, written as lists of names.

cat/0.png              a picture (or, with a suffix of sounds, a sound)
emu/                   an empty folder
cat/x.png -> 0.png     a link, also to a folder
cat/y.png = 0.png      a hard link
notes.txt              a file of another kind
"""

import functools
import io
import os
from collections.abc import Iterable
from pathlib import Path

PICTURES = (".png", ".jpg", ".bmp", ".tga")
SOUNDS = (".wav", ".flac", ".aif", ".opus")


@functools.cache
def content(suffix: str) -> bytes:
    """A sound file of that suffix, as small as can be."""
    if suffix in PICTURES:
        from PIL import Image

        file = io.BytesIO()
        kind = {".jpg": "JPEG"}.get(suffix, suffix[1:].upper())
        Image.new("RGB", (4, 4), (9, 9, 9)).save(file, kind)
        return file.getvalue()
    if suffix in SOUNDS:
        import numpy as np
        import soundfile

        file = io.BytesIO()
        kinds = {".aif": ("AIFF", None), ".opus": ("OGG", "OPUS")}
        kind, subtype = kinds.get(suffix, (suffix[1:].upper(), None))
        soundfile.write(file, np.full(800, 0.5), 8000, subtype, format=kind)
        return file.getvalue()
    return b"something else"


def make(root: Path, names: Iterable[str]) -> Path:
    """Writes them below `root`, which is made; returns it."""
    root.mkdir(parents=True, exist_ok=True)
    for line in names:
        name, arrow, target = line.partition(" -> ")
        name, equal, other = name.partition(" = ")
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if arrow:
            path.symlink_to(target)
        elif equal:
            os.link(path.parent / other, path)
        else:
            path.write_bytes(content(path.suffix.lower()))
    return root
