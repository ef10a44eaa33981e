"""Figures of small pictures with a class, in the space of their pixels in [-1, 1]."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.metrics.classifier import PixelClassifier
from cdcd_jax.metrics.diversity import (
    copy_rate,
    relative_spread,
    relative_spread_within_class,
)
from cdcd_jax.metrics.frechet import frechet_distance
from cdcd_jax.metrics.names import suffix

# decoded arrays of a split or of samples: images, condition, ...
Decoded = Mapping[str, Any]

# mean absolute difference of pixels in [-1, 1] below which a sample is a copy: a
# quarter of a digit's grey level. The nearest other digit is 0.1 away at the median.
COPY_THRESHOLD = 0.25 * 2 / 16


def pixels_of(decoded: Decoded, name: str = "images") -> np.ndarray:
    """Pictures uint8 [N, H, W, C], or videos, as float64 [N, H * W * C] in [-1, 1]."""
    images = np.asarray(decoded[name], np.float64)
    return images.reshape(len(images), -1) / 127.5 - 1.0


class PixelJudge:
    """Tells classes, copies and distances of pictures, as real ones teach.

    Attributes:
        real, held_out: pixels of the training and the test split.
        classifier: of the training split.

    Args:
        train, test: real images and labels.
    """

    def __init__(self, train: Decoded, test: Decoded) -> None:
        self.real, self.held_out = pixels_of(train), pixels_of(test)
        self._labels = np.asarray(train["condition"]["label"])
        self.classifier = PixelClassifier(self.real, self._labels)

    def distances(self, end: str, pixels: np.ndarray) -> dict[str, float]:
        """copy_rate and frechet_distance of pictures; of '_real' ones: of training."""
        far = self.real if end == "_real" else pixels
        return {
            f"copy_rate{end}": copy_rate(pixels, self.real, COPY_THRESHOLD),
            f"copy_rate{end}/n": len(pixels),
            f"frechet_distance{end}": frechet_distance(far, self.held_out),
            f"frechet_distance{end}/n": len(far),
        }

    def within_class(
        self, end: str, pixels: np.ndarray, classes: np.ndarray
    ) -> dict[str, float]:
        """spread_within_class of pictures."""
        spread = relative_spread_within_class(pixels, classes, self.real, self._labels)
        name = f"spread_within_class{end}"
        return {name: spread, f"{name}/n": len(pixels)}


def labelled_pixels(
    samples: Mapping[str, Decoded], train: Decoded, test: Decoded
) -> dict[str, float]:
    """Small images with a label, judged in the space of their pixels in [-1, 1].

    Args:
        samples: sets by name, each with images and condition['label'].
        train, test: real images and labels.

    Returns:
        For unguided samples class_accuracy, frechet_distance (to the test split),
        copy_rate, spread and spread_within_class; of others with their `suffix`;
        and of real data with the suffix _real (test images as if they were samples;
        the distance of training to test). `<name>/n` is the number of images judged.
    """
    judge = PixelJudge(train, test)

    def figures(end: str, pixels: np.ndarray, classes: np.ndarray) -> dict[str, float]:
        return {
            f"class_accuracy{end}": judge.classifier.accuracy(pixels, classes),
            f"class_accuracy{end}/n": len(pixels),
            **judge.distances(end, pixels),
            f"spread{end}": relative_spread(pixels, judge.real),
            f"spread{end}/n": len(pixels),
            **judge.within_class(end, pixels, classes),
        }

    found: dict[str, float] = {}
    for name, decoded in samples.items():
        classes = np.asarray(decoded["condition"]["label"])
        found |= figures(suffix(name), pixels_of(decoded), classes)
    labels = np.asarray(test["condition"]["label"])
    return found | figures("_real", judge.held_out, labels)
