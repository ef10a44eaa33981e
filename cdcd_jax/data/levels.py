"""Grey levels of more than 8 bits, and floats, as 8 bits.

What white is, says the format, never the picture at hand: else one picture of a folder
would be brighter than it is. Where the format does not say, the picture is refused.

    n bits, unsigned    0 .. 2^n - 1     PNG, TIFF, PGM, JPEG 2000, 8 < n <= 16
    floats              0 .. 1           TIFF, PFM
    signed, 32 bits     refused          there is no white
    other formats       refused          FITS, IM and such hold measurements
"""

import dataclasses
import io
from typing import Any

import numpy as np

# TIFF's tags
_BITS, _WHITE_IS_ZERO, _CHANNELS, _SIGN = 258, 262, 277, 339
_SIGNED = 2
_KINDS = {1: "unsigned", 2: "signed", 3: "float", 5: "complex", 6: "complex"}
_RANGED = ("PNG", "TIFF", "PPM", "JPEG2000")  # formats that say what white is


class NoWhite(ValueError):
    """The levels of a sound picture have no one reading in 8 bits."""


@dataclasses.dataclass(frozen=True)
class Deep:
    """How the one channel of a picture becomes 8 bits."""

    white: float
    inverted: bool = False
    transparent: int | None = None  # the level that is seen through

    def to_8_bits(self, image: Any) -> np.ndarray:
        """uint8 [H, W] of a PIL image of one channel.

        Raises:
            NoWhite: levels outside of [0, white], or that are no numbers.
        """
        pixels = np.asarray(image, np.float64)
        low, high = pixels.min(), pixels.max()
        if not 0 <= low <= high <= self.white:  # NaN is refused, too
            raise NoWhite(
                f"levels from {low:g} to {high:g}, expected 0 to {self.white:g}: scale "
                "them"
            )
        if self.inverted:
            pixels = self.white - pixels
        if self.white == 1.0:
            levels = np.rint(pixels * 255)
        else:  # whole numbers: the upper 8 of their bits
            levels = np.floor(pixels * (256 / (self.white + 1)))
        if self.transparent is not None:
            levels = np.where(np.asarray(image) == self.transparent, 255, levels)
        return levels.astype(np.uint8)


def deep_levels(image: Any) -> Deep | None:
    """How to read a PIL image of more than 8 bits a level; None for any other.

    Raises:
        NoWhite: there is no one way.
    """
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    bits = max(np.ravel(tags.get(_BITS, 0)).tolist(), default=0)
    name = f"mode {image.mode}" + (f", {bits} bits" if bits else "")
    if _SIGNED in np.ravel(tags.get(_SIGN, 1)):
        raise NoWhite(f"signed levels ({name}) have no white: save them unsigned")
    if image.mode.startswith(("I", "F")) and image.format not in _RANGED:
        raise NoWhite(
            f"{image.format} does not say what white is ({name}): save PNG or TIFF"
        )
    inverted = tags.get(_WHITE_IS_ZERO) == 0
    transparent = image.info.get("transparency")
    if image.mode == "F":
        return Deep(1.0, inverted)
    if image.mode.startswith("I;16"):
        return Deep(2 ** (bits or 16) - 1, inverted, transparent)
    if image.mode == "I":
        if image.format in ("PPM", "PNG"):  # which Pillow scales to 16 bits
            return Deep(2**16 - 1, transparent=transparent)
        raise NoWhite(f"whole numbers of 32 bits ({name}): save 8 or 16 bits")
    if image.mode in ("LAB", "CIELAB"):
        raise NoWhite(f"colours of {name}: save the picture as RGB")
    return None


def tiff_levels(data: bytes) -> str:
    """What the first picture of a TIFF holds, in words ("1 channel of float, 64 bits").

    Raises:
        Exception: of nearly any kind, where the directory is damaged.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags, file = ImageFileDirectory_v2(data[:8]), io.BytesIO(data)
    file.seek(tags.next)
    tags.load(file)
    channels = tags.get(_CHANNELS, 1)
    kind = _KINDS.get(int(np.ravel(tags.get(_SIGN, 1))[0]), "untyped")
    bits = max(np.ravel(tags[_BITS]).tolist())
    return f"{channels} channel{'s' * (channels != 1)} of {kind}, {bits} bits"
