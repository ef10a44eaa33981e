"""Levels of more than 8 bits, and what of them is refused by name."""

import io
import struct
import zlib

import numpy as np
import pytest
from made_pictures import encoded
from PIL import Image

from cdcd_jax.data import images
from cdcd_jax.data.sources import Unreadable


def ramp(high: float, dtype: type) -> np.ndarray:
    return np.linspace(0, high, 64).astype(dtype).reshape(8, 8)


def tiff(image: Image.Image, **tags: object) -> bytes:
    return encoded(image, "TIFF", tiffinfo=dict(tags.get("tags", {})))


def raw_tiff(pixels: np.ndarray, bits: int, sign: int = 1, white_is_zero: int = 0):
    """A TIFF of one strip, grey or of channels, little-endian, written by hand."""
    data = pixels.tobytes()
    rows, columns, channels = np.atleast_3d(pixels).shape
    tags = [
        *((256, 4, columns), (257, 4, rows), (258, 3, bits), (259, 3, 1)),
        *((262, 3, 1 - white_is_zero), (273, 4, 8), (277, 3, channels), (278, 4, rows)),
        *((279, 4, len(data)), (339, 3, sign)),
    ]
    head = b"II*\0" + (8 + len(data)).to_bytes(4, "little") + data
    head += len(tags).to_bytes(2, "little")
    for tag, kind, value in tags:
        head += tag.to_bytes(2, "little") + kind.to_bytes(2, "little")
        head += (1).to_bytes(4, "little") + value.to_bytes(4, "little")
    return head + bytes(4)


def grey(data: bytes, name: str = "x.tif") -> np.ndarray:
    return np.asarray(images.decode(data, name))[..., 0]


def test_floats_are_levels_from_0_to_1() -> None:
    pixels = ramp(1, np.float32)
    found = grey(tiff(Image.fromarray(pixels)))
    np.testing.assert_array_equal(found, np.rint(pixels.astype(float) * 255))
    assert found.min() == 0 and found.max() == 255
    half = grey(tiff(Image.fromarray(pixels / 2)))  # not stretched
    assert half.max() == 128


@pytest.mark.parametrize(
    ("high", "says"),
    [
        (255, r"levels from 0 to 255, expected 0 to 1"),
        (-1, "levels from -1 to 0"),
        (np.nan, "levels from nan"),
        (np.inf, "levels from"),
    ],
)
def test_floats_of_another_range_are_refused(high: float, says: str) -> None:
    pixels = np.zeros((4, 4), np.float32)
    pixels[1, 1] = high
    with pytest.raises(Unreadable, match=says):
        grey(tiff(Image.fromarray(pixels)))


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "PPM", "JPEG2000"])
def test_sixteen_bits_keep_the_upper_eight(kind: str) -> None:
    pixels = ramp(65535, np.uint16)
    suffix = dict(TIFF="tif", PNG="png", PPM="pgm", JPEG2000="jp2")[kind]
    found = grey(encoded(Image.fromarray(pixels), kind), f"x.{suffix}")
    np.testing.assert_array_equal(found, pixels >> 8)
    dark = grey(encoded(Image.fromarray(pixels // 16), kind), f"x.{suffix}")
    np.testing.assert_array_equal(dark, pixels // 16 >> 8)  # a dark one stays so


def test_sixteen_bits_whose_zero_is_white() -> None:
    pixels = ramp(65535, np.uint16)
    np.testing.assert_array_equal(
        grey(raw_tiff(pixels, 16, white_is_zero=1)), (65535 - pixels) >> 8
    )
    np.testing.assert_array_equal(grey(raw_tiff(pixels, 16)), pixels >> 8)


@pytest.mark.parametrize(
    ("dtype", "bits", "sign", "says"),
    [
        (np.int16, 16, 2, "signed levels"),
        (np.int8, 8, 2, "signed levels"),
        (np.int32, 32, 2, "signed levels"),
        (np.uint32, 32, 1, "32 bits"),
    ],
)
def test_whole_numbers_without_a_white_are_refused(dtype, bits, sign, says) -> None:
    with pytest.raises(Unreadable, match=says):
        grey(raw_tiff(np.ones((4, 4), dtype), bits, sign))


@pytest.mark.parametrize(
    ("dtype", "channels", "sign", "says"),
    [
        (np.float16, 1, 3, "1 channel of float, 16 bits"),
        (np.float64, 1, 3, "1 channel of float, 64 bits"),
        (np.float32, 3, 3, "3 channels of float, 32 bits"),
        (np.uint32, 3, 1, "3 channels of unsigned, 32 bits"),
        (np.complex64, 1, 6, "1 channel of complex, 64 bits"),
    ],
)
def test_what_pillow_has_no_mode_for_is_refused_by_name(dtype, channels, sign, says):
    pixels = np.ones((4, 4, channels), dtype)
    with pytest.raises(Unreadable) as caught:
        grey(raw_tiff(pixels, 8 * pixels.itemsize, sign))
    assert caught.value.reason == f"a TIFF of {says}: save 8 or 16 bits, unsigned"


@pytest.mark.parametrize("size", [4, 8, 20, 60])
def test_a_tiff_without_a_whole_directory_is_no_picture(size: int) -> None:
    with pytest.raises(Unreadable, match=r"no picture of a known format|not a whole"):
        grey(raw_tiff(np.ones((4, 4), np.float64), 64, 3)[:size])


def test_a_level_that_is_seen_through_is_white() -> None:
    pixels = ramp(65535, np.uint16)
    data = encoded(Image.fromarray(pixels), transparency=int(pixels[0, 1]))
    found = grey(data, "x.png")
    assert found[0, 1] == 255
    np.testing.assert_array_equal(found[1:], pixels[1:] >> 8)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "RGBX", "LAB"]
)
def test_every_mode_of_a_tiff_is_right_or_refused(mode: str) -> None:
    flat = Image.new("RGB", (8, 8), (120, 120, 120))
    if mode == "LAB":
        image = Image.new("LAB", (8, 8), (120, 128, 128))
    elif mode == "RGBX":
        image = flat.convert("RGBX")
    else:
        image = flat.convert(mode)
    try:
        found = np.asarray(images.decode(encoded(image, "TIFF"), "x.tif"))
    except Unreadable as error:
        assert mode == "LAB" and "LAB" in error.reason
    else:
        expected = np.asarray(image.convert("RGB"), int)
        assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.filterwarnings("ignore:IM image format")
@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_levels_of_im_files_have_no_white(dtype: type) -> None:
    file = io.BytesIO()
    Image.fromarray(np.eye(8, dtype=dtype)).save(file, "IM")
    with pytest.raises(Unreadable, match="IM does not say what white is"):
        images.decode(file.getvalue(), "x.im")


@pytest.mark.parametrize(("bits", "dtype"), [(16, ">i2"), (32, ">i4"), (-32, ">f4")])
def test_levels_of_fits_files_have_no_white(bits: int, dtype: str) -> None:
    cards = {"SIMPLE": "T", "BITPIX": bits, "NAXIS": 2, "NAXIS1": 8, "NAXIS2": 8}
    lines = [f"{name:8}= {value:>20}".ljust(80) for name, value in cards.items()]
    head = "".join([*lines, "END".ljust(80)]).ljust(2880).encode()
    pixels = np.eye(8).astype(dtype).tobytes().ljust(2880, b"\0")
    with pytest.raises(Unreadable, match="FITS does not say what white is"):
        images.decode(head + pixels, "x.fits")


@pytest.mark.parametrize(("bits", "level"), [(1, 1), (1, 0), (2, 2), (4, 8), (4, 0)])
def test_a_png_of_few_bits_with_a_level_that_is_seen_through(bits, level) -> None:
    rows = np.arange(2**bits, dtype=np.uint8)
    packed = np.packbits(np.unpackbits(rows[:, None], axis=1)[:, 8 - bits :].ravel())
    seen = np.where(rows == level, 255, rows * (255 // (2**bits - 1)))
    data = png(bits, 0, len(rows), packed.tobytes(), struct.pack(">H", level))
    found = np.asarray(images.decode(data, "x.png"))
    np.testing.assert_array_equal(found[0, :, 0], seen)


def test_a_colour_of_16_bits_that_is_seen_through_is_refused() -> None:
    data = png(16, 2, 2, bytes(12), struct.pack(">HHH", 9, 9, 9))
    with pytest.raises(Unreadable, match="tRNS"):
        images.decode(data, "x.png")


def png(bits: int, colour: int, width: int, row: bytes, transparent: bytes) -> bytes:
    """A PNG of one row."""
    head = struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"tRNS", transparent)]
    chunks += [(b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
        for k, d in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
