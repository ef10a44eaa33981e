"""Contact sheets: many samples in one picture, of one medium or several, titled."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cdcd_jax.reporting.pictures import image_grid, strips

_TITLED = 112  # pixels a side, at least, of a picture with a title
_FONT_SIZE, _LINE, _MOST_LINES = 11, 14, 4  # pixels, pixels, lines of a title


class Medium(NamedTuple):
    """What an array of samples is for people.

    Attributes:
        kind: image (uint8 [N, H, W, C]), video (uint8 [N, F, H, W, C]), audio (float32
            [N, S]), text (unicode [N]), label (int [N]), or vector.
        stem: of a sample's own file, `<stem>_00000.png`.
        sample_rate: of audio, Hz.
        names: of labels, or ().
    """

    kind: str
    stem: str = "sample"
    sample_rate: int | None = None
    names: tuple[str, ...] = ()


def sample_rate_of(media: Mapping[str, Medium]) -> int | None:
    """Of the first that is sound, Hz."""
    return next(filter(None, (m.sample_rate for m in media.values())), None)


def contact_sheet(
    outputs: Mapping[str, np.ndarray],
    media: Mapping[str, Medium],
    order: np.ndarray,
    titles: Sequence[str] | None = None,
) -> np.ndarray | None:
    """One picture of the samples `order`; None where nothing can be seen.

    Pictures stand side by side, of videos their frames, of sounds their spectrograms
    do, 25 at most; of several media each has a row, one above the other. Drawn texts
    and labels are titles.

    Args:
        outputs, media, titles: see `write_samples`.
        order: int [n].
    """
    seen = {k: m for k, m in media.items() if m.kind in ("image", "video", "audio")}
    if any(medium.kind == "audio" for medium in seen.values()):
        order = order[:25]
    words = [
        [word(sample, medium) for sample in outputs[name][order]]
        for name, medium in media.items()
        if medium.kind in ("text", "label")
    ]
    titles = _at(titles, order)
    if words:
        told = [titles, *words] if titles else words
        titles = [", ".join(parts) for parts in zip(*told, strict=True)]
    if len(seen) != 1:
        return _rows_of_media(outputs, seen, order, titles) if seen else None
    ((name, medium),) = seen.items()
    if medium.kind != "audio":
        return picture_sheet(_seen(outputs[name][order], medium), titles=titles)
    return sound_sheet(outputs[name][order], medium.sample_rate, titles=titles)


def _rows_of_media(
    outputs: Mapping[str, np.ndarray],
    media: Mapping[str, Medium],
    order: np.ndarray,
    titles: Sequence[str] | None,
    columns: int = 10,
) -> np.ndarray:
    """A row a medium, then the same of the next samples; titles below the last."""
    stacks = [_seen(outputs[name][order], medium) for name, medium in media.items()]
    width = max(_TITLED, *(stack.shape[2] for stack in stacks))
    stacks = [_as_wide(stack, width) for stack in stacks]
    if titles is not None:
        stacks[-1] = titled(stacks[-1], titles)
    cells = np.concatenate(stacks, axis=1)
    return image_grid(cells, min(len(cells), columns), pad=4)


def _seen(samples: np.ndarray, medium: Medium) -> np.ndarray:
    """Pictures uint8 [N, H, W, C] of samples."""
    if medium.kind == "audio":
        return spectrograms(samples, medium.sample_rate)
    return strips(samples) if medium.kind == "video" else samples


def _as_wide(pictures: np.ndarray, width: int) -> np.ndarray:
    """Enlarged by a whole number, white beside them: uint8 [N, H', width, 3]."""
    scale = max(1, width // pictures.shape[2])
    pictures = pictures.repeat(scale, axis=1).repeat(scale, axis=2)
    left = (width - pictures.shape[2]) // 2
    number, height = pictures.shape[:2]
    out = np.full((number, height, width, 3), 255, np.uint8)
    out[:, :, left : left + pictures.shape[2]] = pictures[..., :3]
    return out


def picture_sheet(
    images: np.ndarray, columns: int = 10, titles: Sequence[str] | None = None
) -> np.ndarray:
    """Pictures uint8 [N, H, W, C] on one sheet, small ones enlarged."""
    columns = min(len(images), columns)
    if titles is None:
        return image_grid(images, columns, max(1, 40 // images.shape[1]))
    scale = max(1, -(-_TITLED // images.shape[2]))
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    return image_grid(titled(images, titles), columns, pad=4)


def sound_sheet(
    audio: np.ndarray,
    sample_rate: int,
    columns: int = 5,
    titles: Sequence[str] | None = None,
) -> np.ndarray:
    """Spectrograms of sounds float32 [N, S] on one sheet."""
    pictures = spectrograms(audio, sample_rate)
    if titles is not None:
        pictures = titled(pictures, titles)
    return image_grid(pictures, min(len(pictures), columns))


def spectrograms(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Pictures uint8 [N, H, W, C] of sounds float32 [N, S]."""
    from cdcd_jax.reporting.sound import spectrogram

    return np.stack([spectrogram(wave, sample_rate) for wave in audio])


def titled(pictures: np.ndarray, titles: Sequence[str]) -> np.ndarray:
    """Each picture above its title, in lines: uint8 [N, H + strip, W, 3].

    A strip is as high as the longest title needs, four lines at most.

    Args:
        pictures: uint8 [N, H, W, C] with C = 1 or 3.
        titles: N.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_FONT_SIZE)
    number, height, width, channels = pictures.shape
    lines = [_lines(title, font, width - 4) for title in titles]
    strip = _LINE * max(map(len, lines)) + 4
    out = np.full((number, height + strip, width, 3), 255, np.uint8)
    out[:, :height] = pictures if channels == 3 else pictures[..., :1]
    for row, text in zip(out, lines, strict=True):
        paper = Image.new("L", (width, strip), 255)
        pen = ImageDraw.Draw(paper)
        for i, line in enumerate(text):
            pen.text((2, 1 + i * _LINE), line, fill=0, font=font)
        row[height:] = np.asarray(paper)[..., None]
    return out


def _lines(title: str, font: Any, width: int) -> list[str]:
    """The title in lines of at most so many pixels; what is left out leaves dots."""
    fits = lambda text: font.getlength(text) <= width
    lines, line = [], ""
    for word in title.split():
        if line and not fits(f"{line} {word}"):
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
        while not fits(line) and len(line) > 1:  # a word longer than a line
            end = next(
                n for n in range(len(line) - 1, 0, -1) if n == 1 or fits(line[:n])
            )
            lines.append(line[:end])
            line = line[end:]
    lines += [line] if line else []
    if len(lines) > _MOST_LINES:
        last = lines[_MOST_LINES - 1]
        while last and not fits(f"{last} ..."):
            last = last[:-1]
        lines[_MOST_LINES - 1 :] = [f"{last} ..."]
    return lines


def _at(titles: Sequence[str] | None, order: np.ndarray) -> list[str] | None:
    return None if titles is None else [titles[i] for i in order]


def contact_order(condition: Mapping[str, np.ndarray], number: int) -> np.ndarray:
    """Which samples the sheet shows, at most 100: with labels, one class a column."""
    if "label" not in condition:
        return np.arange(min(number, 100))
    labels = np.asarray(condition["label"])
    by_class = [np.flatnonzero(labels == c) for c in np.unique(labels)][:10]
    rows = min(10, *(len(c) for c in by_class)) if len(by_class) > 1 else 100
    if len(by_class) == 1:
        return by_class[0][:rows]
    return np.stack([c[:rows] for c in by_class], axis=1).reshape(-1)


def word(sample: Any, medium: Medium) -> str:
    """A text as it is, a label by its name."""
    return medium.names[int(sample)] if medium.names else str(sample)
