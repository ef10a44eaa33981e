"""Files and regions of --edit flags -> what is edited, and what of it is drawn anew."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cdcd_jax.data import audio, images
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.generation import media_files, windows

# name of a part of a picture -> left, top, right and bottom, as shares of its sides
PARTS = {
    "left": (0.0, 0.0, 0.5, 1.0),
    "right": (0.5, 0.0, 1.0, 1.0),
    "top": (0.0, 0.0, 1.0, 0.5),
    "bottom": (0.0, 0.5, 1.0, 1.0),
    "center": (0.25, 0.25, 0.75, 0.75),
}
INPUT, MASK = "edit.input", "edit.mask"  # flags


class Source(NamedTuple):
    """What is edited, R rows."""

    # int32 [R, H, W], those of sound over the end are of silence
    tokens: np.ndarray
    media: np.ndarray  # uint8 [R, height, width, C] or float32 [R, S]
    condition: dict[str, np.ndarray]  # that samples were drawn under, no texts


class Given(NamedTuple):
    """What is edited, as arrays.

    Attributes:
        media: uint8 [H, W, C] or [R, H, W, C], or float32 [S] or [R, S].
        tokens: int32 [R, L] behind it, if they are known.
        condition: that it was drawn under, texts too.
        sample_rate: of sound that was drawn, Hz.
    """

    media: np.ndarray
    tokens: np.ndarray | None = None
    condition: Mapping[str, np.ndarray] = {}
    sample_rate: int | None = None


def read(text: Any, tokenizer: Any) -> Source:
    """What `--edit.input=FILE` names.

    Args:
        text: a picture or a sound, as the tokenizer takes it; or a `samples.npz`, all
            its rows, or row i of `FILE.npz:i`; or `Given` arrays.
        tokenizer: of the model; it gives pictures or sound.

    Raises:
        UsageError: a row that is not there.
        InputError: no such file, or one that this model cannot take.
    """
    if isinstance(text, Given):
        return _given(text, tokenizer)
    if named := media_files.samples_named(text):
        return _samples(*named, tokenizer)
    is_image = "images" in tokenizer.outputs
    kind, known, some = "picture", images.suffixes, ".jpg, .png"
    if not is_image:
        kind, known, some = "sound", audio.suffixes, ".wav, .flac, .ogg, .mp3"
    if Path(text).suffix.lower() not in known():
        raise InputError(
            f"Found --edit.input={text}; expected a {kind} ({some} or the like), as "
            "this model draws, or a samples.npz of it; give such a file"
        )
    if not is_image:
        wave = media_files.readable(lambda: audio.read(text), INPUT)
        return _sound(audio.resample(*wave, tokenizer.sample_rate)[None], tokenizer)
    media = media_files.picture(text, INPUT, tokenizer.outputs["images"])[None]
    tokens = tokenizer.encode(media).reshape(1, *tokenizer.grid)
    return Source(tokens, media, {})


def _given(given: Given, tokenizer: Any) -> Source:
    """Arrays as a source.

    Raises:
        InputError: of another shape or type than this model draws.
    """
    (name,) = tokenizer.outputs
    shape, media = tuple(tokenizer.outputs[name]), np.asarray(given.media)
    rank = len(shape)
    if name == "images" and media.ndim == 2 and shape[2] == 1:
        media = media[..., None]
    media = media[None] if media.ndim == rank else media
    if name == "audio" and media.dtype.kind == "f":
        media = media.astype(np.float32)
    dtype = np.uint8 if name == "images" else np.float32
    fits = media.dtype == dtype and media.ndim == rank + 1 and len(media)
    if not fits or (name == "images" and media.shape[1:] != shape):
        raise InputError(
            f"Found an input of {media.dtype} {list(media.shape)}; expected "
            f"{np.dtype(dtype)} {list(shape)}, or several such, as this model draws "
            f"{name}; cut, resize or convert it to that"
        )
    if given.tokens is not None:
        _check_samples("samples", given.tokens, media, given.sample_rate, tokenizer)
        grid = tokenizer.grid if name == "images" else (1, -1)
        tokens = given.tokens.reshape(len(media), *grid)
        known = {k: v for k, v in given.condition.items() if v.dtype.kind != "U"}
        return Source(tokens, media, known)
    if name == "audio":
        return _sound(media, tokenizer)
    return Source(tokenizer.encode(media).reshape(-1, *tokenizer.grid), media, {})


def _sound(media: np.ndarray, tokenizer: Any) -> Source:
    """Encodes sound [R, S] with silence to its last whole token, at least a window."""
    length, rate = tokenizer.grid[1], tokenizer.sample_rate
    hop = tokenizer.outputs["audio"][0] // length
    tokens = windows.tokens_of(media.shape[1] / rate, length, hop / rate)
    whole = windows.fit(media, tokens * hop)
    return Source(tokenizer.encode(whole)[:, None], media, {})


def _samples(file: str, row: int | None, tokenizer: Any) -> Source:
    """Rows of an earlier run's `samples.npz`."""
    (name,) = tokenizer.outputs

    def count(found: Mapping[str, np.ndarray]) -> int:
        tokens = found["tokens"]
        is_whole = tokens.dtype == np.int32 and tokens.ndim == 2 and len(tokens)
        if not is_whole or len(found[name]) != len(tokens):
            raise ValueError(f"tokens of {tokens.dtype} {list(tokens.shape)}")
        return len(tokens)

    found = media_files.samples(file, row, INPUT, f"`tokens` and `{name}`", count)
    tokens, media = found["tokens"], found[name]
    condition = {
        key.removeprefix("condition/"): value
        for key, value in found.items()
        if key.startswith("condition/")
        and value.dtype.kind != "U"
        and value.shape[:1] == tokens.shape[:1]
    }
    _check_samples(file, tokens, media, found.get("sample_rate"), tokenizer)
    if name == "images":
        return Source(tokens.reshape(-1, *tokenizer.grid), media, condition)
    # what was not written stands behind the end, as silence
    return Source(tokens[:, None], media, condition)


def _check_samples(
    file: str, tokens: np.ndarray, media: np.ndarray, rate: Any, tokenizer: Any
) -> None:
    """Raises InputError unless samples are such as this tokenizer gives."""
    length, (name,) = int(np.prod(tokenizer.grid)), tokenizer.outputs
    shape = tuple(tokenizer.outputs[name])
    if name == "images":
        fits = tokens.shape[1] == length and media.shape[1:] == shape
        fits &= media.dtype == np.uint8
    else:
        most = tokens.shape[1] * (shape[0] // length)
        fits = tokens.shape[1] >= length and rate == tokenizer.sample_rate
        fits &= media.ndim == 2 and media.dtype == np.float32
        fits = fits and 0 < media.shape[1] <= most
    codes = tokenizer.num_codes
    if not fits or not 0 <= tokens.min() <= tokens.max() < codes:
        raise InputError(
            f"Found {file} with tokens {list(tokens.shape)} from {tokens.min()} to "
            f"{tokens.max()} and {name} {list(media.shape)}; expected {length} tokens "
            f"below {codes} a row and {name} of {list(shape)}, as this model has; give "
            "samples of this model, not expanded ones"
        )


class Region(NamedTuple):
    """What is drawn anew of a picture, as bool [H, W]."""

    pixels: np.ndarray


def region(text: Any, shape: tuple[int, int]) -> np.ndarray:
    """What `--edit.mask` says is drawn anew of a picture: bool [H, W].

    A `Region`, a part of `PARTS`, a box x0,y0,x1,y1 of shares of width and height (the
    pixels whose centres lie in it), or a picture of the same size, white where anew.

    Raises:
        UsageError: none of these.
        InputError: a picture that cannot be used.
    """
    if isinstance(text, Region):
        pixels = text.pixels
        if pixels.dtype != bool or pixels.shape != shape:
            raise UsageError(
                f"Found a mask of {pixels.dtype} {list(pixels.shape)}; expected bool "
                f"{list(shape)}, true where this model's picture is drawn anew; give "
                "mask > 0.5 or the like, of that size"
            )
        return pixels
    if Path(text).suffix.lower() in images.suffixes():
        image = media_files.readable(lambda: images.read(text), MASK)
        media_files.check_size(text, MASK, image.size, shape)
        pixels = np.array(image)
        is_white = (pixels == 255).all(-1)
        if not (is_white | (pixels == 0).all(-1)).all():
            raise InputError(
                f"Found --edit.mask={text} with other colours than black and white; "
                "expected white where the picture is drawn anew and black elsewhere; "
                "save it with those two alone, as png"
            )
        return is_white
    box = PARTS.get(text) or _numbers(text, 4)
    if box is None or not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
        raise UsageError(
            f"Found --edit.mask={text}; expected {', '.join(PARTS)}, a box "
            "x0,y0,x1,y1 of shares from 0 to 1 such as 0,0,0.5,1, or the file of a "
            "black-and-white picture (.png or the like); correct it"
        )
    x, y = ((np.arange(size) + 0.5) / size for size in shape[::-1])
    across, down = (x >= box[0]) & (x < box[2]), (y >= box[1]) & (y < box[3])
    return down[:, None] & across


def span(text: Any, samples: int, rate: int) -> np.ndarray:
    """What `--edit.mask=START:END`, in seconds, says is drawn anew: bool [samples].

    Raises:
        UsageError: another form, or a span that does not lie in the sound.
    """
    text = "an array" if isinstance(text, Region) else text
    start, colon, end = text.partition(":")
    total = samples / rate
    times = _numbers(f"{start or 0},{end or total}", 2) if colon else None
    if times is None or not 0 <= times[0] < times[1] <= total + 1 / rate:
        raise UsageError(
            f"Found --edit.mask={text}; expected START:END in seconds of the "
            f"{total:.4g} s of sound, where either may be left out, such as 1.5: ; "
            "correct it"
        )
    first, last = (round(seconds * rate) for seconds in times)
    place = np.arange(samples)
    return (place >= first) & (place < last)


def _numbers(text: str, count: int) -> tuple[float, ...] | None:
    """So many numbers with commas between; None if it is something else."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


def whole_numbers(text: str, count: int) -> tuple[int, ...] | None:
    """So many whole numbers from 0 on with commas between; None if otherwise."""
    parts = [part.strip() for part in text.split(",")]
    is_whole = len(parts) == count and all(p.isascii() and p.isdigit() for p in parts)
    return tuple(map(int, parts)) if is_whole else None
