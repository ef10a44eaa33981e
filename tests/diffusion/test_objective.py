"""Tests of the bound's terms in closed form: values, floor, gradients and extremes."""

import brute_force as bf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.diffusion.objective import (
    Scores,
    position_weights,
    posterior_kl,
    ramp,
    scores,
)
from cdcd_jax.diffusion.schedule import prior_term
from cdcd_jax.diffusion.transition import Transition, transitions

each_case = pytest.mark.parametrize(("name", "k", "timesteps"), bf.CASES)


@jax.jit
def values(
    logits: jax.Array,
    x_t: jax.Array,
    z: jax.Array,
    tr: Transition,
    floor: float | None = None,
) -> tuple[jax.Array, Scores]:
    """KL of all z, and the scores."""
    score = scores(logits, x_t, z, tr)
    return posterior_kl(z, x_t, score, tr, logits.shape[-1], floor), score


@jax.jit
def terms(
    logits: jax.Array,
    x_t: jax.Array,
    z: jax.Array,
    tr: Transition,
    weights: jax.Array,
    floor: float | None,
) -> tuple[jax.Array, Scores, jax.Array]:
    """KL and scores of all z, and the gradient of sum_z w_z KL(z) - v_z log p(z)."""

    def loss(logits: jax.Array) -> tuple[jax.Array, tuple]:
        kl, score = values(logits, x_t, z, tr, floor)
        total = jnp.sum(weights[0] * kl - weights[1] * score.log_p)
        return total, (kl, score)

    (_, (kl, score)), gradient = jax.value_and_grad(loss, has_aux=True)(logits)
    return kl, score, gradient


class Grid:
    """Every jump of a case with every x_t and every z: closed form and brute force."""

    def __init__(
        self,
        case: tuple[str, int, int],
        *,
        auxiliary: float = 0.0,
        floor: float | None = None,
        spread: float = 2.0,
        ruled_out: float = 0.0,
    ) -> None:
        name, k, timesteps = case
        rng = np.random.default_rng(k)
        self.schedule = bf.schedule_of(name, k, timesteps)
        self.jumps, self.auxiliary, self.floor = bf.JUMPS[timesteps], auxiliary, floor
        shape = (len(self.jumps), k + 1, k)
        self.logits = rng.normal(0, spread, shape).astype(np.float32)
        self.logits[..., -1] -= ruled_out
        self.weights = rng.uniform(0.5, 1.5, (2, *shape)).astype(np.float32)
        self.weights[1] *= auxiliary
        x_t = np.broadcast_to(np.arange(k + 1), shape[:2])
        z = np.broadcast_to(np.arange(k), shape)
        tr = transitions(self.schedule, *np.transpose(self.jumps))
        self.kl, self.score, self.gradient = terms(
            self.logits, x_t, z, tr, self.weights, floor
        )

    def __iter__(self):
        """Yields (row, t, s, x_t), reachable ones only."""
        for row, (t, s) in enumerate(self.jumps):
            for j in bf.reachable(self.schedule, t):
                yield row, t, s, j

    def _logs(self, row: int, t: int, s: int, j: int, z: int) -> tuple:
        """q, p_theta, log p_theta and which logs lie above the floor, all [K + 1]."""
        q = bf.posterior(self.schedule, t, s, j)
        p = bf.softmax(self.logits[row, j]) @ q
        with np.errstate(divide="ignore"):
            log_p = np.log(p)
        free = np.ones_like(p, bool)
        if self.floor is not None:
            named = [i for i in {z, j} if i < self.schedule.num_codes]
            free[named] = log_p[named] > -self.floor
        return q, p, np.where(free, log_p, -(self.floor or 0.0)), free

    def expected_kl(self, row: int, t: int, s: int, j: int) -> np.ndarray:
        """[K], one value a z."""
        values = []
        for z in range(self.schedule.num_codes):
            q, _, log_p, _ = self._logs(row, t, s, j, z)
            on = q[z] > 0
            values.append(np.sum(q[z, on] * (np.log(q[z, on]) - log_p[on])))
        return np.array(values)

    def expected_gradient(self, row: int, t: int, s: int, j: int) -> np.ndarray:
        """[K], by the chain rule through all K + 1 outcomes."""
        p_0 = bf.softmax(self.logits[row, j])
        slope = -self.weights[1, row, j] / p_0
        for z, weight in enumerate(self.weights[0, row, j]):
            q, p, _, free = self._logs(row, t, s, j, z)
            on = (q[z] > 0) & free
            slope = slope - weight * (q[:, on] @ (q[z, on] / p[on]))
        return p_0 * (slope - p_0 @ slope)


@each_case
def test_kl_equals_that_of_the_dense_posteriors(
    name: str, k: int, timesteps: int
) -> None:
    grid = Grid((name, k, timesteps))
    assert grid.kl.shape == (len(grid.jumps), k + 1, k)
    for row, t, s, j in grid:
        expected = grid.expected_kl(row, t, s, j)
        np.testing.assert_allclose(grid.kl[row, j], expected, rtol=5e-6, atol=1e-6)
        assert grid.kl[row, j].min() > -1e-6
        log_p = np.log(bf.softmax(grid.logits[row, j]))
        np.testing.assert_allclose(grid.score.log_p[row, j], log_p, atol=1e-5)
        if s == 0 and not (name in bf.ABSORBING and j < k):  # the decoder term
            np.testing.assert_allclose(grid.kl[row, j], -log_p, atol=1e-5)
        if name in bf.ABSORBING and j < k:
            np.testing.assert_array_equal(grid.kl[row, j], 0.0)


@each_case
def test_gradients_equal_those_of_the_dense_posteriors(
    name: str, k: int, timesteps: int
) -> None:
    grid = Grid((name, k, timesteps), auxiliary=0.1)
    for row, t, s, j in grid:
        expected = grid.expected_gradient(row, t, s, j)
        tolerance = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(grid.gradient[row, j], expected, atol=tolerance)


@pytest.mark.parametrize("name", bf.SCHEDULES)
def test_floor_bounds_the_log_probabilities_of_z_and_x_t(name: str) -> None:
    grid = Grid((name, 3, 8), floor=1.0, spread=5.0)
    for row, t, s, j in grid:
        expected = grid.expected_kl(row, t, s, j)
        np.testing.assert_allclose(grid.kl[row, j], expected, rtol=5e-6, atol=5e-6)
        # What lies below the floor gives no gradient.
        expected = grid.expected_gradient(row, t, s, j)
        np.testing.assert_allclose(grid.gradient[row, j], expected, atol=1e-5)


@pytest.mark.parametrize("name", bf.SCHEDULES)
def test_a_code_that_the_model_rules_out_costs_the_floor(name: str) -> None:
    bounded = Grid((name, 3, 8), floor=70.0, ruled_out=200.0)
    free = Grid((name, 3, 8), ruled_out=200.0)
    for row, t, s, j in bounded:
        for grid in (bounded, free):
            expected = grid.expected_kl(row, t, s, j)
            np.testing.assert_allclose(grid.kl[row, j], expected, rtol=5e-6, atol=1e-5)
            expected = grid.expected_gradient(row, t, s, j)
            np.testing.assert_allclose(grid.gradient[row, j], expected, atol=1e-5)
        if s == 0 and not (name in bf.ABSORBING and j < 3):
            assert bounded.kl[row, j, 2] == pytest.approx(70.0, rel=1e-6)
            assert free.kl[row, j, 2] > 190


@pytest.mark.parametrize("name", bf.SCHEDULES)
def test_kl_of_many_codes(name: str) -> None:
    k, t, s = 974, 2, 1
    schedule = bf.schedule_of(name, k, t)
    # A code and the mask, or one of them twice where the other cannot occur.
    x_t = np.resize(np.intersect1d([5, k], bf.reachable(schedule, t)), 2)
    logits = np.random.default_rng(0).normal(0, 3, (1, 2, k)).astype(np.float32)
    z = np.broadcast_to([5, 900], (1, 2, 2))
    tr = transitions(schedule, np.array([t]), np.array([s]))
    kl, _ = values(logits, x_t[None], z, tr)
    for i, j in enumerate(x_t):
        q = bf.posterior(schedule, t, s, j)
        p = bf.softmax(logits[0, i]) @ q
        expected = [bf.kl(q[code], p) for code in (5, 900)]
        np.testing.assert_allclose(kl[0, i], expected, rtol=1e-5)


@pytest.mark.parametrize("name", bf.SCHEDULES)
@pytest.mark.parametrize("k", [2, 974])
def test_losses_and_gradients_stay_finite(name: str, k: int) -> None:
    schedule = bf.schedule_of(name, k, 100)
    patterns = np.zeros((6, k), np.float32)
    patterns[0, 0] = patterns[1, 1] = 80.0
    patterns[2, 0] = patterns[3, 1] = -80.0
    patterns[4, 0] = 300.0  # beyond what float32 probabilities hold
    x_t = np.repeat([0, 1, k if schedule.has_mask else 0], len(patterns))
    jumps = np.array([(1, 0), (2, 1), (100, 99), (100, 0)])
    shape = (len(jumps), len(x_t))
    logits = np.broadcast_to(np.tile(patterns, (3, 1)), (*shape, k))
    z = np.broadcast_to([0, 1], (*shape, 2))
    tr = transitions(schedule, *jumps.T)
    weights = np.ones((2, *shape, 2))
    for floor in (None, 70.0)[: 1 + (k > 2)]:
        kl, score, gradient = terms(
            logits, np.broadcast_to(x_t, shape), z, tr, weights, floor
        )
        assert np.isfinite(kl).all() and np.min(kl) > -1e-4
        assert np.isfinite(score.log_p).all()
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", bf.SCHEDULES)
def test_bound_of_an_exact_denoiser_is_the_entropy(name: str) -> None:
    """One token: the reverse chain of p(x_0 | x_t) is exact, so the bound is tight."""
    k, p_0 = 3, np.array([0.6, 0.3, 0.1])
    schedule = bf.schedule_of(name, k, 8)
    grids = [(8, 7, 6, 5, 4, 3, 2, 1, 0), (8, 5, 2, 0), (8, 0)]
    source = np.concatenate([grid[:-1] for grid in grids])
    target = np.concatenate([grid[1:] for grid in grids])
    forward = np.stack([bf.jump_matrix(schedule, 0, t)[:k] for t in source])
    joint = (p_0[:, None] * forward).transpose(0, 2, 1)  # [J, x_t, x_0]
    logits = np.log(np.maximum(joint, 1e-30)).astype(np.float32)
    x_t = np.broadcast_to(np.arange(k + 1), logits.shape[:2])
    z = np.broadcast_to(np.arange(k), logits.shape)
    kl, _ = values(logits, x_t, z, transitions(schedule, source, target))
    steps = np.where(joint > 1e-15, joint * np.asarray(kl), 0.0).sum((1, 2))
    entropy = -p_0 @ np.log(p_0)
    excess = bf.kl(p_0 @ bf.jump_matrix(schedule, 0, 8)[:k], bf.prior(schedule))
    for part in np.split(steps, np.cumsum([len(grid) - 1 for grid in grids])[:-1]):
        bound = part.sum() + prior_term(schedule)
        assert bound == pytest.approx(entropy + excess, rel=1e-5)


def test_position_weights_tell_masked_from_unmasked() -> None:
    x_t = jnp.array([[0, 3, 2], [3, 1, 3]])
    found = position_weights(x_t, jnp.array([2, 1]), 3, (2.0, 0.5))
    np.testing.assert_array_equal(found, [[0.5, 2.0, 0.5], [1.0, 1.0, 1.0]])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("falling", [2.0, 1.5, 1.25]), ("rising", [1.0, 1.5, 1.75]), ("none", [1.0] * 3)],
)
def test_ramps_count_time_from_zero(kind: str, expected: list[float]) -> None:
    np.testing.assert_allclose(ramp(jnp.array([1, 3, 4]), 4, kind), expected)


def test_unknown_ramp_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown ramp 'linear': choose one of"):
        ramp(jnp.array([1]), 4, "linear")
