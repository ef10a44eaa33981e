"""Tests of jumps t -> s: the posterior against Bayes, forward and prior draws."""

import brute_force as bf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.diffusion.transition import (
    log_posterior,
    one_step_table,
    sample_prior,
    sample_x_t,
    transitions,
)

each_schedule = pytest.mark.parametrize("name", bf.SCHEDULES)
posterior = bf.quick_jit(log_posterior)


def some_logits(k: int, rows: int, seed: int) -> np.ndarray:
    """[rows, K + 1, K]: mild, peaked, with a code ruled out, and point masses."""
    logits = np.random.default_rng(seed).normal(0, 2, (rows, k + 1, k))
    logits[1::4] *= 10
    logits[2::4, :, 0] = -np.inf
    logits[3::4, :, 1:] = -np.inf
    return logits.astype(np.float32)


@pytest.mark.parametrize(("name", "k", "timesteps"), bf.CASES)
def test_posterior_is_the_bayes_mixture(name: str, k: int, timesteps: int) -> None:
    schedule = bf.schedule_of(name, k, timesteps)
    # Every jump meets every kind of logits.
    jumps = np.repeat(bf.JUMPS[timesteps], 4, axis=0)
    logits = some_logits(k, len(jumps), seed=k)
    x_t = np.tile(np.arange(k + 1), (len(jumps), 1))
    found = np.asarray(posterior(logits, x_t, transitions(schedule, *jumps.T)))
    assert found.dtype == np.float32 and found.shape == (len(jumps), k + 1, k + 1)
    for row, (t, s) in enumerate(jumps):
        for j in bf.reachable(schedule, t):
            expected = bf.softmax(logits[row, j]) @ bf.posterior(schedule, t, s, j)
            np.testing.assert_allclose(np.exp(found[row, j]), expected, atol=1e-6)
            assert np.exp(found[row, j]).sum() == pytest.approx(1.0, abs=1e-6)
            if row % 4 == 0:  # mild logits: rare outcomes to relative precision too
                with np.errstate(divide="ignore"):
                    log_expected = np.log(expected)
                np.testing.assert_allclose(found[row, j], log_expected, atol=1e-4)


@each_schedule
@pytest.mark.parametrize("jump", [(1, 0), (2, 1), (2, 0)])
def test_posterior_of_many_codes(name: str, jump: tuple[int, int]) -> None:
    k, (t, s) = 974, jump
    schedule = bf.schedule_of(name, k, 2)
    # A code and the mask, or one of them twice where the other cannot occur.
    states = np.resize(np.intersect1d([5, k], bf.reachable(schedule, t)), 2)
    logits = np.random.default_rng(0).normal(0, 3, (1, 2, k))
    tr = transitions(schedule, np.array([t]), np.array([s]))
    found = np.exp(posterior(logits.astype(np.float32), states[None], tr))
    for i, j in enumerate(states):
        expected = bf.softmax(logits[0, i]) @ bf.posterior(schedule, t, s, j)
        np.testing.assert_allclose(found[0, i], expected, atol=2e-6)


@pytest.mark.parametrize("name", bf.ABSORBING)
def test_absorbing_schedules_carry_unmasked_tokens_over(name: str) -> None:
    tr = transitions(bf.schedule_of(name, 3, 8), np.array([4]), np.array([3]))
    found = posterior(some_logits(3, 1, 0), np.array([[0, 1, 2, 3]]), tr)
    np.testing.assert_array_equal(np.exp(found[0, :3]), np.eye(4)[:3])


@each_schedule
def test_table_holds_the_jumps_to_the_previous_time(name: str) -> None:
    schedule = bf.schedule_of(name, 3, 8)
    t = np.array([8, 1, 4, 4])
    taken = one_step_table(schedule).at(jnp.asarray(t - 1))
    made = transitions(schedule, t, t - 1)
    assert taken.absorbing == made.absorbing == (name in bf.ABSORBING)
    jax.tree.map(np.testing.assert_array_equal, taken, made)


@pytest.mark.parametrize("jump", [(3, 3), (3, 4), (9, 2), (1, -1)])
def test_jumps_that_do_not_go_back_are_refused(jump: tuple[int, int]) -> None:
    schedule = bf.schedule_of("uniform", 3, 8)
    with pytest.raises(ValueError, match="back to an earlier time"):
        transitions(schedule, np.array([2, jump[0]]), np.array([1, jump[1]]))


@each_schedule
def test_forward_draws_follow_the_chain(name: str) -> None:
    k, draws, times = 3, 20_000, np.array([0, 1, 4, 8])
    schedule = bf.schedule_of(name, k, 8)
    x_0 = jnp.broadcast_to(jnp.arange(k), (len(times), draws, k))
    draw = bf.quick_jit(lambda key: sample_x_t(key, x_0, jnp.asarray(times), schedule))
    x_t = draw(jax.random.key(1))
    assert x_t.dtype == jnp.int32 and x_t.shape == x_0.shape
    np.testing.assert_array_equal(x_t[0], x_0[0])  # t = 0 is data
    for row, t in enumerate(times):
        for code in range(k):
            counts = np.bincount(x_t[row, :, code], minlength=k + 1)
            law = bf.jump_matrix(schedule, 0, t)[code]
            assert bf.chi_squared(counts, law) > 1e-3, (t, code, counts)


@each_schedule
def test_prior_draws(name: str) -> None:
    schedule = bf.schedule_of(name, 3, 8)
    draw = bf.quick_jit(lambda key: sample_prior(key, (100, 300), schedule))
    x = draw(jax.random.key(2))
    assert x.dtype == jnp.int32 and x.shape == (100, 300)
    counts = np.bincount(np.ravel(x), minlength=4)
    assert bf.chi_squared(counts, bf.prior(schedule)) > 1e-3
