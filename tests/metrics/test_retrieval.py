"""Nearest vectors: whose they are, and the labels of the nearest."""

import numpy as np

from cdcd_jax.metrics.retrieval import (
    class_retrieval,
    label_found,
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


def test_labels_of_the_nearest_by_hand_without_pairs():
    rng = np.random.default_rng(0)
    one, other = unit(rng.standard_normal((40, 3))), unit(rng.standard_normal((25, 3)))
    one[::3], other[1::2] = one[0], other[1]  # many are equal
    labels, others = rng.integers(0, 4, 40), rng.integers(1, 6, 25)

    def by_hand(vectors, labels, among, among_labels):
        found = []
        for vector, label in zip(vectors, labels, strict=True):
            best = among[np.argmax(among @ vector)]
            equal = np.all(among == best, axis=1)
            found.append(np.mean(among_labels[equal] == label))
        return np.array(found)

    there = by_hand(one, labels, other, others)
    back = by_hand(other, others, one, labels)
    assert set(there) - {0, 1} and 0.1 < there.mean() < 0.6
    # by their directions alone, in blocks of any size
    found = label_found(3 * one, labels, other, others, block=7)
    np.testing.assert_allclose(found, there, rtol=1e-12)
    both = class_retrieval(one, labels, other, others)
    np.testing.assert_allclose(both, (there.mean(), back.mean()), rtol=1e-12)
    classes = np.arange(40) % 3
    assert class_retrieval(np.eye(3)[classes], classes, np.eye(3), np.arange(3)) == (
        *(1.0, 1.0),
    )
