"""Tests of the choice of t: its law, the importance weights and their running state."""

import brute_force as bf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.diffusion.objective import (
    TimeHistory,
    init_time_history,
    sample_times,
    time_probabilities,
    update_time_history,
)

MOMENTS = np.array([9.0, 4.0, 0.25, 0.0, 16.0])
WARM = TimeHistory(jnp.asarray(MOMENTS), jnp.full(5, 11.0))


def importance(moments: np.ndarray) -> np.ndarray:
    """sqrt(E[L_t^2]) with the reference's constants; t = 1 has the weight of t = 2."""
    weight = np.sqrt(moments + 1e-10) + 1e-4
    weight[0] = weight[1]
    return weight / weight.sum()


def draws(method: str, history: TimeHistory, batch: int, calls: int) -> tuple:
    """t and p(t), [calls, B]."""
    keys = jax.random.split(jax.random.key(0), calls)
    draw = bf.quick_jit(jax.vmap(lambda key: sample_times(key, batch, history, method)))
    t, p = draw(keys)
    assert t.dtype == jnp.int32 and t.shape == p.shape == (calls, batch)
    return np.asarray(t), np.asarray(p)


@pytest.mark.parametrize("method", ["uniform", "importance"])
@pytest.mark.parametrize("timesteps", [1, 5])
def test_times_are_uniform_at_first(method: str, timesteps: int) -> None:
    t, p = draws(method, init_time_history(timesteps), 100, 100)
    np.testing.assert_allclose(p, 1 / timesteps, rtol=1e-6)
    counts = np.bincount(t.ravel(), minlength=timesteps + 1)
    law = np.append(0.0, np.full(timesteps, 1 / timesteps))
    assert bf.chi_squared(counts, law) > 1e-3


@pytest.mark.parametrize(("batch", "timesteps"), [(3, 8), (7, 5), (16, 8), (4, 1)])
def test_stratified_times_are_uniform_and_spread(batch: int, timesteps: int) -> None:
    t, p = draws("stratified", init_time_history(timesteps), batch, 4000)
    np.testing.assert_allclose(p, 1 / timesteps, rtol=1e-6)
    assert t.min() >= 1 and t.max() <= timesteps
    # In every batch each t occurs B / T times, rounded up or down.
    counts = np.stack([(t == value).sum(1) for value in range(1, timesteps + 1)], 1)
    share = batch / timesteps
    assert np.all((counts == np.floor(share)) | (counts == np.ceil(share)))
    np.testing.assert_allclose(counts.mean(0), share, atol=0.05)


@pytest.mark.parametrize("method", ["uniform", "stratified"])
def test_other_methods_ignore_the_history(method: str) -> None:
    _, p = draws(method, WARM, 8, 1)
    np.testing.assert_allclose(p, 0.2, rtol=1e-6)


def test_importance_waits_until_every_time_was_seen_more_than_10_times() -> None:
    for late in range(5):
        history = WARM._replace(count=jnp.full(5, 99.0).at[late].set(10.0))
        np.testing.assert_allclose(time_probabilities(history), 0.2, rtol=1e-6)
    np.testing.assert_allclose(
        time_probabilities(WARM), importance(MOMENTS.copy()), rtol=1e-5
    )
    alone = TimeHistory(jnp.array([4.0]), jnp.array([11.0]))
    np.testing.assert_allclose(time_probabilities(alone), [1.0])


def test_importance_draws_follow_their_probabilities_and_weigh_without_bias() -> None:
    t, p = draws("importance", WARM, 100, 200)
    law = importance(MOMENTS.copy())
    np.testing.assert_allclose(p, law[t - 1], rtol=1e-5)
    often = np.arange(5) != 3  # t = 4 is too rare to be counted
    counts = np.bincount(t.ravel(), minlength=6)[1:]
    assert bf.chi_squared(counts[often], law[often] / law[often].sum()) > 1e-3
    # E[f(t) / p(t)] = sum_t f(t), to 4 standard errors.
    f = np.array([3.0, -1.0, 0.5, 0.0, 2.0])
    estimate = f[t - 1] / p
    error = estimate.std() / np.sqrt(estimate.size)
    assert abs(estimate.mean() - f.sum()) < 4 * error < 0.2


def test_history_blends_the_mean_square_of_each_time_that_occurs() -> None:
    history = TimeHistory(jnp.array([1.0, 2.0, 3.0]), jnp.array([5.0, 6.0, 7.0]))
    t, bound = jnp.array([3, 1, 3, 3]), jnp.array([1.0, 2.0, 3.0, 5.0])
    found = update_time_history(history, t, bound)
    expected = [0.9 + 0.1 * 4, 2.0, 2.7 + 0.1 * (1 + 9 + 25) / 3]
    np.testing.assert_allclose(found.second_moment, expected, rtol=1e-6)
    np.testing.assert_array_equal(found.count, [6.0, 6.0, 10.0])


def test_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="choose one of uniform, stratified, import"):
        sample_times(jax.random.key(0), 4, WARM, "loss")
