"""Pictures of any common kind, as bytes -> RGB of one size, and frames of moving ones.

Pillow decodes. Grey levels and palettes become RGB, transparent pixels are laid on
white, CMYK is converted by Pillow's plain formula, EXIF's rotation is applied; colour
profiles are not. Levels of more than 8 bits are read in `levels`.
"""

import contextlib
import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from cdcd_jax.data import marks
from cdcd_jax.data.levels import Deep, NoWhite, deep_levels, tiff_levels
from cdcd_jax.data.sources import Unreadable

# What a file is known by from its first bytes, whatever its suffix says.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
FORMATS += ("AVIF", "JPEG2000", "QOI")
# Pillow starts another program for the first, and only looks at the head of the others.
_NOT_READ = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_GIF_END = b";"
MAX_PIXELS = 2**27  # a larger one would fill the memory of small machines


def suffixes() -> dict[str, str]:
    """Suffix (".png") -> format, of all that Pillow decodes here."""
    from PIL import Image, features

    known = Image.registered_extensions()
    known |= {s: "JPEG" for s, kind in known.items() if kind == "MPO"}  # several JPEGs
    parts = {"AVIF": "avif", "WEBP": "webp", "JPEG2000": "jpg_2000"}
    missing = {kind for kind, part in parts.items() if not features.check(part)}
    kinds = set(Image.OPEN) - _NOT_READ - missing
    return {suffix: kind for suffix, kind in known.items() if kind in kinds}


def decode(data: bytes, name: str) -> Any:
    """The picture in `data` as a PIL image of mode RGB, turned upright.

    Of several frames it is the first one. Damage that a format cannot show (a JPEG has
    no checksum) is not seen.

    Args:
        data: the bytes of a file, of one of `FORMATS` or of the one that its suffix
            names.
        name: the file's, also for the error.

    Raises:
        Unreadable: no picture, a truncated one, one of more than 2**27 pixels, or one
            whose levels have no one reading in 8 bits.
    """

    def upright(image: Any) -> Any:
        deep = deep_levels(image)
        _turn_upright(image)
        return _to_rgb(image, deep)

    return _decoded(data, name, upright)


def decode_frames(data: bytes, name: str) -> list[Any]:
    """All frames of an animated picture (GIF, PNG, WebP), PIL images of mode RGB.

    A still picture has one. Args and errors are those of `decode`, which limits the
    pixels of all frames together.
    """

    def frames(image: Any) -> list[Any]:
        # Pillow takes as many frames as came before a download broke off
        if image.format == "GIF" and not data.rstrip(b"\0").endswith(_GIF_END):
            raise Unreadable(name, "not a whole picture (no end of its GIF)")
        number = getattr(image, "n_frames", 1)
        if image.width * image.height * number > MAX_PIXELS:
            raise Unreadable(name, f"more than {MAX_PIXELS} pixels")
        found = []
        for i in range(number):
            image.seek(i)
            found.append(_to_rgb(image.copy(), None))
        return found

    return _decoded(data, name, frames)


def _decoded(data: bytes, name: str, of: Callable[[Any], Any]) -> Any:
    """What `of` makes of the PIL image in `data`, loaded; raises as `decode` does."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise Unreadable(name, "zero bytes")
    known = suffixes()
    own = known.get(os.path.splitext(name)[1].lower())
    formats = [kind for kind in (*FORMATS, own) if kind in known.values()]
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
        if image.format == "PNG":
            image.verify()  # checksums, which decoding passes over
            image = Image.open(io.BytesIO(data), formats=["PNG"])
        if image.width * image.height > MAX_PIXELS:
            raise Unreadable(name, f"more than {MAX_PIXELS} pixels")
        image.load()
        # Pillow takes zeros, as in a download that broke off, for the rest of a picture
        if image.format == "JPEG" and data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN):
            raise Unreadable(name, "not a whole picture (no end of its JPEG)")
        if image.format == "PNG" and isinstance(
            image.info.get("transparency"), int | tuple
        ):
            _scale_transparent(image, bits=data[24])
        return of(image)
    except (Unreadable, MemoryError):
        raise
    except UnidentifiedImageError:  # whose text holds an address
        raise Unreadable(name, _why_unknown(data)) from None
    except NoWhite as error:
        raise Unreadable(name, str(error)) from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise Unreadable(name, f"not a whole picture ({error})") from error


def _why_unknown(data: bytes) -> str:
    """Why Pillow finds no picture in `data`."""
    if data[:4] in (b"II*\0", b"MM\0*"):
        # a damaged directory may raise nearly anything
        with contextlib.suppress(Exception):
            return f"a TIFF of {tiff_levels(data)}: save 8 or 16 bits, unsigned"
    return marks.called(data) or "no picture of a known format"


def read(path: Any, decode: Callable[[bytes, str], Any] = decode) -> Any:
    """The picture in the file `path`, as `decode` gives it; raises as it does.

    Args:
        decode: or `decode_frames`.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise Unreadable(str(path), error.strerror or "cannot be read") from error
    except ValueError as error:  # no name that a file can have
        raise Unreadable(str(path), str(error)) from error
    return decode(data, str(path))


def _scale_transparent(image: Any, bits: int) -> None:
    """Pillow scales a PNG's levels to 8 bits, and not the one that is seen through."""
    level = image.info["transparency"]
    if image.mode == "L" and bits < 8:
        image.info["transparency"] = level * 255 // (2**bits - 1)
    if image.mode == "RGB" and bits == 16:  # 8 of the bits do not tell which it is
        raise NoWhite("a colour of 16 bits is seen through (tRNS): save 8 bits")


def _turn_upright(image: Any) -> None:
    from PIL import ImageOps

    # a damaged EXIF block may raise nearly anything; the pixels are sound
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def _to_rgb(image: Any, deep: Deep | None) -> Any:
    from PIL import Image

    if deep is not None:
        return Image.fromarray(deep.to_8_bits(image)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def fit(
    image: Any,
    size: int,
    rng: np.random.Generator | None = None,
    flip: bool = True,
) -> np.ndarray:
    """A square of the PIL image, uint8 [size, size, 3].

    A square as wide as the short side is cut out and resized to `size` (bicubic,
    antialiased): from the centre, or with `rng` from a random place; then half of them
    are mirrored, unless `flip` is false.
    """
    from PIL import Image

    width, height = image.size
    short = min(width, height)
    if rng is None:
        left, top = (width - short) // 2, (height - short) // 2
    else:
        left = int(rng.integers(width - short + 1))
        top = int(rng.integers(height - short + 1))
    box = (left, top, left + short, top + short)
    square = np.array(image.resize((size, size), Image.Resampling.BICUBIC, box))
    if rng is not None and flip and rng.random() < 0.5:
        square = np.ascontiguousarray(square[:, ::-1])
    return square
