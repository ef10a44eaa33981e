"""Tests of the contrastive forms against loops over one example at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.diffusion.contrastive import (
    difference,
    difference_paper,
    infonce,
    nce_accuracy,
)

B, N = 6, 4


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d(x_0) [B], d(z) [B, N], valid [B, N]: row 0 has no negative, row 1 all."""
    rng = np.random.default_rng(0)
    valid = rng.random((B, N)) < 0.5
    valid[0], valid[1], valid[2, 0] = False, True, True
    d_negative = rng.uniform(20, 60, (B, N)).astype(np.float32)
    d_negative[~valid] = -1e6  # must never be seen
    return rng.uniform(10, 50, B).astype(np.float32), d_negative, valid


def mean_of_valid(d: np.ndarray, valid: np.ndarray) -> float:
    return float(d[valid].mean()) if valid.any() else 0.0


def test_difference_subtracts_the_weighted_mean_of_the_negatives(scored) -> None:
    _, d_negative, valid = scored
    weight, scale = np.linspace(1, 2, B), np.linspace(0.1, 3, B)
    expected = [
        -weight[i] * scale[i] * mean_of_valid(d_negative[i], valid[i]) for i in range(B)
    ]
    found = difference(d_negative, valid, weight, scale)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found[0] == 0.0


def test_difference_paper_compares_with_the_positive(scored) -> None:
    d_positive, d_negative, valid = scored
    scale = np.linspace(0.1, 3, B)
    expected = [
        scale[i] * (d_positive[i] - mean_of_valid(d_negative[i], valid[i]))
        for i in range(B)
    ]
    found = difference_paper(d_positive, d_negative, valid, scale)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.05, 1.0, 20.0])
def test_infonce_is_the_cross_entropy_of_picking_the_positive(
    scored, temperature: float
) -> None:
    d_positive, d_negative, valid = scored
    timesteps, length = 8, 16
    importance = np.linspace(0.5, 2, B)
    expected = []
    for i in range(B):
        d = np.append(d_positive[i], d_negative[i][valid[i]]).astype(np.float64)
        score = -d * timesteps / length / temperature
        p = np.exp(score - score.max())
        log_p = score[0] - score.max() - np.log(p.sum())
        expected.append(-importance[i] * log_p)
    arguments = (valid, temperature, timesteps, length, importance)
    found = infonce(d_positive, d_negative, *arguments)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    assert found[0] == 0.0 and np.min(found) >= 0.0  # log 1: nothing to confuse with


def test_infonce_of_equal_scores_is_log_of_their_number() -> None:
    d, ones = jnp.full((3, 5), 7.0), jnp.ones(3)
    found = infonce(d[:, 0], d, d > 0, 0.1, 10, 4, ones)
    np.testing.assert_allclose(found, np.log(6), rtol=1e-5)


def test_infonce_depends_neither_on_length_nor_on_a_common_shift(scored) -> None:
    d_positive, d_negative, valid = scored
    ones = np.ones(B)
    first = infonce(d_positive, d_negative, valid, 0.5, 8, 16, ones)
    longer = infonce(3 * d_positive, 3 * d_negative, valid, 0.5, 8, 48, ones)
    shifted = infonce(d_positive + 5, d_negative + 5, valid, 0.5, 8, 16, ones)
    np.testing.assert_allclose(first, longer, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first, shifted, rtol=1e-4, atol=1e-4)


def test_missing_negatives_give_no_gradient(scored) -> None:
    d_positive, d_negative, valid = scored
    ones = np.ones(B)
    forms = (
        lambda d: difference(d, valid, ones, ones).sum(),
        lambda d: difference_paper(d_positive, d, valid, ones).sum(),
        lambda d: infonce(d_positive, d, valid, 5.0, 8, 16, ones).sum(),
    )
    for form in forms:
        gradient = np.asarray(jax.grad(form)(d_negative))
        assert np.isfinite(gradient).all() and gradient[1].any()
        np.testing.assert_array_equal(gradient[~valid], 0.0)


def test_nce_accuracy_counts_strict_wins_among_examples_with_negatives(scored) -> None:
    d_positive, d_negative, valid = scored
    wins = [
        d_positive[i] < d_negative[i][valid[i]].min() for i in range(B) if any(valid[i])
    ]
    assert 0 < sum(wins) < len(wins)
    assert nce_accuracy(d_positive, d_negative, valid) == pytest.approx(np.mean(wins))
    tie = jnp.ones((2, 1))
    assert nce_accuracy(tie[:, 0], tie, tie > 0) == 0.0
    assert np.isnan(nce_accuracy(tie[:, 0], tie, tie < 0))
