"""Metrics against hand-computed cases and scipy."""

import numpy as np
import pytest
import scipy.linalg

from cdcd_jax.metrics.classifier import PixelClassifier
from cdcd_jax.metrics.diversity import (
    copy_rate,
    relative_spread,
    relative_spread_within_class,
    token_usage,
)
from cdcd_jax.metrics.frechet import frechet_distance
from cdcd_jax.metrics.pixels import COPY_THRESHOLD, labelled_pixels

RNG = np.random.default_rng(0)


def test_frechet_distance_equals_the_matrix_square_root():
    a = RNG.normal(size=(200, 6)) @ RNG.normal(size=(6, 6))
    b = RNG.normal(size=(150, 6)) @ RNG.normal(size=(6, 6)) + 0.5
    s, u = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(s @ u).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(s + u - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_of_a_shift_and_of_singular_features():
    a = RNG.normal(size=(100, 4))
    assert frechet_distance(a, a + 2.0) == pytest.approx(16.0, rel=1e-6)
    flat = np.concatenate([a, np.zeros((100, 3))], axis=1)
    assert frechet_distance(flat, flat) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="same width"):
        frechet_distance(a, flat)


def test_copy_rate_counts_what_is_near_a_training_row():
    training = np.array([[0.0, 0.0], [1.0, 1.0]])
    samples = np.array([[0.0, 0.02], [0.5, 0.5], [1.0, 1.0], [0.0, 1.0]])
    assert copy_rate(samples, training, 0.01) == 0.5
    assert copy_rate(samples, training, 0.0) == 0.25
    assert copy_rate(samples, training, 0.01, block=1) == 0.5


def test_usage_of_tokens():
    """Shares 1/2, 1/4 and 1/4 are 3/2 bits, 2^(3/2) codes as frequent as each other."""
    found = token_usage(np.array([[0, 3], [0, 1]]), 9)
    assert found["token_usage"] == pytest.approx(3 / 9)
    assert found["token_perplexity"] == pytest.approx(2**1.5)
    assert token_usage(np.arange(9), 9)["token_perplexity"] == pytest.approx(9)


def test_spread_is_relative_to_real_data():
    real = np.concatenate([RNG.normal(0, 1, (500, 3)), RNG.normal(9, 1, (500, 3))])
    labels = np.repeat([0, 1], 500)
    within = lambda rows: relative_spread_within_class(rows, labels, real, labels)
    assert relative_spread(real, real) == within(real) == pytest.approx(1)
    narrow = np.where(labels[:, None] == 0, real / 2, 9 + (real - 9) / 2)
    assert within(narrow) == pytest.approx(0.5, rel=1e-3)
    collapsed = np.repeat([[0.0] * 3, [9.0] * 3], 500, axis=0)
    assert within(collapsed) == 0
    # classes apart hide a collapse inside of them
    assert relative_spread(collapsed, real) > 0.9
    assert relative_spread(collapsed[:500], real) == 0


def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.round(data.images * 255 / 16).astype(np.uint8)[..., None]
    half = {"images": images[:900], "condition": {"label": data.target[:900]}}
    rest = {"images": images[900:], "condition": {"label": data.target[900:]}}
    return half, rest


def test_the_judge_tells_real_digits_apart():
    train, test = digits()
    flat = lambda d: d["images"].reshape(len(d["images"]), -1) / 127.5 - 1
    judge = PixelClassifier(flat(train), train["condition"]["label"])
    assert judge.accuracy(flat(test), test["condition"]["label"]) > 0.93
    assert judge.accuracy(flat(test), (test["condition"]["label"] + 1) % 10) < 0.03


def test_figures_of_copies_and_of_noise():
    train, test = digits()
    noise = {**train, "images": RNG.integers(0, 256, (900, 8, 8, 1), dtype=np.uint8)}
    figures = labelled_pixels({"unguided": noise, "guided": train}, train, test)
    assert figures["copy_rate"] == 0 and figures["copy_rate_guided"] == 1
    assert figures["class_accuracy_guided"] > 0.99
    assert figures["class_accuracy"] < 0.3
    assert figures["spread_guided"] == pytest.approx(1)
    assert figures["frechet_distance"] > 10 * figures["frechet_distance_guided"]
    assert figures["copy_rate_real"] == 0 < COPY_THRESHOLD
    assert figures["class_accuracy/n"] == 900
    assert figures["class_accuracy_real/n"] == 897
