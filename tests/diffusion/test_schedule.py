"""Tests of the noise schedules against the chain of one-step matrices they promise."""

import brute_force as bf
import numpy as np
import pytest

from cdcd_jax.diffusion.schedule import make_schedule, prior_term
from cdcd_jax.diffusion.transition import one_step_table

each_case = pytest.mark.parametrize(("name", "k", "timesteps"), bf.CASES)


@each_case
def test_steps_are_probabilities_and_multiply_to_the_cumulative_values(
    name: str, k: int, timesteps: int
) -> None:
    schedule = bf.schedule_of(name, k, timesteps)
    assert schedule.timesteps == timesteps
    for t in range(1, timesteps + 1):
        assert min(bf.one_step_rates(schedule, t)) > -1e-15
        np.testing.assert_allclose(bf.jump_matrix(schedule, t - 1, t).sum(1), 1.0)
    for t in range(timesteps + 1):
        expected = schedule.alpha_bar[t] * np.eye(k + 1) + schedule.beta_bar[t]
        expected[:k, k] = schedule.gamma_bar[t]
        expected[k] = np.eye(k + 1)[k]
        chain = bf.jump_matrix(schedule, 0, t)
        np.testing.assert_allclose(chain, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("timesteps", [2, 8, 100])
def test_curves_are_the_published_ones(timesteps: int) -> None:
    u = np.arange(timesteps + 1) / timesteps
    released, paper, linear, cosine, uniform = (
        make_schedule(name, 7, timesteps)
        for name in (
            "vq_diffusion_released",
            "vq_diffusion_paper",
            "absorbing_linear",
            "absorbing_cosine",
            "uniform",
        )
    )
    ends = np.linspace(0.99999, 9e-6, timesteps), np.linspace(9e-6, 0.99999, timesteps)
    np.testing.assert_allclose(released.alpha_bar[1:], ends[0], rtol=1e-12)
    np.testing.assert_allclose(released.gamma_bar[1:], ends[1], rtol=1e-9)
    np.testing.assert_allclose(released.uniform_mass[1:], 1e-6, rtol=1e-12)
    np.testing.assert_allclose(paper.gamma_bar, 0.9 * u, atol=1e-15)
    np.testing.assert_allclose(paper.uniform_mass, 0.1 * u, atol=1e-15)
    np.testing.assert_allclose(linear.gamma_bar, u, atol=1e-15)
    masked = np.cos(0.5 * np.pi * (1 - u))
    np.testing.assert_allclose(cosine.gamma_bar, masked, atol=1e-15)
    alpha_bar = np.cos(0.5 * np.pi * u) ** 2
    np.testing.assert_allclose(uniform.alpha_bar, alpha_bar, atol=1e-15)
    np.testing.assert_allclose(uniform.gamma_bar, 0.0, atol=1e-15)


@each_case
def test_time_0_is_data_and_flags_tell_the_kinds_of_noise(
    name: str, k: int, timesteps: int
) -> None:
    schedule = bf.schedule_of(name, k, timesteps)
    first = (schedule.alpha_bar[0], schedule.beta_bar[0], schedule.gamma_bar[0])
    assert first == (1.0, 0.0, 0.0)
    assert schedule.has_uniform == (name not in bf.ABSORBING)
    assert schedule.has_mask == (name != "uniform")
    np.testing.assert_allclose(schedule.beta_bar, schedule.uniform_mass / k)


@each_case
def test_prior_term_is_the_divergence_of_x_T_from_the_prior(
    name: str, k: int, timesteps: int
) -> None:
    schedule = bf.schedule_of(name, k, timesteps)
    forward = bf.jump_matrix(schedule, 0, timesteps)[:k]
    for q in forward:
        expected = bf.kl(q, bf.prior(schedule))
        assert prior_term(schedule) == pytest.approx(expected, rel=1e-6, abs=1e-14)
    if name != "vq_diffusion_released":  # ends in pure noise
        assert abs(prior_term(schedule)) < 1e-14


@pytest.mark.parametrize("name", bf.SCHEDULES)
@pytest.mark.parametrize(("k", "timesteps"), [(2, 2), (974, 100), (2887, 4000)])
def test_coefficients_are_numbers_at_any_size(
    name: str, k: int, timesteps: int
) -> None:
    table = one_step_table(make_schedule(name, k, timesteps))
    for field, values in vars(table).items():
        assert not np.isnan(np.asarray(values)).any(), field


@pytest.mark.parametrize(
    ("name", "k", "timesteps", "message"),
    [
        ("cosine", 3, 8, "unknown diffusion.schedule 'cosine': choose one of"),
        ("uniform", 1, 8, "at least 2 codes"),
        ("absorbing_linear", 3, 0, "at least 2 codes and 1 time step"),
        ("vq_diffusion_released", 3, 1, "needs at least 2"),
    ],
)
def test_bad_arguments_are_refused(
    name: str, k: int, timesteps: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_schedule(name, k, timesteps)
