"""Files of pictures, videos, sounds and samples, as flags that name them want them."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.data import images
from cdcd_jax.data.sources import Unreadable
from cdcd_jax.errors import InputError, UsageError

_ROW = re.compile(r"(?P<file>.+\.npz):(?P<row>\d+)")


def files_or_array(
    value: Any,
    of_file: Callable[[str], np.ndarray],
    of_array: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """What a flag or an argument gives: a file, several, or an array.

    Args:
        value: a name, names with commas between or in a list, or numbers.
        of_file: a name -> rows [N, ...].
        of_array: numbers -> rows.

    Returns:
        all rows, one file's behind the other's.
    """
    if isinstance(value, str):
        value = [value] if os.path.exists(value) else value.split(",")
    named = isinstance(value, list | tuple) and len(value) > 0
    if not named or not all(isinstance(part, str | os.PathLike) for part in value):
        return of_array(np.asarray(value))
    return np.concatenate([of_file(os.fspath(part).strip()) for part in value])


def readable(read: Callable[[], Any], flag: str) -> Any:
    """What `read` gives.

    Raises:
        InputError: the file cannot be read; says the flag.
    """
    try:
        return read()
    except Unreadable as error:
        raise InputError(
            f"Found that the file of --{flag} cannot be read ({error}); expected "
            "a whole file of a picture or a sound; correct the path, or make it anew"
        ) from error


def picture(text: str, flag: str, shape: tuple[int, ...]) -> np.ndarray:
    """A file as uint8 of the shape [H, W, C]; grey where C is 1.

    With a shape [F, H, W, C] it is a video, an animated picture (GIF, PNG, WebP).

    Raises:
        InputError: no picture, or one of another size or number of frames, or of
            colours.
    """
    if len(shape) == 3:
        image = readable(lambda: images.read(text), flag)
        check_size(text, flag, image.size, shape)
        pixels = np.array(image)
    else:
        found = readable(lambda: images.read(text, images.decode_frames), flag)
        if len(found) != shape[0]:
            raise InputError(
                f"Found --{flag}={text} of {len(found)} frame{'s'[: len(found) > 1]}; "
                f"expected {shape[0]}, as this model's videos; give an animated "
                "picture (.gif, .png, .webp) of so many. Frames that do not differ "
                "are one in most such files"
            )
        check_size(text, flag, found[0].size, shape[1:])
        pixels = np.stack([np.array(image) for image in found])
    if shape[-1] == 3:
        return pixels
    if (pixels != pixels[..., :1]).any():
        raise InputError(
            f"Found colours in {text}; expected a grey picture for --{flag}, as this "
            "model has; save it in levels of grey"
        )
    return pixels[..., :1]


def check_size(text: str, flag: str, size: Any, shape: tuple[int, ...]) -> None:
    """Raises InputError unless a picture of (width, height) is [H, W, ...]."""
    if size != (shape[1], shape[0]):
        raise InputError(
            f"Found --{flag}={text} of {size[0]} x {size[1]} pixels; expected "
            f"{shape[1]} x {shape[0]} (width x height), as this model's pictures; cut "
            "or resize it to that"
        )


def samples_named(text: str) -> tuple[str, int | None] | None:
    """The file and the row (None for all) of `FILE.npz` or `FILE.npz:i`, or None."""
    match = None if os.path.exists(text) else _ROW.fullmatch(text)
    if match:
        return match["file"], int(match["row"])
    return (text, None) if Path(text).suffix.lower() == ".npz" else None


def samples(
    file: str,
    row: int | None,
    flag: str,
    holds: str,
    count: Callable[[dict[str, np.ndarray]], int],
) -> dict[str, np.ndarray]:
    """The arrays of an earlier run's `samples.npz`.

    Args:
        file: of them.
        row: which sample; None for all.
        flag: that names the file.
        holds: what it must hold, in words.
        count: the number of samples in such arrays; raises ValueError or KeyError
            where they are not what is wanted.

    Raises:
        UsageError: a row that is not there.
        InputError: no such file.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            found = {key: arrays[key] for key in arrays.files}
        number = count(found)
    except Exception as error:  # damaged files raise nearly anything
        raise InputError(
            f"Found --{flag}={file}, of which no samples can be read "
            f"({type(error).__name__}: {error}); expected a samples.npz with {holds}, "
            "as --mode=generate writes it; correct the path"
        ) from error
    if row is None:
        return found
    if row >= number:
        raise UsageError(
            f"Found --{flag}={file}:{row}; expected a row below {number}, as "
            "many as that file has; correct it"
        )
    of_samples = lambda array: array.shape[:1] == (number,)
    return {k: v[row : row + 1] if of_samples(v) else v for k, v in found.items()}
