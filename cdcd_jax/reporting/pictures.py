"""Pictures as png files, and many of them on one sheet.

Pillow is imported where it is used.
"""

import io
import os

import numpy as np

from cdcd_jax.errors import InputError
from cdcd_jax.reporting.files import atomically


def write_png(path: str | os.PathLike, image: np.ndarray) -> None:
    """Writes a picture: uint8 [H, W, C] with C = 1, 3 or 4.

    Raises: InputError for another shape or type.
    """
    data = png_bytes(image)
    with atomically(path, sync=False) as file:  # a picture can be drawn again
        file.write(data)


def png_bytes(image: np.ndarray) -> bytes:
    """A png file of a picture; see `write_png`."""
    from PIL import Image

    check_pictures(image, 3)
    picture, file = image[..., 0] if image.shape[-1] == 1 else image, io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return file.getvalue()


def image_grid(
    images: np.ndarray, columns: int, scale: int = 1, pad: int = 2
) -> np.ndarray:
    """One sheet of many pictures, filled row by row.

    Args:
      images: uint8 [N, H, W, C], N ≥ 1.
      columns: pictures in a row; the last row may stay short.
      scale: each pixel becomes a square of that many pixels.
      pad: white pixels around each picture.

    Returns: uint8 [rows·(scale·H + pad) + pad, columns·(scale·W + pad) + pad, C].
    Raises: InputError for another shape or type, or a number out of range.
    """
    check_pictures(images, 4)
    if not len(images) or columns < 1 or scale < 1 or pad < 0:
        raise InputError(
            f"Found {len(images)} pictures, columns={columns}, scale={scale}, "
            f"pad={pad}; expected at least 1, 1, 1 and 0. Correct the call."
        )
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    shape = (rows * (height + pad) + pad, columns * (width + pad) + pad, channels)
    sheet = np.full(shape, 255, np.uint8)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        top, left = pad + row * (height + pad), pad + column * (width + pad)
        sheet[top : top + height, left : left + width] = image
    return sheet


def check_pictures(images: np.ndarray, rank: int) -> None:
    """Raises InputError unless they are uint8 [..., H, W, C] of that many axes."""
    channels = (1, 3, 4)
    if (
        images.dtype != np.uint8
        or images.ndim != rank
        or images.shape[-1] not in channels
    ):
        wanted = "[N, H, W, C]" if rank == 4 else "[H, W, C]"
        raise InputError(
            f"Found pictures of {images.dtype} {list(images.shape)}; expected uint8 "
            f"{wanted} with C in {list(channels)}. Scale to 0..255 and convert."
        )
