"""Pictures and videos as png files, and many of them on one sheet.

Pillow is imported where it is used.
"""

import io
import os

import numpy as np

from cdcd_jax.errors import InputError
from cdcd_jax.reporting.files import atomically

_FRAME = 250  # milliseconds of a video's frame


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


def write_video(path: str | os.PathLike, frames: np.ndarray) -> None:
    """Writes an animated PNG, without end: uint8 [F, H, W, C] with C = 1, 3 or 4.

    It holds the very pixels, and each frame, also one that is the same as the last.

    Raises: InputError for another shape or type.
    """
    from PIL import Image

    check_pictures(frames, 4)
    pictures = [Image.fromarray(f[..., 0] if f.shape[-1] == 1 else f) for f in frames]
    # frames blended otherwise are not taken for one; nothing is transparent
    blend = [i % 2 for i in range(len(frames))]
    with atomically(path, sync=False) as file:
        pictures[0].save(
            file,
            format="PNG",
            save_all=True,
            append_images=pictures[1:],
            duration=_FRAME,
            loop=0,
            blend=blend,
        )


def strips(videos: np.ndarray, gap: int = 1) -> np.ndarray:
    """Frames side by side, grey between them, as white is between pictures.

    Args:
        videos: uint8 [N, F, H, W, C].
        gap: pixels between two frames.

    Returns: uint8 [N, H, F (W + gap) - gap, C].
    """
    gaps = [(0, 0)] * 3 + [(0, gap), (0, 0)]
    rows = np.moveaxis(np.pad(videos, gaps, constant_values=128), 1, 2)
    number, height, frames, width, channels = rows.shape
    return rows.reshape(number, height, frames * width, channels)[:, :, : -gap or None]


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
