"""Conditions that are codes of a tokenizer: sounds, pictures, videos, encoded here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.data import audio, images
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.generation import media_files, windows
from cdcd_jax.models.tokenizers import open_tokenizer


def read_codes(name: str, value: Any, spec: Mapping[str, Any]) -> np.ndarray:
    """Codes int32 [N, L] of what is given.

    A file, or several with commas between or in a list: a sound at the tokenizer's
    rate, no longer than what it takes at once and filled up with silence; a picture or
    a video of its size; or a `samples.npz`, all its rows or row i of `FILE.npz:i`, of
    which it is the output of this name, else the only one. Or arrays: sounds float [S]
    or [N, S] from -1 to 1, pictures uint8 [H, W, C] or [N, H, W, C], videos with F in
    front of these, codes int [L] or [N, L].

    Raises:
        UsageError: neither, or a row that is not there.
        InputError: no such file, another rate, size or length, or no codes of this
            tokenizer.
    """
    return media_files.files_or_array(
        value,
        lambda file: _of_file(name, file, spec),
        lambda array: _codes(name, array, spec, "an array"),
    )


def _of_file(name: str, file: str, spec: Mapping[str, Any]) -> np.ndarray:
    flag = f"condition.{name}"
    if named := media_files.samples_named(file):
        key = lambda found: f"tokens/{name}" if f"tokens/{name}" in found else "tokens"
        count = lambda found: len(found[key(found)])
        holds = f"`tokens/{name}` or `tokens`"
        found = media_files.samples(*named, flag, holds, count)
        return _codes(name, found[key(found)], spec, file)
    tokenizer = _tokenizer(name, spec)
    ((kind, shape),) = tokenizer.outputs.items()
    is_image = kind in ("images", "videos")
    known, some = audio.suffixes(), "a sound (.wav, .flac, .ogg, .mp3)"
    if is_image:
        known, some = images.suffixes(), "a picture (.png, .jpg or the like)"
        if kind == "videos":
            some = "a video (.gif or another animated picture)"
    if Path(file).suffix.lower() not in known:
        raise UsageError(
            f"Found --{flag}={file[:60]}; expected {some}, several with commas "
            "between, or a samples.npz; give such a file"
        )
    if is_image:
        return tokenizer.encode(media_files.picture(file, flag, shape)[None])
    wave, rate = media_files.readable(lambda: audio.read(file), flag)
    if rate != tokenizer.sample_rate:
        raise InputError(
            f"Found {file} with {rate} samples a second; expected "
            f"{tokenizer.sample_rate}, as the sounds of --{flag} have; resample it"
        )
    return _codes(name, wave, spec, file)


def _codes(
    name: str, array: np.ndarray, spec: Mapping[str, Any], where: Any
) -> np.ndarray:
    """Media through their tokenizer; codes as they are, if they are such."""
    length, number = tuple(spec["shape"]), spec["levels"]
    if array.dtype.kind == "i":
        array = array[None] if array.shape == length else array
        known = array.size and 0 <= array.min() <= array.max() < number
        if array.shape[1:] == length and known:
            return array.astype(np.int32)
        told = f" from {array.min()} to {array.max()}" if array.size else ""
        raise InputError(
            f"Found {array.dtype} {list(array.shape)}{told} in {where}; expected codes "
            f"{list(length)} from 0 to {number - 1}, as --condition.{name} of this "
            "model has, or several such; give codes of its tokenizer, or the file "
            "itself"
        )
    tokenizer = _tokenizer(name, spec)
    ((kind, shape),) = tokenizer.outputs.items()
    array = array[None] if array.ndim == len(shape) else array
    fits = array.ndim == len(shape) + 1 and len(array) > 0
    if kind != "audio":
        fits = fits and array.dtype == np.uint8 and array.shape[1:] == tuple(shape)
    else:
        fits = fits and array.dtype.kind == "f" and 0 < array.shape[1] <= shape[0]
        fits = fits and bool(np.all(np.abs(array) <= 1))
    if not fits:
        wanted = "uint8" if kind != "audio" else "float from -1 to 1, at most"
        raise InputError(
            f"Found {array.dtype} {list(array.shape)} in {where}; expected {wanted} "
            f"{list(shape)}, as --condition.{name} of this model takes {kind}, or "
            "several such; cut, resize or convert it to that"
        )
    if kind == "audio":
        array = windows.fit(array.astype(np.float32), shape[0])
    return tokenizer.encode(array)


def _tokenizer(name: str, spec: Mapping[str, Any]) -> Any:
    """The tokenizer of a condition's codes.

    Raises:
        UsageError: the model does not say which it is.
    """
    settings = spec.get("tokenizer", {"kind": "none"})
    if settings["kind"] == "none":
        raise UsageError(
            f"Found --condition.{name} for a model that knows no tokenizer of it; "
            "expected codes, an array of whole numbers or a samples.npz; give such"
        )
    return open_tokenizer(settings, tuple(spec["grid"]))
