"""Vectors of two sides: the loss by brute force, what is left out, the scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.diffusion.contrastive import (
    MOST_SCALE,
    bounded_scale,
    symmetric_infonce,
)


def unit(rng, size, features=5):
    x = rng.standard_normal((size, features))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def by_hand(a, b, scale, same):
    """One example, one way, one candidate at a time."""
    found = []
    for i in range(len(a)):
        own = np.exp(scale * a[i] @ b[i])
        kept = [j for j in range(len(a)) if j == i or not same[i, j]]
        rows = sum(np.exp(scale * a[i] @ b[j]) for j in kept)
        columns = sum(np.exp(scale * a[j] @ b[i]) for j in kept)
        found.append(-np.log(own / rows) / 2 - np.log(own / columns) / 2)
    return np.array(found)


@pytest.mark.parametrize("masked", [False, True])
def test_it_is_the_cross_entropy_of_both_ways(masked):
    rng = np.random.default_rng(0)
    a, b = unit(rng, 7), unit(rng, 7)
    said = rng.integers(0, 3, 7)
    same = said[:, None] == said[None] if masked else np.zeros((7, 7), bool)
    found = symmetric_infonce(a, b, 8.0, jnp.asarray(same) if masked else None)
    np.testing.assert_allclose(found, by_hand(a, b, 8.0, same), rtol=2e-6)
    assert found.shape == (7,) and np.all(np.asarray(found) >= 0)


def test_sides_that_have_nothing_in_common_cost_the_logarithm_of_their_number():
    a, b = np.tile([1.0, 0.0], (6, 1)), np.tile([0.0, 1.0], (6, 1))
    np.testing.assert_allclose(symmetric_infonce(a, b, 50.0), np.log(6), rtol=1e-6)


def test_examples_that_are_all_the_same_cost_nothing_and_pull_nowhere():
    rng = np.random.default_rng(1)
    a, b, same = unit(rng, 4), unit(rng, 4), jnp.ones((4, 4), bool)
    loss = lambda a: jnp.sum(symmetric_infonce(a, b, 10.0, same))
    assert float(loss(a)) == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(a)), 0.0, atol=1e-5)


def test_the_scale_learns_within_its_bounds():
    free = jnp.array([-1e3, -3.0, 0.0, 3.0, 1e3])
    scale = jax.vmap(bounded_scale)(free)
    np.testing.assert_allclose(scale[jnp.array([0, 2, 4])], [1, 10, MOST_SCALE], 1e-5)
    assert np.all(np.diff(scale) > 0)
    assert np.all(np.asarray(jax.vmap(jax.grad(bounded_scale))(free[1:4])) > 0)
