"""Figures of pictures of two digits: do they show what and where the caption says?"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.data.captioned_digits import ARRANGEMENTS, SIDE, place_corner
from cdcd_jax.metrics.classifier import PixelClassifier
from cdcd_jax.metrics.frechet import frechet_distance, spread_rows
from cdcd_jax.metrics.names import suffix

Decoded = Mapping[str, Any]
DIGIT = SIDE // 2  # pixels of a digit's side
INK = 0.125  # of white; what is darker counts as black
STRAY = 0.05  # of a picture's ink; with more outside of both digits it is wrong
# Of the ink that 99 % of the training digits have at least; with less none is there.
MISSING = 0.5
MOST_DIGITS = 6_000  # that the judge is trained on; more bring nothing but time


class CaptionJudge:
    """Reads pictures of two digits: where the ink is, then what it says.

    Of the 8 arrangements the one that holds most of the picture's ink is read; of equal
    ones, the one whose digits lie nearest to the middle of their places. The digits are
    told by a support vector machine on pixels.

    Args:
        images: real or decoded training pictures, uint8 [N, 16, 16, 1].
        digits: int [N, 2].
        places: of these, int [N, 2], each pair one of ARRANGEMENTS.
    """

    def __init__(self, images: np.ndarray, digits: np.ndarray, places: np.ndarray):
        ink = _ink(images)
        which = [
            ARRANGEMENTS.index(tuple(pair)) for pair in np.asarray(places).tolist()
        ]
        crops = _crops(ink)[np.arange(len(ink)), which].reshape(-1, DIGIT**2)
        labels = np.asarray(digits).reshape(-1)
        self._faint = float(np.quantile(crops.sum(1), 0.01))
        rows, first = np.unique(crops, axis=0, return_index=True)
        kept = np.sort(first)  # each handwriting once, in the order of the records
        kept = kept[
            np.linspace(0, len(kept) - 1, min(len(rows), MOST_DIGITS)).astype(int)
        ]
        self._classifier = PixelClassifier(crops[kept], labels[kept])

    def read(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What pictures uint8 [N, 16, 16, 1] show.

        Returns:
            digits: int [N, 2], the left or upper one first.
            places: int [N, 2].
            ok: bool [N]; false where more than 5 % of the ink lies outside of both
              digits, or a digit has less than half the ink of the faintest real ones.
        """
        ink = _ink(images)
        crops = _crops(ink)  # [N, 8, 2, 8, 8]
        total = ink.sum((1, 2))
        inside = crops.sum((2, 3, 4)) / np.maximum(total, 1e-9)[:, None]
        which = np.lexsort((_off_centre(crops), -np.round(inside, 2)), axis=1)[:, 0]
        chosen = crops[np.arange(len(ink)), which]  # [N, 2, 8, 8]
        digits = self._classifier.predict(chosen.reshape(-1, DIGIT**2)).reshape(-1, 2)
        present = chosen.sum((2, 3)).min(1) >= MISSING * self._faint
        clean = inside[np.arange(len(ink)), which] >= 1 - STRAY
        return digits, np.asarray(ARRANGEMENTS)[which], present & clean


def _ink(images: np.ndarray) -> np.ndarray:
    """Share of white of each pixel, float32 [N, 16, 16]; what is nearly black is 0.

    Raises:
        ValueError: pictures of another size.
    """
    if images.shape[1:] != (SIDE, SIDE, 1):
        raise ValueError(f"pictures of shape {images.shape[1:]}: expected (16, 16, 1)")
    ink = images[..., 0].astype(np.float32) / 255
    return np.where(ink >= INK, ink, 0)


def _crops(ink: np.ndarray) -> np.ndarray:
    """Both digits' pixels under each arrangement, [N, 8, 2, 8, 8]."""
    places = {p for pair in ARRANGEMENTS for p in pair}
    corners = {place: place_corner(place) for place in places}
    cut = {p: ink[:, r : r + DIGIT, c : c + DIGIT] for p, (r, c) in corners.items()}
    pairs = [np.stack([cut[a], cut[b]], 1) for a, b in ARRANGEMENTS]
    return np.stack(pairs, 1)


def _off_centre(crops: np.ndarray) -> np.ndarray:
    """How far the centres of ink lie from those of the places, pixels summed [N, 8]."""
    total = np.maximum(crops.sum((3, 4)), 1e-9)
    middle = np.arange(DIGIT) - (DIGIT - 1) / 2
    down = (crops.sum(4) * middle).sum(3) / total
    right = (crops.sum(3) * middle).sum(3) / total
    return np.sum(np.hypot(down, right), axis=2)


def captioned_pixels(
    samples: Mapping[str, Decoded], train: Decoded, test: Decoded
) -> dict[str, float]:
    """Pictures of two digits, judged by what a judge of real digits reads in them.

    Args:
        samples: 'unguided', 'guided' and, where the judge sees raw pictures,
            'reconstructed' ones of the test split; each with images uint8
            [N, 16, 16, 1] and condition['digits'], condition['places'], int [N, 2].
        train, test: decoded records; `train` trains the judge.

    Returns:
        For unguided samples caption_accuracy (both digits, both places and nothing
        else), digits_accuracy and places_accuracy (both right, whatever else the
        picture shows) and frechet_distance (of pixels in [-1, 1], to the test split);
        the same with the suffixes _guided and _reconstructed; and with _real of the
        test split (the distance: of as many training pictures as there are unguided
        samples). `<name>/n` is the number of pictures judged.
    """
    condition = train["condition"]
    judge = CaptionJudge(train["images"], condition["digits"], condition["places"])
    held_out, figures = _pixels(test), {}
    real = spread_rows(_pixels(train), len(samples["unguided"]["images"]))
    for name, decoded in itertools.chain(samples.items(), [("real", test)]):
        end = suffix(name)
        digits, places, ok = judge.read(np.asarray(decoded["images"]))
        digits_right = np.all(digits == decoded["condition"]["digits"], axis=1)
        places_right = np.all(places == decoded["condition"]["places"], axis=1)
        compared = real if name == "real" else _pixels(decoded)
        values = {
            "caption_accuracy": (ok & digits_right & places_right).mean(),
            "digits_accuracy": digits_right.mean(),
            "places_accuracy": places_right.mean(),
            "frechet_distance": frechet_distance(compared, held_out),
        }
        for figure, value in values.items():
            figures[f"{figure}{end}"] = float(value)
            figures[f"{figure}{end}/n"] = len(ok)
        figures[f"frechet_distance{end}/n"] = len(compared)
    return figures


def _pixels(decoded: Decoded) -> np.ndarray:
    images = np.asarray(decoded["images"], np.float64)
    return images.reshape(len(images), -1) / 127.5 - 1.0
