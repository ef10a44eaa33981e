"""Conditions that are files or arrays: motion of any length, pictures, videos, any."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.data import aist, images, smpl
from cdcd_jax.data.segments import Segment
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.generation import media_files
from cdcd_jax.networks.tokenizer import FramesTokenizer, PaletteTokenizer

MOTION = ("motion", "reference_motion")  # kinds whose first axis is time
_RATE = re.compile(r"(?P<file>.+)@(?P<rate>\d+(\.\d+)?)")


def read_motion(name: str, text: Any, spec: Mapping[str, Any]) -> np.ndarray:
    """Motion float32 [B, F, C]: an array, or what FILE or FILE@RATE holds.

    FILE is a .npy, [F, C] or [B, F, C]; a .npz of one array, or of one named `motion`;
    or a .pkl of AIST++ (60 frames a second, 219 channels). F is free. Without RATE,
    frames a second, other files are taken to have the model's.

    Raises:
        UsageError: another rate.
        InputError: no such file, another width, no frames, or not finite.
    """
    if not isinstance(text, str):
        return _motion(name, _numbers(name, text), spec, "an array")
    # Path.exists raises where a name is too long
    match = None if os.path.exists(text) else _RATE.fullmatch(text)
    file, wanted = Path(match["file"] if match else text), spec["frame_rate"]
    rates = [float(match["rate"])] if match else []
    if file.suffix.lower() == ".pkl":
        rates.append(aist.FRAME_RATE)
    for rate in rates:
        if rate != wanted:
            raise UsageError(
                f"Found --condition.{name}={text} with {rate:g} frames a second; "
                f"expected {wanted:g}, as the model was trained with; resample the "
                f"motion to {wanted:g} frames a second (rotations as rotations, "
                "positions linearly)"
            )
    readers = {".npy": _npy, ".npz": _npz, ".pkl": _aist}
    return _motion(name, _read(name, file, readers), spec, file)


def _motion(
    name: str, motion: np.ndarray, spec: Mapping[str, Any], where: Any
) -> np.ndarray:
    channels = spec["shape"][1]
    if motion.ndim not in (2, 3) or motion.shape[-1] != channels or not motion.size:
        raise InputError(
            f"Found motion of shape {list(motion.shape)} in {where}; expected "
            f"[frames, {channels}] or [dances, frames, {channels}], as --condition."
            f"{name} of this model has; give a file of such motion, or a model for this"
        )
    return _finite(motion if motion.ndim == 3 else motion[None], where)


def read_image(name: str, value: Any, spec: Mapping[str, Any]) -> np.ndarray:
    """Pictures or videos as levels of their pixels: int32 [N, H * W * C].

    A file, several with commas between or in a list: a picture; a `samples.npz`, all
    its rows or row i of `FILE.npz:i`, of which it is the output of this name or else
    the images; or a .npy. That holds what may be given as an array too: pictures uint8
    [H, W, C] or [N, H, W, C], grey ones also [H, W]; or finished levels, signed whole
    numbers [H * W * C] or [N, H * W * C], -1 where a pixel is unknown. A video is an
    animated picture, and F stands in front of each H.

    Raises:
        UsageError: neither, or a row that is not there.
        InputError: no such file, another size or number of frames, colours for a grey
            one, or levels that there are not.
    """
    return media_files.files_or_array(
        value,
        lambda file: _levels_of_file(name, file, spec),
        lambda array: _levels(name, array, spec, "an array"),
    )


def _levels_of_file(name: str, file: str, spec: Mapping[str, Any]) -> np.ndarray:
    flag, ((kind, shape),) = f"condition.{name}", _palette(spec).outputs.items()
    if named := media_files.samples_named(file):
        key = lambda found: name if name in found else kind
        count = lambda found: len(found[key(found)])
        found = media_files.samples(*named, flag, f"`{name}` or `{kind}`", count)
        return _levels(name, found[key(found)], spec, file)
    suffix = Path(file).suffix.lower()
    if suffix == ".npy":
        return _levels(name, _read(name, Path(file), {".npy": _npy}), spec, file)
    if suffix not in images.suffixes():
        some = {
            "images": "a picture (.png, .jpg or the like)",
            "videos": "a video (.gif or another animated picture)",
        }
        raise UsageError(
            f"Found --{flag}={file[:60]}; expected {some[kind]}, several with commas "
            f"between, a .npy of {kind}, or a samples.npz; give such a file"
        )
    return _levels(name, media_files.picture(file, flag, shape), spec, file)


def _palette(spec: Mapping[str, Any]) -> PaletteTokenizer:
    """What a condition's levels stand for."""
    kind = FramesTokenizer if spec["kind"] == "video" else PaletteTokenizer
    return kind(spec["levels"], tuple(spec["grid"]))


def _levels(
    name: str, array: np.ndarray, spec: Mapping[str, Any], where: Any
) -> np.ndarray:
    """Pictures through the palette; levels as they are, if they are such."""
    palette = _palette(spec)
    ((kind, shape),), length = palette.outputs.items(), spec["shape"]
    if array.dtype == np.uint8:
        array = array[..., None] if array.shape == shape[:-1] else array
        array = array[None] if array.shape == shape else array
        if array.shape[1:] == shape and len(array):
            return palette.encode(array)
    elif array.dtype.kind == "i":
        array = array[None] if array.shape == length else array
        known = array.size and -1 <= array.min() <= array.max() < palette.levels
        if array.shape[1:] == length and known:
            return array.astype(np.int32)
    told = f" from {array.min()} to {array.max()}" if array.dtype.kind == "i" else ""
    what = "videos" if kind == "videos" else "pictures"
    raise InputError(
        f"Found {array.dtype} {list(array.shape)}{told} in {where}; expected {what}, "
        f"uint8 {list(shape)}, or levels {list(length)} of signed whole numbers from "
        f"-1 (unknown) to {palette.levels - 1}, as --condition.{name} of this model "
        "has, or several such; cut, resize or convert it to that"
    )


def read_array(name: str, text: Any, spec: Mapping[str, Any]) -> np.ndarray:
    """An array, or that of a .npy file, of the condition's shape: float32 [B, *shape].

    Raises:
        UsageError: what is given is no such file's name.
        InputError: no such file, another shape, or not finite.
    """
    if not isinstance(text, str):
        return _array(name, _numbers(name, text), spec, "what was given")
    shape, file = tuple(spec.get("shape", ())), Path(text)
    if file.suffix.lower() != ".npy":
        words = spec["kind"] == "array" and not os.path.exists(text)
        raise UsageError(
            f"Found --condition.{name}={text[:60]}; expected a .npy file of shape "
            f"{list(shape)} or [{', '.join(map(str, ('N', *shape)))}]: this model "
            f"takes {name!r} as a finished array, which cannot be made from words; "
            "give such a file"
            + (", or use a model with kind='text' or 'clip_text'" if words else "")
        )
    return _array(name, _read(name, file, {".npy": _npy}), spec, file)


def _array(
    name: str, array: np.ndarray, spec: Mapping[str, Any], where: Any
) -> np.ndarray:
    shape = tuple(spec.get("shape", ()))
    if array.shape == shape:
        array = array[None]
    if array.shape[1:] != shape or not len(array):
        raise InputError(
            f"Found an array of shape {list(array.shape)} in {where}; expected "
            f"{list(shape)}, as --condition.{name} of this model has, or several such; "
            "give a file of that shape"
        )
    return _finite(array, where)


def _numbers(name: str, value: Any) -> np.ndarray:
    """An array of numbers; see `prompts`."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise UsageError(
            f"Found --condition.{name} of type {array.dtype}; expected an array of "
            "numbers, or a path; give one of them"
        )
    return array


def _read(
    name: str, file: Path, readers: Mapping[str, Callable[[Path], np.ndarray]]
) -> np.ndarray:
    if file.suffix.lower() not in readers:
        raise UsageError(
            f"Found --condition.{name}={file}; expected a file that ends in "
            f"{', '.join(readers)}; name such a file"
        )
    try:
        array = readers[file.suffix.lower()](file)
    except FileNotFoundError:
        raise InputError(
            f"Found no file {file}; expected the values of --condition.{name}; correct "
            "the path"
        ) from None
    except Exception as error:  # damaged files raise nearly anything
        raise InputError(
            f"Found {file}, which cannot be read ({error}); expected the values of "
            f"--condition.{name}; write the file anew"
        ) from error
    if array.dtype.kind not in "fiu":
        raise InputError(
            f"Found values of type {array.dtype} in {file}; expected numbers for "
            f"--condition.{name}; write the file anew"
        )
    return array


def _npy(file: Path) -> np.ndarray:
    with file.open("rb") as stream:  # np.load would take any format by its content
        return np.lib.format.read_array(stream, allow_pickle=False)


def _npz(file: Path) -> np.ndarray:
    with np.lib.npyio.NpzFile(file) as arrays:  # np.load would take other formats too
        names = arrays.files
        if len(names) != 1 and "motion" not in names:
            raise ValueError(f"arrays {', '.join(names) or '-'}, none of them motion")
        # a member of another format comes as bytes
        return np.asarray(arrays["motion" if "motion" in names else names[0]])


def _aist(file: Path) -> np.ndarray:
    frames = len(smpl.read_motion(file)["smpl_trans"])
    return smpl.load_motion(Segment("", file, file, None, {}, {}), frames)


def _finite(array: np.ndarray, file: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise InputError(
            f"Found {len(bad)} values in {file} that are too large for float32 or not "
            f"finite, the first at {bad[0].tolist()}; expected numbers; mend the file"
        )
    return array
