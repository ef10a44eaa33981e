"""Samplers that unmask in an order, on a toy joint: laws by enumeration, and rules."""

import functools
import itertools
from collections.abc import Iterator

import brute_force as bf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_sampler import JOINT, SCHEDULES, K, L, T, counts, exact_denoiser

from cdcd_jax.diffusion import grids
from cdcd_jax.diffusion.sampler import (
    SamplingOptions,
    mask_note,
    sample,
    time_grid,
)
from cdcd_jax.diffusion.samplers import SAMPLERS
from cdcd_jax.diffusion.samplers.first_hitting import hitting_times
from cdcd_jax.diffusion.samplers.remasking import remasking_law
from cdcd_jax.diffusion.samplers.spread import spread_order, spread_ranks
from cdcd_jax.diffusion.samplers.unmasking import reveal
from cdcd_jax.diffusion.schedule import make_schedule

MANY = 200_000
MASKING = [name for name, cls in SAMPLERS.items() if cls.by_masks]
P_0 = np.zeros((K + 1, K + 1))
P_0[:K, :K] = JOINT
PRODUCT = np.zeros((K + 1, K + 1))
PRODUCT[:K, :K] = np.outer(JOINT.sum(1), JOINT.sum(0))


@functools.cache
def drawn(name: str, draws: int = MANY, **options) -> np.ndarray:
    """Canvases [S, draws, L] of the exact denoiser."""
    schedule = bf.schedule_of(name, K, T)
    run = functools.partial(
        sample,
        exact_denoiser(schedule),
        schedule,
        shape=(draws, L),
        options=SamplingOptions(**options),
        canvases=True,
    )
    return np.asarray(
        bf.quick_jit(lambda key: run(key=key))(jax.random.key(0)).canvases
    )


def total_variation(found: np.ndarray, law: np.ndarray) -> float:
    return 0.5 * float(np.abs(counts(found) / len(found) - law.ravel()).sum())


@pytest.mark.parametrize("method", ["first_hitting", "random"])
def test_one_token_a_step_draws_the_data_law_itself(method: str) -> None:
    """Where the conditionals are exact, whatever the times."""
    for name in ("absorbing_linear", "absorbing_cosine"):
        options = dict(method=method, steps=L)
        tokens = drawn(name, **options)[-1]
        assert bf.chi_squared(counts(tokens), P_0) > 1e-3


@pytest.mark.parametrize("method", ["first_hitting", "random"])
def test_all_tokens_in_one_step_are_independent(method: str) -> None:
    tokens = drawn("absorbing_linear", method=method, steps=1)[-1]
    assert bf.chi_squared(counts(tokens), PRODUCT) > 1e-3


def test_first_hitting_goes_on_after_the_last_token() -> None:
    """More steps than tokens: some steps have nothing to do."""
    canvases = drawn("absorbing_linear", method="first_hitting", steps=7)
    assert bf.chi_squared(counts(canvases[-1]), P_0) > 1e-3
    hidden = (canvases == K).sum((1, 2)) / MANY
    np.testing.assert_array_equal(hidden, [2, 1, 1, 1, 1, 0, 0])


@pytest.mark.slow
def test_ancestral_approaches_the_data_law_as_T_grows(capsys) -> None:
    """Two tokens drawn in one step do not see each other, ever more rarely."""
    found = {}
    for timesteps in (1, 2, 4, 8, 16, 64):
        schedule = make_schedule("absorbing_linear", K, timesteps)

        def exact(x_t: jax.Array, t: jax.Array) -> jax.Array:
            """p(x_0 | x_t) of the joint; it does not depend on t."""
            seen = jnp.where(x_t[..., None] == K, 1.0, jax.nn.one_hot(x_t, K))
            joint = JOINT * seen[:, 0, :, None] * seen[:, 1, None, :]
            return jnp.log(jnp.stack([joint.sum(2), joint.sum(1)], axis=1))

        run = functools.partial(sample, exact, schedule, shape=(MANY, L))
        options = SamplingOptions("ancestral", timesteps)
        tokens = jax.jit(lambda key, r=run, o=options: r(key=key, options=o).tokens)(
            jax.random.key(timesteps)
        )
        found[timesteps] = total_variation(tokens, P_0)
    with capsys.disabled():
        print({steps: round(value, 4) for steps, value in found.items()})
    # one step draws the product of the marginals; then it falls as 1 / T
    apart = 0.5 * np.abs(PRODUCT - P_0).sum()
    for timesteps, value in found.items():
        assert abs(value - apart / timesteps) < 0.004


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("name", ["vq_diffusion_paper", "absorbing_linear"])
def test_strided_draws_the_computed_law_of_many(name: str, steps: int) -> None:
    from test_sampler import law_of_canvases, start_from_prior

    steps = min(steps, T)
    schedule = bf.schedule_of(name, K, T)
    times = time_grid(SamplingOptions(steps=steps), schedule)
    law = law_of_canvases(schedule, times, start_from_prior(schedule))[-1]
    tokens = drawn(name, steps=steps)[-1]
    assert bf.chi_squared(counts(tokens), law) > 1e-3


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_remasking_keeps_the_law_of_a_position(strength: float) -> None:
    """Each x_s is masked as often as the forward chain masks it, and codes are p_0's.

    (ReMDM, theorem 3.1: marginals are those of the forward chain for any strength.)
    """
    schedule = bf.schedule_of("absorbing_linear", K, T)
    canvases = drawn("absorbing_linear", method="remasking", steps=T, remask=strength)
    for canvas, t in zip(canvases, range(T - 1, -1, -1), strict=True):
        hidden = schedule.gamma_bar[t]
        law = np.append(JOINT.sum(1) * (1 - hidden), hidden)
        assert bf.chi_squared(np.bincount(canvas[:, 0], minlength=K + 1), law) > 1e-3
    again = (canvases[:-1] < K) & (canvases[1:] == K)
    assert again.any() == (strength > 0)


def test_remasking_of_strength_0_is_the_posterior() -> None:
    schedule = bf.schedule_of("absorbing_linear", K, T)
    rng = np.random.default_rng(0)
    log_p = jax.nn.log_softmax(jnp.asarray(rng.normal(0, 2, (4, L, K)), jnp.float32))
    x_t = jnp.asarray(rng.integers(0, K + 1, (4, L)))
    for t, s in ((T, 2), (3, 1), (1, 0)):
        share = schedule.gamma_bar / schedule.gamma_bar[-1]
        found = np.exp(remasking_law(log_p, x_t, share[t], share[s], 0.0))
        np.testing.assert_allclose(found.sum(-1), 1.0, atol=1e-6)
        for index in itertools.product(range(4), range(L)):
            post = bf.posterior(schedule, t, s, int(x_t[index]))
            expected = np.exp(log_p[index]) @ post
            np.testing.assert_allclose(found[index], expected, atol=1e-6)


def first_steps(rule: str, weights: np.ndarray) -> Iterator[tuple[int, float]]:
    """Which of two masked positions comes first, by enumeration."""
    total = weights.sum()
    for position, weight in enumerate(weights):
        yield position, weight / total if rule == "purity" else 1 / len(weights)


@pytest.mark.parametrize("method", ["purity", "random"])
def test_the_first_position_is_chosen_by_its_weight(method: str) -> None:
    canvas = drawn("absorbing_linear", method=method, steps=2)[0]
    purity = np.array([JOINT.sum(1).max(), JOINT.sum(0).max()])
    shown = (canvas < K).mean(0)
    for position, chance in first_steps(method, purity):
        assert abs(shown[position] - chance) < 4 * np.sqrt(0.25 / MANY)


def test_purity_sharpens_what_is_sure() -> None:
    """p^(1 + r score), with score 1 at the surest position."""
    tokens = drawn("absorbing_linear", method="purity", steps=1, purity_weight=2.0)[-1]
    for position, marginal in enumerate((JOINT.sum(1), JOINT.sum(0))):
        best = max(JOINT.sum(1).max(), JOINT.sum(0).max())
        law = marginal ** (1 + 2.0 * marginal.max() / best)
        seen = np.bincount(tokens[:, position], minlength=K)
        assert bf.chi_squared(seen, law / law.sum()) > 1e-3


def test_confidence_shows_the_likelier_token_first_when_cold() -> None:
    options = dict(method="confidence", steps=2, order_temperature=0.0)
    canvases = drawn("absorbing_linear", draws=5_000, **options)
    shown = canvases[0] < K
    assert (shown.sum(1) == 1).all()
    token = np.where(shown, canvases[0], -1).max(1)
    chance = np.stack([JOINT.sum(1), JOINT.sum(0)])[shown.argmax(1), token]
    # of two drawn tokens the likelier came first, so low ones are shown rarely
    marginals = (JOINT.sum(1), JOINT.sum(0))
    expected = sum(max(a, b) * a * b for a, b in itertools.product(*marginals))
    assert abs(chance.mean() - expected) < 0.01


def test_reveal_takes_the_first_masked_ones() -> None:
    x_t = jnp.array([[K, 1, K, K], [K, K, 0, K]])
    order = jnp.array([[0.1, 9.0, 0.3, 0.2], [0.5, 0.4, 9.0, 0.6]])
    tokens = jnp.full((2, 4), 2)
    found = reveal(x_t, tokens, order, jnp.array([2, 0]), K)
    np.testing.assert_array_equal(found, [[K, 1, 2, 2], [K, K, 0, K]])


@pytest.mark.parametrize("method", MASKING)
def test_known_tokens_stand_and_are_not_counted(method: str) -> None:
    """Half of the other tokens are shown at half of the time, in every row."""
    length = 12
    schedule = make_schedule("absorbing_linear", K, 8)
    known = jnp.full((3, length), 2)
    where = jnp.arange(length) < jnp.array([[0], [4], [12]])
    flat = lambda x_t, t: jnp.zeros((*x_t.shape, K))
    found = jax.jit(
        lambda key: sample(
            flat,
            schedule,
            key,
            (3, length),
            SamplingOptions(method, 2),
            known=(known, where),
            canvases=True,
        )
    )(jax.random.key(0)).canvases
    np.testing.assert_array_equal(found[-1][where], 2)
    np.testing.assert_array_equal(found[0][where], 2)
    assert int(found[-1].max()) < K
    if method != "remasking":
        np.testing.assert_array_equal((found[0] == K).sum(1), [6, 4, 0])


def test_hitting_times_are_those_of_the_next_position() -> None:
    share = jnp.array([0.0, 0.25, 0.5, 0.75, 1.0])
    hit = jnp.array([[0.9, 0.3, 0.6], [0.2, 0.1, 0.0]])
    masked = jnp.array([[False, True, True], [True, True, True]])
    times = hitting_times(hit, masked, share, share[-1])
    np.testing.assert_array_equal(times, [3, 1])


@pytest.mark.parametrize("method", MASKING)
def test_orders_refuse_a_schedule_without_masks(method: str) -> None:
    options = SamplingOptions(method, 2)
    with pytest.raises(ValueError, match="has none: choose one of ancestral, strided"):
        time_grid(options, bf.schedule_of("uniform", K, T))
    assert "also replaces codes (mass 0.1 at T)" in mask_note(
        options, bf.schedule_of("vq_diffusion_paper", K, T)
    )
    assert not mask_note(options, bf.schedule_of("absorbing_linear", K, T))
    assert not mask_note(SamplingOptions(), bf.schedule_of(SCHEDULES[0], K, T))


def grid_bound(loss: np.ndarray, share: np.ndarray, times: np.ndarray) -> float:
    """Sum over the jumps of (m(t) - m(s)) h(t), nats a token."""
    return float(
        sum((share[t] - share[s]) * loss[t - 1] for t, s in itertools.pairwise(times))
    )


def test_optimised_grid_is_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    share = grids.masked_share(make_schedule("absorbing_cosine", K, 9))
    loss = np.sort(rng.random(9)) ** 2
    for start, steps in ((9, 1), (9, 3), (9, 9), (6, 4)):
        inner = itertools.combinations(range(start - 1, 0, -1), steps - 1)
        every = [np.array([start, *times, 0]) for times in inner]
        best = min(grid_bound(loss, share, times) for times in every)
        found = grids.optimised_grid(loss, share, start, steps)
        assert len(found) == steps + 1 and (np.diff(found) < 0).all()
        np.testing.assert_allclose(grid_bound(loss, share, found), best)


def test_skip_visits_what_the_reference_visits() -> None:
    """t' = 99, 97, .., 1, 0 for skip 1 of T = 100: 51 calls; 26 for 3, 11 for 9."""
    for skip, number in ((0, 100), (1, 51), (3, 26), (9, 11)):
        visited = grids.skip_visits(100, skip)
        assert len(visited) == number and visited[0] == 100 and visited[-1] == 1
    visited, source, target = grids.skip_jumps(10, 4)
    np.testing.assert_array_equal(visited, [10, 7, 4, 1])
    np.testing.assert_array_equal(source, [8, 5, 2, 1])
    np.testing.assert_array_equal(target, [7, 4, 1, 0])


def test_spread_ranks_keep_neighbours_apart() -> None:
    """Each token once; of any 4 that follow each other early, none are neighbours."""
    for layout in ((8, 8), (5, 7), (1, 13), (3, 1)):
        ranks = spread_ranks(layout)
        np.testing.assert_array_equal(np.sort(ranks), np.arange(np.prod(layout)))
    places = np.argsort(spread_ranks((8, 8)))[:16]
    rows, columns = places // 8, places % 8
    for i in range(12):
        for a, b in itertools.combinations(range(i, i + 4), 2):
            apart = abs(rows[a] - rows[b]) + abs(columns[a] - columns[b])
            assert apart > 1
    np.testing.assert_array_equal(spread_ranks((1, 8)), [0, 4, 2, 6, 1, 5, 3, 7])


def test_spread_order_begins_anywhere() -> None:
    order = np.asarray(spread_order(jax.random.key(0), 4_000, (2, 3)))
    base = -spread_ranks((2, 3)).reshape(2, 3)
    shifts = [np.roll(base, s, (0, 1)).ravel() for s in np.ndindex(2, 3)]
    seen = [int((order == shift).all(1).sum()) for shift in shifts]
    assert sum(seen) == 4_000
    assert bf.chi_squared(np.array(seen), np.full(6, 1 / 6)) > 1e-3


def test_spread_draws_the_data_law_one_token_a_step() -> None:
    tokens = drawn("absorbing_linear", method="spread", steps=L)[-1]
    assert bf.chi_squared(counts(tokens), P_0) > 1e-3
