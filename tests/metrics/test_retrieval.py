"""Nearest vectors: whose they are, and the labels of the nearest."""

import numpy as np

from cdcd_jax.metrics.retrieval import (
    nearest_is_own,
    nearest_label_accuracy,
    own_found,
)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_the_share_of_own_nearest_by_hand_in_blocks_of_any_size():
    rng = np.random.default_rng(0)
    known = unit(rng.standard_normal((50, 3)))
    asked = unit(known + 0.1 * rng.standard_normal(known.shape))
    distance = np.linalg.norm(asked[:, None] - known[None], axis=-1)
    expected = np.mean(distance.argmin(1) == np.arange(50))
    assert 0.2 < expected < 0.9
    assert nearest_is_own(asked, known) == expected
    # by their directions alone
    found = own_found(3 * asked, known, known, block=7)
    np.testing.assert_array_equal(found, distance.argmin(1) == np.arange(50))
    assert nearest_is_own(known, known) == 1.0


def test_the_nearest_vote_for_a_label():
    rng = np.random.default_rng(0)
    middles = np.eye(3)
    labels = np.arange(60) % 3
    vectors = unit(middles[labels] + 0.1 * rng.standard_normal((60, 3)))
    held_out = unit(middles[labels] + 0.1 * rng.standard_normal((60, 3)))
    assert nearest_label_accuracy(vectors, labels, held_out, labels) == 1.0
    swapped = np.where(labels == 0, 1, labels)
    found = nearest_label_accuracy(vectors, labels, held_out, swapped)
    assert found == 2 / 3
    # fewer than vote are all asked
    few = nearest_label_accuracy(vectors[:1], labels[:1], held_out, labels)
    assert few == 1 / 3
