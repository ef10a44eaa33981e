"""Figures of small pictures with a class, in the space of their pixels."""

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


def _pixels(decoded: Decoded) -> np.ndarray:
    images = np.asarray(decoded["images"], np.float64)
    return images.reshape(len(images), -1) / 127.5 - 1.0


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
    real, held_out = _pixels(train), _pixels(test)
    labels = np.asarray(train["condition"]["label"])
    classifier = PixelClassifier(real, labels)
    figures: dict[str, float] = {}

    def judge(end: str, pixels: np.ndarray, classes: np.ndarray) -> None:
        values = {
            "class_accuracy": classifier.accuracy(pixels, classes),
            "copy_rate": copy_rate(pixels, real, COPY_THRESHOLD),
            "spread": relative_spread(pixels, real),
            "spread_within_class": relative_spread_within_class(
                pixels, classes, real, labels
            ),
            "frechet_distance": frechet_distance(
                real if end == "_real" else pixels, held_out
            ),
        }
        for name, value in values.items():
            figures[f"{name}{end}"] = value
            figures[f"{name}{end}/n"] = len(pixels)

    for name, decoded in samples.items():
        classes = np.asarray(decoded["condition"]["label"])
        judge(suffix(name), _pixels(decoded), classes)
    judge("_real", held_out, np.asarray(test["condition"]["label"]))
    figures["frechet_distance_real/n"] = len(real)
    return figures
