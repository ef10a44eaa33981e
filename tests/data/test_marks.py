"""Files that are not what their suffix says: named by what they are."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdcd_jax.data import audio, images
from cdcd_jax.data.sources import Unreadable

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
PAGE = b"\r\n<!DOCTYPE html><html><body>404</body></html>"
MP4 = b"\0\0\0\x20ftypM4A \0\0\0\0"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (POINTER, "git lfs pull"),
        (PAGE, "a page of HTML"),
        (bytes(5000), "nothing but zeros"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "SVG"),
        (b"8BPS\0\1" + bytes(99) + b"x", "Photoshop"),
        (b"II+\0\x08\0\0\0\x10" + bytes(40), "BigTIFF"),
        (b"PK\3\4" + b"x" * 99, "ZIP"),
        (b"well", "no picture of a known format"),
    ],
)
def test_pictures_that_are_none(data: bytes, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        images.decode(data, "x.jpg")


@pytest.mark.parametrize("suffix", [".mp3", ".wav"])
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (POINTER, "git lfs pull"),
        (PAGE + b"x" * 3000, "a page of HTML"),
        (bytes(5000), "nothing but zeros"),
        (MP4 + bytes(3000), "an MP4"),
        (b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(3000), "an AAC stream"),
        (b"\x1a\x45\xdf\xa3" + bytes(3000), "WebM"),
        (b"well" * 99, "not a whole sound file"),
    ],
)
def test_sounds_that_are_none(
    data: bytes, says: str, suffix: str, tmp_path: Path
) -> None:
    file = tmp_path / f"x{suffix}"
    file.write_bytes(data)
    with pytest.raises(Unreadable, match=says):
        audio.read(file)


def jpeg(**options: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_whose_rest_is_zeros_is_not_whole(progressive: bool) -> None:
    data = jpeg(progressive=progressive)
    whole = images.decode(data + bytes(100), "x.jpg")  # others' bytes behind its end
    assert whole.size == (64, 64)
    for length in (len(data) // 2, len(data) - 2):
        with pytest.raises(Unreadable, match="not a whole picture"):
            images.decode(data[:length] + bytes(len(data) - length), "x.jpg")
