"""Pictures with labels: figures of samples whose right ones are known."""

import made_pairs
import numpy as np
import pytest

from cdcd_jax.errors import InputError
from cdcd_jax.metrics.figures import FIGURES, SETS

TRAIN, TEST = made_pairs.splits()
LABELS = TEST["condition"]["label"]
KNOWN = made_pairs.repeated(TEST, 1)
joint_pixels = FIGURES["joint_pixels"]


def test_real_digits_permuted_ones_and_copies():
    other = (LABELS + 1) % 10
    figures = joint_pixels(
        {
            "joint": {"images": TEST["images"], "label": LABELS, **KNOWN},
            "joint_wrong": {"images": TEST["images"], "label": other, **KNOWN},
            "joint_copied": {
                **{"images": TRAIN["images"][:300], "label": np.full(300, 3)},
                **KNOWN,
            },
        },
        TRAIN,
        TEST,
    )
    real = figures["joint_agreement_real"]
    assert real > 0.95 and figures["joint_agreement"] == real
    assert figures["joint_agreement_wrong"] < 0.03
    error = figures["joint_agreement/standard_error"]
    assert error == pytest.approx(np.sqrt(real * (1 - real) / 299))
    assert figures["joint_agreement/n"] == 300 == figures["frechet_distance/n"]
    p = np.bincount(LABELS) / 300
    entropy = -np.sum(p * np.log2(p))
    assert figures["class_entropy_bits"] == pytest.approx(entropy)
    assert figures["class_entropy_bits_copied"] == 0
    assert figures["copy_rate"] < 0.05 and figures["copy_rate_copied"] == 1
    assert figures["frechet_distance"] == pytest.approx(0, abs=1e-6)
    assert figures["frechet_distance_real"] > 0.3
    spread = figures["spread_within_class_real"]
    assert 0.8 < spread < 1.2 and figures["spread_within_class"] == spread


def test_one_from_the_other():
    """Two samples of a record count as one record for the error."""
    known = made_pairs.repeated(TEST, 2)
    labels = np.repeat(LABELS, 2)
    half = np.where(np.arange(600) < 300, labels, (labels + 1) % 10)
    pictures = known["truth"]["images"]
    figures = joint_pixels(
        {
            "image_to_label": {"label": labels, **known},
            "image_to_label_guidance": {"label": half, **known},
            "one_pass": {"label": half, **known},
            "label_to_image": {"images": pictures, **known},
            "label_to_image_substitution": {"images": pictures[::-1], **known},
            "steps=3": {"images": pictures, **known},
        },
        TRAIN,
        TEST,
    )
    assert figures["image_to_label_accuracy"] == 1
    assert figures["image_to_label_accuracy/standard_error"] == 0
    assert figures["image_to_label_accuracy_guidance"] == 0.5
    assert figures["one_pass_accuracy"] == 0.5
    error = figures["one_pass_accuracy/standard_error"]
    assert error == pytest.approx(0.5 / np.sqrt(299))
    assert figures["one_pass_accuracy/n"] == 600
    right = figures["label_to_image_accuracy"]
    assert right == pytest.approx(figures["joint_agreement_real"])
    assert figures["label_to_image_accuracy_substitution"] < 0.3
    assert not [name for name in figures if "=" in name]


def test_pictures_without_labels_are_compared_all_the_same():
    figures = joint_pixels({"joint": {"images": TEST["images"]}}, TRAIN, TEST)
    assert {"frechet_distance", "copy_rate"} <= set(figures)
    assert not {"joint_agreement", "class_entropy_bits"} & set(figures)


def test_a_set_without_what_judges_it():
    with pytest.raises(InputError, match="samples one_pass without 'label'"):
        joint_pixels({"one_pass": {"tokens": TEST["tokens"], **KNOWN}}, TRAIN, TEST)


def test_the_figures_say_which_sets_they_judge():
    assert set(SETS) < set(FIGURES) and "one_pass" in SETS["joint_pixels"]
