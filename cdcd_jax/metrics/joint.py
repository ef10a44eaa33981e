"""Figures of small pictures drawn together with their labels, or one of the other."""

from collections.abc import Mapping

import numpy as np

from cdcd_jax.metrics.diversity import entropy_bits
from cdcd_jax.metrics.estimates import estimate, part_of, records_of
from cdcd_jax.metrics.names import of_kinds
from cdcd_jax.metrics.pixels import Decoded, PixelJudge, pixels_of

KINDS = ("joint", "label_to_image", "image_to_label", "one_pass")


def joint_pixels(
    samples: Mapping[str, Decoded], train: Decoded, test: Decoded
) -> dict[str, float]:
    """Pictures and labels: do they agree, drawn together or one given the other?

    A support vector machine on pixels of the training split says what is on a picture.

    Args:
        samples: sets by name. `joint` has images and label, both drawn, the label
            perhaps not; `label_to_image` images, `image_to_label` and `one_pass` label,
            with the record's condition['label']. More of a kind are called
            `<kind>_<ending>`.
        train, test: real images and labels.

    Returns:
        joint_agreement (share of drawn pictures that show the drawn label),
        class_entropy_bits (of the drawn labels), frechet_distance (to the test split),
        copy_rate and spread_within_class of `joint`; label_to_image_accuracy,
        image_to_label_accuracy and one_pass_accuracy; each with the set's ending. Those
        of `joint` also of the test split, with _real. `<name>/n` counts samples, and
        `<name>/standard_error` is over records.

    Raises:
        InputError: a set does not have what it is judged by.
    """
    judge = PixelJudge(train, test)
    figures: dict[str, float] = {}
    for name, kind, end, decoded in of_kinds(samples, KINDS):
        if kind == "joint":
            pixels = pixels_of({"images": part_of(name, decoded, "images")})
            figures |= _together(judge, end, pixels, decoded.get("label"))
            continue
        asked = part_of(name, decoded["condition"], "label")
        if kind == "label_to_image":
            pixels = pixels_of({"images": part_of(name, decoded, "images")})
            right = judge.classifier.predict(pixels) == asked
        else:
            right = part_of(name, decoded, "label") == asked
        records = records_of(decoded)
        figures |= estimate(f"{kind}_accuracy{end}", right, records=records)
    labels = np.asarray(test["condition"]["label"])
    return figures | _together(judge, "_real", judge.held_out, labels)


def _together(
    judge: PixelJudge, end: str, pixels: np.ndarray, labels: np.ndarray | None
) -> dict[str, float]:
    """Figures of pictures and the labels that were drawn with them, if any were."""
    figures = judge.distances(end, pixels)
    if labels is None:
        return figures
    agree = judge.classifier.predict(pixels) == labels
    return {
        **estimate(f"joint_agreement{end}", agree),
        f"class_entropy_bits{end}": entropy_bits(labels),
        f"class_entropy_bits{end}/n": len(labels),
        **figures,
        **judge.within_class(end, pixels, labels),
    }
