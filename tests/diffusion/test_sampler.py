"""Tests of the sampler: the law of its samples on a toy joint, grids and truncation."""

import functools
import itertools

import brute_force as bf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.diffusion import grids
from cdcd_jax.diffusion.sampler import (
    SamplingOptions,
    TokensToLogits,
    guide,
    sample,
    time_grid,
    truncate,
)
from cdcd_jax.diffusion.samplers.base import Sampler
from cdcd_jax.diffusion.schedule import Schedule, make_schedule

K, L, T, DRAWS = 3, 2, 4, 20_000
# p(x_0) of two tokens that depend on each other.
JOINT = np.array([[0.30, 0.02, 0.09], [0.01, 0.16, 0.04], [0.05, 0.10, 0.23]])
SCHEDULES = ("vq_diffusion_paper", "absorbing_linear", "uniform")
CANVASES = bf.canvases(K, L)


def strided(schedule: Schedule, steps: int, start: int | None = None) -> np.ndarray:
    return time_grid(SamplingOptions(steps=steps), schedule, start)


def conditionals(schedule: Schedule, x_t: tuple[int, ...], t: int) -> np.ndarray:
    """p(x_0^i | x_t) of the joint by Bayes, [L, K]."""
    forward = bf.jump_matrix(schedule, 0, t)[:K]
    joint = JOINT * forward[:, x_t[0], None] * forward[:, x_t[1]]
    if joint.sum() < 1e-15:  # cannot occur
        return np.full((L, K), 1 / K)
    return np.stack([joint.sum(1), joint.sum(0)]) / joint.sum()


def exact_denoiser(schedule: Schedule) -> TokensToLogits:
    """The same as a function of device arrays; -inf where a code is impossible."""
    table = np.stack([bf.jump_matrix(schedule, 0, t)[:K] for t in range(T + 1)])
    # Only a known token is unmasked where the chain masks all: it is the truth.
    table = jnp.asarray(
        np.where(table.sum(1, keepdims=True) > 0, table, np.eye(K, K + 1)), jnp.float32
    )

    def tokens_to_logits(x_t: jax.Array, t: jax.Array) -> jax.Array:
        q = table[t[:, None], :, x_t]  # [B, L, K]
        joint = jnp.asarray(JOINT, jnp.float32) * q[:, 0, :, None] * q[:, 1, None, :]
        return jnp.log(jnp.stack([joint.sum(2), joint.sum(1)], axis=1))

    return tokens_to_logits


def law_of_canvases(
    schedule: Schedule, times: np.ndarray, law: np.ndarray, edit=lambda p: p
) -> list[np.ndarray]:
    """Law over the (K + 1)^L canvases at each of `times`, by forward recursion.

    Every step draws its positions independently of each other, as the sampler does.
    """
    laws = [law]
    for t, s in itertools.pairwise(times):
        after = np.zeros(len(CANVASES))
        for weight, x_t in zip(laws[-1], CANVASES, strict=True):
            if weight > 0:
                p = [edit(row) for row in conditionals(schedule, x_t, t)]
                first, second = (
                    p[i] @ bf.posterior(schedule, t, s, x_t[i]) for i in range(L)
                )
                after += weight * np.outer(first, second).ravel()
        laws.append(after)
    return laws


def start_from_prior(schedule: Schedule) -> np.ndarray:
    return np.outer(bf.prior(schedule), bf.prior(schedule)).ravel()


def counts(tokens: jax.Array) -> np.ndarray:
    """How often each canvas occurs in [B, L]."""
    tokens = np.asarray(tokens)
    return np.bincount(tokens[:, 0] * (K + 1) + tokens[:, 1], minlength=len(CANVASES))


@functools.cache
def sampler(name: str, **options):
    """From a key to DRAWS samples of the exact denoiser, jitted as the modes do."""
    schedule = bf.schedule_of(name, K, T)
    canvases = options.pop("canvases", False)
    run = functools.partial(
        sample,
        exact_denoiser(schedule),
        schedule,
        shape=(DRAWS, L),
        options=SamplingOptions(**options),
        canvases=canvases,
    )
    return bf.quick_jit(lambda key, **given: run(key=key, **given))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 3, T])
def test_samples_follow_the_law_of_the_reverse_steps(name: str, steps: int) -> None:
    schedule = bf.schedule_of(name, K, T)
    times = strided(schedule, steps)
    laws = law_of_canvases(schedule, times, start_from_prior(schedule))
    found = sampler(name, steps=steps, canvases=True)(jax.random.key(0))
    assert found.tokens.shape == (DRAWS, L) and found.tokens.dtype == jnp.int32
    assert found.canvases.shape == (steps, DRAWS, L)
    np.testing.assert_array_equal(found.canvases[-1], found.tokens)
    assert int(found.tokens.max()) < K and int(found.tokens.min()) >= 0
    for canvas, law in zip(found.canvases, laws[1:], strict=True):
        assert bf.chi_squared(counts(canvas), law) > 1e-3
    if steps == 1:  # pure noise tells nothing: the product of the marginals
        product = np.zeros((K + 1, K + 1))
        product[:K, :K] = np.outer(JOINT.sum(1), JOINT.sum(0))
        np.testing.assert_allclose(laws[-1], product.ravel(), atol=1e-12)
    if name == "absorbing_linear":  # once unmasked, a token stands
        canvas = np.asarray(found.canvases)
        stood = canvas[:-1] < K
        np.testing.assert_array_equal(canvas[1:][stood], canvas[:-1][stood])


def test_ancestral_is_the_grid_of_all_times_and_the_key_decides() -> None:
    keys = jax.random.key(0), jax.random.key(1)
    ancestral = sampler("absorbing_linear", steps=T, method="ancestral")
    strided = sampler("absorbing_linear", steps=T, canvases=True)
    one, other = (ancestral(key) for key in keys)
    assert one.canvases is None
    np.testing.assert_array_equal(one.tokens, strided(keys[0]).tokens)
    assert np.any(np.asarray(one.tokens) != other.tokens)


@pytest.mark.parametrize(
    ("options", "edit"),
    [
        ({"temperature": 0.5}, lambda p: p**2),
        ({"top_k": 2}, lambda p: np.where(p >= np.sort(p)[-2], p, 0)),
        ({"top_p": 0.6}, lambda p: np.where(naive_top_p(p, 0.6), p, 0)),
    ],
)
def test_temperature_and_truncation_act_on_the_conditionals(options, edit) -> None:
    schedule = bf.schedule_of("vq_diffusion_paper", K, T)
    times = strided(schedule, 3)
    laws = law_of_canvases(
        schedule, times, start_from_prior(schedule), lambda p: edit(p) / edit(p).sum()
    )
    found = sampler("vq_diffusion_paper", steps=3, **options)(jax.random.key(0))
    assert bf.chi_squared(counts(found.tokens), laws[-1]) > 1e-3


def test_known_tokens_stand_and_the_others_follow_them() -> None:
    """An unmasked token of an absorbing schedule is the truth: the law is exact."""
    known = jnp.zeros((DRAWS, L), jnp.int32).at[:, 1].set(2)
    where = jnp.zeros((DRAWS, L), bool).at[:, 1].set(True)
    run = sampler("absorbing_linear", steps=3, canvases=True)
    found = run(jax.random.key(0), known=(known, where))
    np.testing.assert_array_equal(found.canvases[..., 1], 2)
    law = JOINT[:, 2] / JOINT[:, 2].sum()
    seen = np.bincount(found.tokens[:, 0], minlength=K)
    assert bf.chi_squared(seen, law) > 1e-3


@pytest.mark.parametrize("name", SCHEDULES)
def test_known_tokens_are_returned_unchanged(name: str) -> None:
    """Also where the chain would replace them, and from the first step on."""
    schedule = bf.schedule_of(name, K, T)
    rng = np.random.default_rng(0)
    known = jnp.asarray(rng.integers(0, K, (DRAWS, L)))
    where = jnp.asarray(rng.random((DRAWS, L)) < 0.5)

    def flat_but_wary(x_t: jax.Array, t: jax.Array) -> jax.Array:
        # Would return code 0 everywhere, had it seen a known token that is not there.
        fooled = jnp.any(where & (x_t != known))
        return jnp.zeros((DRAWS, L, K)).at[..., 0].set(jnp.where(fooled, 99.0, 0.0))

    options = SamplingOptions(steps=3)
    run = functools.partial(
        sample, flat_but_wary, schedule, shape=(DRAWS, L), options=options
    )
    found = bf.quick_jit(lambda key: run(key=key, known=(known, where), canvases=True))(
        jax.random.key(0)
    )
    for canvas in found.canvases:
        np.testing.assert_array_equal(canvas[where], known[where])
    free = np.bincount(found.tokens[~where], minlength=K)
    assert bf.chi_squared(free, np.full(K, 1 / K)) > 1e-3


@pytest.mark.parametrize("name", SCHEDULES)
def test_start_noises_given_tokens_to_a_time(name: str) -> None:
    schedule = bf.schedule_of(name, K, T)
    tokens, t = (1, 2), 3
    noised = [bf.jump_matrix(schedule, 0, t)[code] for code in tokens]
    law = np.outer(*noised).ravel()
    laws = law_of_canvases(schedule, strided(schedule, 2, t), law)
    given = jnp.broadcast_to(jnp.array(tokens), (DRAWS, L))
    run = functools.partial(sample, exact_denoiser(schedule), schedule)
    options = SamplingOptions(steps=2)
    found = bf.quick_jit(
        lambda key: run(key, (DRAWS, L), options, start=(given, t), canvases=True)
    )(jax.random.key(0))
    for canvas, expected in zip(found.canvases, laws[1:], strict=True):
        assert bf.chi_squared(counts(canvas), expected) > 1e-3


def test_time_grids_fall_strictly_from_the_start_to_0() -> None:
    for timesteps in range(1, 41):
        schedule = make_schedule("absorbing_linear", 3, timesteps)
        for start in (None, 1, timesteps // 2 + 1):
            first = timesteps if start is None else start
            for steps in range(1, first + 1):
                for kind in ("uniform", "cosine", "geometric"):
                    options = SamplingOptions(steps=steps, grid=kind)
                    grid = time_grid(options, schedule, start)
                    assert len(grid) == steps + 1 and (grid[0], grid[-1]) == (first, 0)
                    jumps = -np.diff(grid)
                    assert jumps.min() >= 1
                    if kind == "uniform":
                        assert jumps.max() - jumps.min() <= 1
            every = time_grid(SamplingOptions("ancestral", first), schedule, start)
            np.testing.assert_array_equal(every, np.arange(first, -1, -1))
    five = make_schedule("absorbing_linear", 3, 5)
    np.testing.assert_array_equal(strided(five, 2), [5, 3, 0])


def test_cosine_grid_follows_the_masked_share() -> None:
    schedule = make_schedule("absorbing_cosine", 3, 100)
    times = time_grid(SamplingOptions(steps=8, grid="cosine"), schedule)
    # this schedule is the curve itself
    np.testing.assert_allclose(times, 100 * (1 - np.arange(9) / 8), atol=0.51)


def test_geometric_grid_grows_by_a_ratio() -> None:
    schedule = make_schedule("absorbing_linear", 3, 10_000)
    for steps, ratio in ((5, 4 / 3), (40, 12 ** (1 / 39))):
        options = SamplingOptions(steps=steps, grid="geometric")
        drawn = -np.diff(time_grid(options, schedule))
        np.testing.assert_allclose(drawn[1:] / drawn[:-1], ratio, rtol=0.03)
    once = time_grid(SamplingOptions(steps=1, grid="geometric"), schedule)
    np.testing.assert_array_equal(once, [10_000, 0])


def test_grids_fall_strictly_whatever_the_share() -> None:
    """Where most are masked early, a step waits for those that come after it."""
    # 0.87 and 0.5 of the start's masks are nearest to times 1 and 0
    found = grids.cosine_grid(np.array([0.0, 0.9, 0.95, 1.0]), 3, 3)
    np.testing.assert_array_equal(found, [3, 2, 1, 0])
    found = grids.geometric_grid(np.array([0.0, 0.9, 0.95, 0.98, 1.0]), 4, 3)
    np.testing.assert_array_equal(found, [4, 2, 1, 0])
    rng = np.random.default_rng(0)
    for timesteps in range(1, 9):
        share = np.append(0.0, np.cumsum(rng.random(timesteps) ** 4))
        for steps in range(1, timesteps + 1):
            for grid in grids.GRIDS.values():
                times = grid(share / share[-1], timesteps, steps)
                assert len(times) == steps + 1 and (times[0], times[-1]) == (
                    timesteps,
                    0,
                )
                assert (np.diff(times) < 0).all()


def test_shares_are_those_of_the_time_T() -> None:
    """Whatever is masked at T, here 0.9, or else replaced."""
    share = grids.masked_share(make_schedule("vq_diffusion_paper", 3, 10))
    np.testing.assert_allclose(share, np.arange(11) / 10, atol=1e-12)
    schedule = make_schedule("uniform", 3, 10)
    np.testing.assert_allclose(grids.progress(schedule), 1 - schedule.alpha_bar)
    share, times = np.array([0.0, 0.2, 0.6, 0.8, 1.0]), np.array([3, 2, 1, 0])
    left = Sampler().left(share, times)  # of a walk that begins at 3
    np.testing.assert_allclose(left, [0.75, 0.25, 0.0])


@pytest.mark.parametrize(
    ("options", "start", "message"),
    [
        (dict(method="jump"), None, "unknown sampling.method 'jump': choose one of"),
        (dict(grid="log"), None, "unknown sampling.grid 'log': choose one of"),
        (dict(guidance_schedule="up"), None, "unknown sampling.guidance_schedule"),
        (dict(steps=9), None, "choose 1..8"),
        (dict(steps=0), None, "choose 1..8"),
        (dict(steps=5), 4, "over 4 times: choose 1..4"),
        (dict(method="ancestral", steps=4), None, "choose exactly 8"),
        (dict(method="ancestral", steps=8), 4, "choose exactly 4"),
        (dict(method="ancestral", steps=8, grid="cosine"), None, "times of its own"),
        (dict(method="skip", steps=7), None, "choose one of 2, 3, 4, 5, 8"),
        (dict(method="first_hitting", steps=0), None, "choose at least 1"),
        (dict(steps=4), 9, "cannot start at time 9: choose 1..8"),
        (dict(steps=4), 0, "cannot start at time 0"),
        (dict(steps=2, grid="optimised"), None, "which --mode=evaluate finds"),
        (dict(steps=2, grid="optimised", times=(8, 0)), None, "it needs 3 from 8"),
    ],
)
def test_grids_that_do_not_fit_are_refused(options, start, message: str) -> None:
    schedule = make_schedule("absorbing_linear", 3, 8)
    with pytest.raises(ValueError, match=message):
        time_grid(SamplingOptions(**options), schedule, start)


def naive_top_p(p: np.ndarray, top_p: float) -> np.ndarray:
    """Codes in falling order until their sum reaches top_p; the first one always."""
    keep, before = np.zeros(len(p), bool), 0.0
    for code in np.argsort(-p):
        if before < top_p or not keep.any():
            keep[code] = True
        before += p[code]
    return keep


def naive_truncate(logits: np.ndarray, top_p: float, top_k: int) -> np.ndarray:
    """One distribution [K], top-k first."""
    keep = np.ones(len(logits), bool)
    if top_k:
        keep[np.argsort(-logits)[top_k:]] = False
    keep &= naive_top_p(bf.softmax(np.where(keep, logits, -np.inf)), top_p)
    return np.where(keep, logits, -np.inf)


@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.5, 0.01, 0.0])
@pytest.mark.parametrize("top_k", [0, 1, 3, 7, 50])
def test_truncation_keeps_what_a_loop_keeps(top_p: float, top_k: int) -> None:
    logits = np.random.default_rng(0).normal(0, 2, (20, 3, 7)).astype(np.float32)
    found = np.asarray(truncate(jnp.asarray(logits), top_p, top_k))
    expected = [naive_truncate(row, top_p, top_k) for row in logits.reshape(-1, 7)]
    np.testing.assert_array_equal(found.reshape(-1, 7), expected)
    best = np.take_along_axis(found, logits.argmax(-1)[..., None], -1)
    assert np.isfinite(best).all()  # the best code always stays


def test_guidance_goes_from_the_null_through_the_conditional() -> None:
    rng = np.random.default_rng(0)
    logits, null = rng.normal(0, 2, (2, 4, 5, 7)).astype(np.float32)
    log_p, log_null = np.log(bf.softmax(logits)), np.log(bf.softmax(null))
    for scale in (0.0, 1.0, 3.5):
        expected = log_null + scale * (log_p - log_null)
        found = guide(jnp.asarray(logits), jnp.asarray(null), scale)
        np.testing.assert_allclose(found, expected, atol=2e-5)
    # One scale an example, and logits up to a constant.
    scales = jnp.array([0.0, 1.0, 2.0, 3.0])[:, None, None]
    found = guide(jnp.asarray(logits + 5), jnp.asarray(null - 3), scales)
    expected = log_null + np.asarray(scales) * (log_p - log_null)
    np.testing.assert_allclose(found, expected, atol=2e-5)
