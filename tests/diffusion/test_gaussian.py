"""Gaussian diffusion: levels, aggregation, and what predictions mean."""

import itertools
import pathlib

import gaussian_chain as gc
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.diffusion import gaussian_schedule
from cdcd_jax.diffusion.aggregation import (
    WEIGHT_RAMPS,
    Aggregation,
    aggregate,
    check_prior,
    make_aggregation,
    marginal_weights,
    per_step_weights,
    prior_kl,
)
from cdcd_jax.diffusion.gaussian import Gaussian
from cdcd_jax.diffusion.gaussian_schedule import GAUSSIAN_CURVES, make_levels
from cdcd_jax.diffusion.gaussian_walk import Place, steps_of
from cdcd_jax.diffusion.predictions import PREDICTIONS, Predicted, join, read, split
from cdcd_jax.diffusion.samplers.options import GaussianOptions

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
T = 6
CODES = {"image": 0.8, "label": -0.5, "sound": 1.3}


def weights_of(number: int, levels: gaussian_schedule.Levels) -> Aggregation:
    """Of so many modalities: one that falls, one that rises, one like a sigmoid."""
    ramps = {"image": (1.0, 0.2), "label": (0.1, 0.7), "sound": 0.4}
    chosen = {name: ramps[name] for name in list(ramps)[:number]}
    return make_aggregation(chosen, levels.timesteps, "sigmoid")


@pytest.mark.parametrize("name", GAUSSIAN_CURVES)
def test_levels_are_those_of_diffusers(name: str) -> None:
    golden = np.load(GOLDEN / "gaussian_schedulers.npz")[f"{name}/alpha_bar"]
    levels = make_levels(name, 1000)
    np.testing.assert_allclose(levels.alpha_bar[1:], golden, atol=1e-6, rtol=0)
    assert levels.alpha_bar[0] == 1 and levels.noise[0] == 0
    np.testing.assert_allclose(levels.noise, 1 - levels.alpha_bar, atol=1e-15)
    # where it would cancel: the first beta of each
    first = {"linear": 1e-4, "sqrt_linear": 0.00085}
    if name in first:
        np.testing.assert_allclose(levels.noise[1], first[name], rtol=1e-12)


@pytest.mark.parametrize("name", ["linear", "sqrt_linear"])
@pytest.mark.parametrize("timesteps", [1, 3, 8, 100, 1500])
def test_every_t_ends_at_the_same_noise(name: str, timesteps: int) -> None:
    """And where it divides 1000 its levels are among those of the 1000."""
    all_of_them, levels = make_levels(name, 1000), make_levels(name, timesteps)
    last = levels.alpha_bar[-1]
    np.testing.assert_allclose(last, all_of_them.alpha_bar[-1], rtol=1e-12)
    if 1000 % timesteps == 0:
        among = all_of_them.alpha_bar[:: 1000 // timesteps]
        np.testing.assert_allclose(levels.alpha_bar, among, rtol=1e-12)


def test_no_beta_of_the_cosine_is_above_its_cap() -> None:
    levels = make_levels("cosine", 50)
    t = np.arange(1, 51)
    beta = levels.beta(t, t - 1)
    assert beta[-1] == pytest.approx(0.999) and np.all(np.diff(beta[:-1]) > 0)


def test_a_schedule_from_outside(monkeypatch) -> None:
    curve = lambda timesteps: -np.arange(1.0, timesteps + 1)
    monkeypatch.setitem(GAUSSIAN_CURVES, "even", curve)
    np.testing.assert_allclose(make_levels("even", 3).log_alpha_bar, [0, -1, -2, -3])
    monkeypatch.setitem(GAUSSIAN_CURVES, "flat", lambda timesteps: np.zeros(timesteps))
    with pytest.raises(ValueError, match="does not fall at every time"):
        make_levels("flat", 3)
    with pytest.raises(ValueError, match="choose one of linear, cosine, sqrt_linear"):
        make_levels("quadratic", 3)
    with pytest.raises(ValueError, match="timesteps = 0"):
        make_levels("linear", 0)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("schedule", GAUSSIAN_CURVES)
def test_steps_compose_to_the_marginal_and_bayes_gives_the_posterior(
    schedule: str, number: int
) -> None:
    """Of one to three modalities whose weights change with time, in float64."""
    levels = make_levels(schedule, T)
    weights = weights_of(number, levels)
    codes = {name: CODES[name] for name in weights.weights}
    w = weights.per_step(levels)
    chain = gc.Joint()
    z = [chain.add({}, 0.0, 0.0)]
    for t in range(1, T + 1):
        alpha = levels.alpha_bar[t] / levels.alpha_bar[t - 1]
        added = np.sqrt(alpha) * sum(w[name][t - 1] * codes[name] for name in w)
        z.append(chain.add({z[-1]: np.sqrt(alpha)}, added, 1 - alpha))
    with jax.enable_x64(True):
        process = Gaussian(levels, aggregation=weights, primary="image")
        given = {name: jnp.full((1, 1), code) for name, code in codes.items()}
        for t in range(1, T + 1):
            level, clean = levels.at(t), process.clean(given, jnp.array([t]))
            mean, variance = chain.mean[z[t]], chain.covariance[z[t], z[t]]
            np.testing.assert_allclose(level.signal * clean, [[mean]], atol=1e-10)
            np.testing.assert_allclose(level.noise**2, variance, atol=1e-10)
        # the step of a walk that knows the codes, one time on or more
        walk = process.walk(GaussianOptions(steps=3))
        for times in ([6, 5, 3, 1], [5, 4, 2, 1], [4, 3, 2, 1]):
            steps = steps_of(GaussianOptions(), levels, weights, np.array(times))
            for i, (t, s) in enumerate(itertools.pairwise(times)):
                z_t = 0.37 * t - 1.0
                mean, variance = chain.conditional(z[s], [z[t]], [z_t])
                step = jax.tree.map(lambda a, i=i: a[i], steps)
                place = Place(jnp.full((1, 1), z_t), None)
                level, clean = levels.at(t), process.clean(given, jnp.array([t]))
                noise = (z_t - level.signal * clean) / level.noise
                for said in (given, Predicted(noise, given)):
                    found = walk.jump(place, said, step, jnp.zeros((1, 1)))
                    np.testing.assert_allclose(found, [[mean]], atol=1e-10)
                np.testing.assert_allclose(step.sigma**2, variance, atol=1e-10)
                if s == t - 1:  # the mean of DDPM, less what was added
                    beta = levels.beta(t, s)
                    ddpm = z_t - beta / np.sqrt(levels.noise[t]) * noise
                    added = sum(w[name][t - 1] * codes[name] for name in w)
                    known = ddpm / np.sqrt(1 - beta) - added
                    np.testing.assert_allclose(known, [[mean]], atol=1e-10)


def test_weights_of_steps_and_of_the_marginal_are_inverse() -> None:
    rng, levels = np.random.default_rng(0), make_levels("cosine", T)
    marginal = np.append(0.0, rng.normal(size=T))
    w = per_step_weights(marginal, levels)
    np.testing.assert_allclose(marginal_weights(w, levels), marginal, atol=1e-10)
    expected = [
        sum(w[s - 1] / np.sqrt(levels.alpha_bar[s - 1]) for s in range(1, t + 1))
        for t in range(T + 1)
    ]
    np.testing.assert_allclose(marginal_weights(w, levels), expected, atol=1e-10)
    constant = make_aggregation({"a": 0.7}, T)
    assert constant.constant
    np.testing.assert_allclose(constant.per_step(levels)["a"], [0.7, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("ramp", WEIGHT_RAMPS)
def test_a_ramp_goes_from_data_to_the_prior(ramp: str) -> None:
    found = make_aggregation({"a": (1.0, 0.2), "b": 0.5}, 11, ramp)
    a = found.weights["a"]
    assert a[0] == 0 and not found.constant
    np.testing.assert_allclose(a[[1, 6, 11]], [1.0, 0.6, 0.2])
    assert np.all(np.diff(a[1:]) < 0)
    np.testing.assert_allclose(found.weights["b"][1:], 0.5)
    # one time alone has the weight of data
    assert make_aggregation({"a": (1.0, 0.2)}, 1, ramp).weights["a"].tolist() == [0, 1]


def nats(levels: gaussian_schedule.Levels, weight: float, energy: float) -> float:
    """A dimension, of codes of this mean square."""
    code = weight * np.sqrt(energy) * np.ones((3, 4, 2), np.float32)
    return float(np.mean(prior_kl(jnp.asarray(code), levels))) / 8


@pytest.mark.parametrize("timesteps", [100, 1000])
def test_the_prior_of_the_linear_schedule_is_met(timesteps: int) -> None:
    """2e-5 nats at unit energy, 8e-5 at four times as much."""
    levels = make_levels("linear", timesteps)
    assert nats(levels, 1.0, 1.0) == pytest.approx(2.018e-5, rel=1e-3)
    assert nats(levels, 1.0, 4.0) == pytest.approx(8.07e-5, rel=1e-3)
    check_prior(nats(levels, 1.0, 4.0), levels)
    alpha_bar = levels.alpha_bar[-1]
    exact = gc.normal_kl(np.sqrt(alpha_bar), 1 - alpha_bar, 0.0, 1.0)
    assert nats(levels, 1.0, 1.0) == pytest.approx(exact, rel=1e-5)


def test_a_prior_that_is_not_met_is_refused() -> None:
    levels = make_levels("sqrt_linear", 1000)
    assert nats(levels, 1.0, 1.0) == pytest.approx(0.00233, abs=5e-5)
    check_prior(nats(levels, 1.0, 4.28), levels)
    with pytest.raises(ValueError, match=r"is 0\.0101 nats a dimension.* about 4\.32"):
        check_prior(nats(levels, 1.0, 4.32), levels)
    # a constant weight of each step grows without bound
    levels = make_levels("linear", 1000)
    grown = marginal_weights(np.ones(1000), levels)[-1]
    assert np.sqrt(levels.alpha_bar[-1]) * grown == pytest.approx(114, abs=1)
    steps = Aggregation({"a": marginal_weights(np.ones(1000), levels)})
    process = Gaussian(levels, aggregation=steps, primary="a")
    with pytest.raises(ValueError, match=r"nats a dimension from the prior, at most"):
        check_prior(float(process.prior_distance({"a": jnp.ones((2, 3))})), levels)
    with pytest.raises(ValueError, match="is nan nats"):
        check_prior(float("nan"), levels)
    fine = Gaussian(levels, aggregation=make_aggregation({"a": 1}, 1000), primary="a")
    found = float(fine.prior_distance({"a": jnp.ones((2, 3))}))
    check_prior(found, levels)
    assert found == pytest.approx(2e-5, rel=0.02)


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_predictions_are_one_another(kind: str) -> None:
    levels = make_levels("cosine", T)
    with jax.enable_x64(True):
        clean, noise = jax.random.normal(jax.random.key(0), (2, T, 3))
        level = levels.at(jnp.arange(1, T + 1))
        x_t = level.signal[:, None] * clean + level.noise[:, None] * noise
        said = join(kind, clean, noise, level)
        for found, true in zip(
            split(kind, said, x_t, level), (clean, noise), strict=True
        ):
            np.testing.assert_allclose(found, true, atol=1e-9)


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("steps", [1000, 10])
@pytest.mark.parametrize("name", ["linear", "sqrt_linear"])
def test_steps_are_those_of_diffusers(name: str, steps: int, kind: str) -> None:
    """DDPM with both variances, DDIM with any eta, all times or every hundredth."""
    golden = np.load(GOLDEN / "gaussian_schedulers.npz")
    levels = make_levels(name, 1000)
    methods = {
        "small": dict(method="ddpm", variance="posterior"),
        "large": dict(method="ddpm", variance="beta"),
    }
    for eta in (0.0, 0.5, 1.0):
        methods[str(eta)] = dict(method="ddim", eta=eta)
    compared = 0
    with jax.enable_x64(True):
        x, said, noise = (jnp.asarray(golden[n]) for n in ("x", "said", "noise"))
        for method, options in methods.items():
            chosen = GaussianOptions(steps=steps, **options)
            walk = Gaussian(levels, prediction=kind).walk(chosen)
            for i, t in enumerate(walk.times):
                key = f"{name}/{steps}/{kind}/{method}/{t}"
                if key not in golden.files:
                    continue
                step = jax.tree.map(lambda a, i=i: a[i], walk.inputs)
                found = walk.jump(Place(x, None), said, step, noise)
                # of t = 1 diffusers bounds a variance of 0 by 1e-20
                np.testing.assert_allclose(found, golden[key], rtol=1e-6, atol=1e-6)
                compared += 1
    assert compared == 15 - 2 * (steps == 10)


def test_noise_is_added_as_in_diffusers() -> None:
    golden = np.load(GOLDEN / "gaussian_schedulers.npz")
    level = make_levels("linear", 1000).at(jnp.array([1, 500]))
    found = level.signal[:, None] * golden["x"] + level.noise[:, None] * golden["noise"]
    np.testing.assert_allclose(found, golden["noised"], atol=1e-6)


def test_x_t_has_the_law_of_its_time() -> None:
    levels = make_levels("cosine", 10)
    weights = make_aggregation({"image": 1.0, "label": (0.2, 0.8)}, 10)
    process = Gaussian(levels, aggregation=weights, primary="image")
    number = 40000
    codes = {"image": jnp.full((number, 1), 0.5), "label": jnp.full((number, 1), -1.0)}
    for t in (1, 6):
        times = jnp.full(number, t)
        x = np.asarray(process.noised(jax.random.key(t), codes, times))
        clean = 0.5 - (0.2 + 0.6 * (t - 1) / 9)
        variance = levels.noise[t]
        apart = (x.mean() - np.sqrt(levels.alpha_bar[t]) * clean) / np.sqrt(variance)
        assert abs(apart) < 4 / np.sqrt(number)
        assert abs(x.var() / variance - 1) < 4 * np.sqrt(2 / number)


def test_the_order_of_modalities_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    codes = {n: jnp.asarray(rng.normal(size=(4, 9)), jnp.float32) for n in "abcde"}
    weights = {n: float(rng.normal()) for n in "abcde"}
    turned = {n: codes[n] for n in "edcba"}
    np.testing.assert_array_equal(aggregate(codes, weights), aggregate(turned, weights))


LEVELS = make_levels("linear", T)
ONE = make_aggregation({"image": 1.0, "label": 1.0}, T)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Gaussian(LEVELS, prediction="eps"), "prediction 'eps': choose one of"),
        (lambda: Gaussian(LEVELS, variance="learned"), "unknown variance 'learned'"),
        (lambda: Gaussian(LEVELS, loss="hybrid"), "unknown loss 'hybrid'"),
        (lambda: Gaussian(LEVELS, num_levels=1), "num_levels = 1"),
        (lambda: Gaussian(LEVELS, primary="image"), "choose one of none, without"),
        (lambda: Gaussian(LEVELS, aggregation=ONE), "choose one of image, label"),
        (
            lambda: Gaussian(make_levels("linear", 5), aggregation=ONE),
            "weights of 6 times, but levels of 5",
        ),
        (
            lambda: Gaussian(
                LEVELS, aggregation=make_aggregation({"a": (0, 1)}, T), primary="a"
            ),
            "the primary modality 'a' has the weight 0.0 at t = 1",
        ),
        (
            lambda: Gaussian(LEVELS).clean({"image": jnp.ones((1, 1))}, 1),
            "x_0 is codes by modality, and the process has no aggregation: give one",
        ),
        (
            lambda: Gaussian(LEVELS, aggregation=ONE, primary="image").clean(
                jnp.ones((1, 1)), 1
            ),
            "x_0 is one array, and the process has an aggregation: give codes",
        ),
        (
            lambda: aggregate({"image": jnp.ones((1, 1))}, ONE.at(1)),
            "codes of image, but weights of image, label",
        ),
        (
            lambda: aggregate(
                {"image": jnp.ones((1, 2)), "label": jnp.ones((1, 1))}, ONE.at(1)
            ),
            "codes of unequal shapes",
        ),
        (lambda: make_aggregation({}, T), "no modality has a weight"),
        (lambda: make_aggregation({"a": (1, 2, 3)}, T), r"of a is \(1, 2, 3\)"),
        (lambda: make_aggregation({"a": 1}, T, "cosine"), "unknown ramp 'cosine'"),
        (lambda: make_aggregation({"a": np.inf}, T), "weight of a is inf: give finite"),
        (lambda: Aggregation({"a": np.ones(3)}), "a are not finite, or not 0 at t = 0"),
        (
            lambda: Aggregation({"a": np.zeros(3), "b": np.zeros(4)}),
            "weights of unequal lengths",
        ),
        (
            lambda: read(
                "noise", {"a": jnp.ones((1, 1))}, jnp.ones((1, 1)), LEVELS.at(1), None
            ),
            "codes of a were predicted, but the process aggregates none",
        ),
        (
            lambda: read(
                "noise", Predicted(None, None), jnp.ones((1, 1)), LEVELS.at(1), None
            ),
            "nothing was predicted",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
