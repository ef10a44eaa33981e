"""The bound of Gaussian diffusion: its terms, the decoder, and that it is a bound."""

import brute_force as bf
import gaussian_chain as gc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from cdcd_jax.diffusion import gaussian_terms
from cdcd_jax.diffusion.aggregation import make_aggregation
from cdcd_jax.diffusion.gaussian import Gaussian
from cdcd_jax.diffusion.gaussian_schedule import VARIANCES, make_levels
from cdcd_jax.diffusion.gaussian_terms import (
    Bound,
    bound,
    decoder_nats,
    levels_of_tokens,
    passed,
    tokens_of_levels,
)
from cdcd_jax.diffusion.predictions import PREDICTIONS, Predicted

T = 5


@pytest.mark.parametrize("num_levels", [2, 17, 256])
def test_tokens_are_levels_and_back(num_levels: int) -> None:
    tokens = jnp.arange(num_levels)
    x = levels_of_tokens(tokens, num_levels)
    assert x[0] == -1 and x[-1] == 1
    np.testing.assert_array_equal(tokens_of_levels(x, num_levels), tokens)
    inside = x + 0.9 / (num_levels - 1)
    np.testing.assert_array_equal(tokens_of_levels(inside, num_levels), tokens)


@pytest.mark.parametrize("num_levels", [2, 17, 256])
@pytest.mark.parametrize("sigma", [0.01, 0.3, 2.0])
def test_the_decoder_is_a_law_over_levels(num_levels: int, sigma: float) -> None:
    """Its mass is 1 whatever the mean, and each is a difference of two masses."""
    means = jnp.array([-7.0, -1.0, -0.31, 0.0, 0.5, 1.0, 3.0])
    x = levels_of_tokens(jnp.arange(num_levels), num_levels)
    x, mean = jnp.broadcast_arrays(x[:, None], means)
    with jax.enable_x64(True):
        found = decoder_nats(x, mean, sigma, num_levels)
    assert np.all(np.isfinite(found)) and np.all(np.asarray(found) >= 0)
    np.testing.assert_allclose(np.exp(-found).sum(0), 1.0, atol=2e-4)
    half = 1 / (num_levels - 1)
    x, mean = np.asarray(x, np.float64), np.asarray(mean, np.float64)
    upper = np.where(x > 1 - half, np.inf, (x + half - mean) / sigma)
    lower = np.where(x < half - 1, -np.inf, (x - half - mean) / sigma)
    mass = np.where(lower > 0, norm.sf(lower) - norm.sf(upper), 0)
    mass = np.where(lower > 0, mass, norm.cdf(upper) - norm.cdf(lower))
    likely = mass > 1e-30
    np.testing.assert_allclose(
        np.asarray(found)[likely], -np.log(mass[likely]), rtol=2e-3, atol=2e-4
    )


def test_the_decoder_has_gradients_everywhere() -> None:
    x = levels_of_tokens(jnp.arange(256), 256)
    each = lambda mean: jnp.sum(decoder_nats(x, mean, 0.01, 256))
    slope = bf.quick_jit(jax.grad(each))
    for mean in (-50.0, -1.0, 0.002, 1.0, 50.0):
        assert np.all(np.isfinite(slope(jnp.full(256, mean))))
    # the mean that makes it least is the level itself
    assert abs(float(slope(x)[100])) < 1e-2


def test_without_levels_it_is_a_density() -> None:
    found = decoder_nats(jnp.array([[0.3]]), jnp.array([[0.1]]), 0.5, 0)
    np.testing.assert_allclose(found, [[-norm.logpdf(0.3, 0.1, 0.5)]], rtol=1e-6)


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("kind", PREDICTIONS)
def test_the_terms_of_one_modality(kind: str, variance: str) -> None:
    """Beside the KL of explicit Gaussians; simple is the error of what is said."""
    levels, number = make_levels("cosine", T), 3
    with jax.enable_x64(True):
        process = Gaussian(levels, kind, variance, num_levels=9)
        x_0 = jnp.asarray(np.random.default_rng(0).integers(0, 9, (T, number)))
        x_0 = levels_of_tokens(x_0, 9)
        said = jax.random.normal(jax.random.key(0), x_0.shape)
        t = jnp.arange(1, T + 1)
        x_t = process.noised(jax.random.key(1), x_0, t)
        found = process.terms(said, x_0, x_t, t)
        reading = process.read(said, x_t, t)
        exact_terms = process.terms(truth(process, x_0, x_t, t), x_0, x_t, t)
        trained = process.__class__(levels, kind, variance, "bound", 9)
        same = trained.terms(said, x_0, x_t, t)
        expected = [
            explicit(process, x_0[i], x_t[i], reading.clean[i], i + 1) for i in range(T)
        ]
        error = jnp.sum((said - truth(process, x_0, x_t, t)) ** 2, axis=1)
    np.testing.assert_array_equal(same.training, found.bound)
    np.testing.assert_allclose(found.bound, expected, rtol=1e-4)
    np.testing.assert_allclose(found.training, error, rtol=1e-9)
    np.testing.assert_allclose(exact_terms.training, np.zeros(T), atol=1e-9)


def explicit(process, x_0, x_t, clean, t: int) -> float:
    """T x the KL of Gaussians, or the decoder's nats; arrays are one example."""
    levels = process.levels
    now, before = levels.alpha_bar[t], levels.alpha_bar[t - 1]
    beta = 1 - now / before
    posterior = (1 - before) / (1 - now) * beta
    if t == 1:
        second = levels.posterior_variance(2, 1)
        own = second if process.variance == "posterior" else levels.noise[1]
        return T * np.sum(decoder_nats(x_0, clean, float(np.sqrt(own)), 9))
    model = posterior if process.variance == "posterior" else beta
    kept = np.sqrt(1 - beta) * (1 - before) * np.asarray(x_t)
    means = [
        (np.sqrt(before) * beta * np.asarray(x) + kept) / (1 - now)
        for x in (x_0, clean)
    ]
    pairs = zip(*means, strict=True)
    return T * sum(gc.normal_kl(q, posterior, p, model) for q, p in pairs)


def truth(process, x_0, x_t, t) -> jax.Array:
    """What a network would say that knew x_0, [B, ...]."""
    signal, noise = (a[:, None] for a in process.levels.at(t))
    eps = (x_t - signal * x_0) / noise
    said = {"noise": eps, "x_0": x_0, "v": signal * eps - noise * x_0}
    return said[process.prediction]


class Toy:
    """Two numbers in one chain of numbers, with a linear model of all of them.

    q: z_t = sqrt(alpha_bar_t) (W_t^a a + W_t^b b) + noise, as the process has it. The
    model says of z_t that a is `heads["a"] * z_t`, b likewise, and of the noise what
    follows; decoders are N(head, spread). All of it is linear, so its likelihood is
    known.
    """

    def __init__(self, varying: bool, variance: str = "posterior") -> None:
        self.spread = {"a": 0.3, "b": 0.5}
        self.levels = make_levels("cosine", T)
        ramp = ((1.0, 0.4), (0.3, 0.8)) if varying else (0.8, 0.6)
        self.weights = make_aggregation(dict(zip("ab", ramp, strict=True)), T)
        self.process = Gaussian(
            self.levels,
            variance=variance,
            aggregation=self.weights,
            primary="a",
        )
        rng = np.random.default_rng(1)
        signal = np.sqrt(self.levels.alpha_bar)
        self.heads = {
            name: signal * (0.7 + 0.2 * rng.normal(size=T + 1)) for name in "ab"
        }

    def predicted(self, z: jax.Array, t: int) -> dict[str, jax.Array]:
        """Codes of z [B, 1] at t."""
        return {name: head[t] * z for name, head in self.heads.items()}

    def step(self, t: int) -> tuple[float, float]:
        """Of p(z_{t-1} | z_t) what multiplies z_t, and the variance."""
        levels, w = self.levels, self.weights.per_step(self.levels)
        beta = levels.beta(t, t - 1)
        clean = sum(self.weights.weights[n][t] * self.heads[n][t] for n in "ab")
        eps = (1 - np.sqrt(levels.alpha_bar[t]) * clean) / np.sqrt(levels.noise[t])
        mean = (1 - beta / np.sqrt(levels.noise[t]) * eps) / np.sqrt(1 - beta)
        mean -= sum(w[n][t - 1] * self.heads[n][t] for n in "ab")
        return mean, levels.model_variance(t, t - 1, self.process.variance)

    def nll(self, x: dict[str, float], tau: int) -> float:
        """-log p(X) of the model that decodes at tau."""
        joint = gc.Joint()
        z = joint.add({}, 0.0, 1.0)
        for t in range(T, tau, -1):
            mean, variance = self.step(t)
            z = joint.add({z: mean}, 0.0, variance)
        numbers = [
            joint.add({z: self.heads[n][tau]}, 0.0, self.spread[n] ** 2) for n in "ab"
        ]
        return -joint.log_density(numbers, [x["a"], x["b"]])

    def terms(self, x: dict[str, float]) -> tuple:
        """(prior, KL_t [T], decoders [T] by name), means over z_t, in float64.

        All are squares of z_t, whose means Gauss' quadrature finds exactly.
        """
        nodes, share = np.polynomial.hermite_e.hermegauss(4)
        share = share / share.sum()
        codes = {n: jnp.full((4, 1), value) for n, value in x.items()}
        kl, decoders = [], {"a": [], "b": []}
        for t in range(1, T + 1):
            time, level = jnp.full(4, t), self.levels.at(t)
            clean = self.process.clean(codes, time)
            z = level.signal * clean + level.noise * nodes[:, None]
            said = self.predicted(z, t)
            found = self.process.terms(said, codes, z, time).bound / T
            kl.append(found @ share if t > 1 else 0.0)
            for n in "ab":
                nats = decoder_nats(codes[n], said[n], self.spread[n], 0)
                decoders[n].append(nats[:, 0] @ share)
        prior = self.process.prior_term(codes)[0]
        return (
            prior,
            jnp.stack(kl),
            {n: jnp.stack(each) for n, each in decoders.items()},
        )


@pytest.mark.parametrize("varying", [False, True])
@pytest.mark.parametrize("variance", VARIANCES)
def test_the_forms_bound_the_likelihood(varying: bool, variance: str) -> None:
    """(A) that of the chain decoded at its end, (B) that of the mixture over ends."""
    toy = Toy(varying, variance)
    stop = np.array([0.4, 0.3, 0.1, 0.15, 0.05])
    for a, b in ((0.5, 0.2), (-1.5, 1.0), (0.0, 0.0), (2.0, -1.0)):
        x = {"a": a, "b": b}
        with jax.enable_x64(True):
            terms = toy.terms(x)
            ends = (None, stop, *np.eye(T))
            totals = [float(bound(*terms, "a", one).total) for one in ends]
        each = np.array([toy.nll(x, tau) for tau in range(1, T + 1)])
        mixture = -np.log(np.sum(stop * np.exp(-each)))
        assert totals[0] >= each[0] and totals[1] >= mixture
        # each end by itself, too
        assert np.all(np.array(totals[2:]) >= each)


@pytest.mark.parametrize("varying", [False, True])
@pytest.mark.parametrize("tau", [1, 3])
def test_the_terms_add_up_to_a_monte_carlo_estimate(varying: bool, tau: int) -> None:
    """E_q log q(z_tau..z_T | X) / p(X, z_tau..z_T), from whole trajectories."""
    toy, draws, x = Toy(varying), 200000, {"a": 0.9, "b": -0.6}
    levels, w = toy.levels, toy.weights.per_step(toy.levels)
    rng = np.random.default_rng(0)
    # down from z_0 = 0 by the forward kernels
    z, log_q = [np.zeros(draws)], 0.0
    for t in range(1, T + 1):
        beta = levels.beta(t, t - 1)
        added = sum(w[n][t - 1] * x[n] for n in "ab")
        mean = np.sqrt(1 - beta) * (z[-1] + added)
        z.append(mean + np.sqrt(beta) * rng.normal(size=draws))
        if t > tau:
            log_q += norm.logpdf(z[-1], mean, np.sqrt(beta))
        elif t == tau:  # of the marginal, from where the chain is looked at
            clean = sum(toy.weights.weights[n][t] * x[n] for n in "ab")
            center, width = np.sqrt(levels.alpha_bar[t]) * clean, levels.noise[t]
            log_q = norm.logpdf(z[-1], center, np.sqrt(width))
    log_p = norm.logpdf(z[T])
    for t in range(T, tau, -1):
        mean, variance = toy.step(t)
        log_p = log_p + norm.logpdf(z[t - 1], mean * z[t], np.sqrt(variance))
    for n in "ab":
        log_p = log_p + norm.logpdf(x[n], toy.heads[n][tau] * z[tau], toy.spread[n])
    estimate = log_q - log_p
    error = estimate.std() / np.sqrt(draws)
    with jax.enable_x64(True):
        found = float(bound(*toy.terms(x), "a", np.eye(T)[tau - 1]).total)
    assert abs(found - estimate.mean()) < 5 * error
    assert error < 0.02


def test_the_mean_over_t_bounds_the_nats_of_a_token() -> None:
    """Of a pixel with 9 levels, under a linear model whose mass of them is known."""
    levels, number = make_levels("cosine", T), 9
    process = Gaussian(levels, "x_0", num_levels=number)
    head = np.sqrt(levels.alpha_bar) * 0.9  # x_0 as predicted over x_t
    joint = gc.Joint()
    z = joint.add({}, 0.0, 1.0)
    for t in range(T, 1, -1):
        posterior, beta = levels.posterior_variance(t, t - 1), levels.beta(t, t - 1)
        mean = np.sqrt(1 - beta) * levels.noise[t - 1]
        mean += np.sqrt(levels.alpha_bar[t - 1]) * beta * head[t]
        z = joint.add({z: mean / levels.noise[t]}, 0.0, posterior)
    pixel = joint.add({z: head[1]}, 0.0, process.last_sigma**2)
    edges = np.append(np.arange(1 - number, number - 1, 2)[1:] / (number - 1), np.inf)
    edges = np.append(-np.inf, np.append(edges[:1] - 2 / (number - 1), edges))
    mass = np.diff(norm.cdf(edges, scale=np.sqrt(joint.covariance[pixel, pixel])))
    nodes, share = np.polynomial.hermite_e.hermegauss(100)
    x_0 = levels_of_tokens(jnp.arange(number), number)
    found = process.prior_term(x_0[:, None])
    for t in range(1, T + 1):
        level = levels.at(t)
        x_t = level.signal * x_0[:, None] + level.noise * nodes
        rows, said = x_t.reshape(-1, 1), head[t] * x_t.reshape(-1, 1)
        many = jnp.repeat(x_0, len(nodes))[:, None]
        terms = process.terms(said, many, rows, jnp.full(len(rows), t))
        each = terms.bound.reshape(number, -1) @ (share / share.sum())
        found += each / T
    assert np.sum(mass) == pytest.approx(1)
    assert np.all(np.asarray(found) >= -np.log(mass) - 1e-5)
    # near where the model is good, at levels that are neither the first nor the last
    assert np.all(np.asarray(found)[2:-2] < -np.log(mass[2:-2]) + 1.0)


def test_parts_of_the_bound() -> None:
    kl, a, b = np.arange(3.0), np.array([1.0, 2.0, 4.0]), np.array([8.0, 16.0, 32.0])
    decoders = {"a": jnp.asarray(a), "b": jnp.asarray(b)}
    found = bound(jnp.asarray(0.5), jnp.asarray(kl), decoders, "b")
    assert found == Bound(8.0, 3.0, 1.0, 0.5) and found.total == 12.5
    alone = bound(jnp.asarray(0.5), jnp.asarray(kl), {"b": decoders["b"]}, "b")
    assert alone.others == 0  # remark 1 of the paper
    stop = np.array([0.5, 0.25, 0.25])
    np.testing.assert_allclose(passed(stop), [0, 0.5, 0.75])
    found = bound(jnp.asarray(0.5), jnp.asarray(kl), decoders, "a", stop)
    assert found == Bound(2.0, 2.0, 16.0, 0.5)
    with pytest.raises(ValueError, match="no decoder of 'c': choose one of a, b"):
        bound(jnp.asarray(0.5), jnp.asarray(kl), decoders, "c")
    for wrong in ([0.5, 0.2, 0.2], [1.5, -0.5, 0.0]):
        with pytest.raises(ValueError, match="expected a distribution"):
            passed(np.array(wrong))


def test_codes_are_needed_where_weights_change() -> None:
    toy = Toy(varying=True)
    codes = {n: jnp.ones((2, 1)) for n in "ab"}
    z, t = jnp.ones((2, 1)), jnp.array([1, 3])
    with pytest.raises(ValueError, match="predict codes too"):
        toy.process.terms(z, codes, z, t)
    both = toy.process.terms(Predicted(z, toy.predicted(z, 2)), codes, z, t)
    assert np.all(np.isfinite(both.bound))


def test_the_primary_is_decoded_from_the_sum() -> None:
    """Where one array is predicted, the other codes are taken off what it says."""
    levels = make_levels("linear", T)
    weights = make_aggregation({"a": 0.5, "b": 1.5}, T)
    process = Gaussian(levels, "x_0", "beta", aggregation=weights, primary="a")
    codes = {"a": jnp.array([[0.4], [0.2]]), "b": jnp.array([[-1.0], [2.0]])}
    t = jnp.array([1, 1])
    x_t = process.noised(jax.random.key(0), codes, t)
    head = codes["a"] + 0.1
    said = 0.5 * head + 1.5 * codes["b"]
    sigma = float(np.sqrt(levels.noise[1])) / 0.5
    expected = T * decoder_nats(codes["a"], head, sigma, 0)[:, 0]
    found = process.terms(said, codes, x_t, t).bound
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    heads = {"a": head, "b": codes["b"] - 1}
    found = process.terms(heads, codes, x_t, t).bound
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("loss", ["simple", "bound"])
def test_what_is_trained_has_gradients_at_every_time(kind: str, loss: str) -> None:
    levels = make_levels("cosine", 100)
    process = Gaussian(levels, kind, loss=loss, num_levels=17)
    t = jnp.arange(1, 101)
    x_0 = levels_of_tokens(jax.random.randint(jax.random.key(0), (100, 4), 0, 17), 17)
    x_t = process.noised(jax.random.key(1), x_0, t)
    total = lambda said: jnp.sum(process.terms(said, x_0, x_t, t).training)
    gradient = bf.quick_jit(jax.grad(total))(jnp.zeros_like(x_0))
    assert np.all(np.isfinite(gradient)) and np.all(np.any(gradient != 0, axis=1))


def test_the_step_table_is_one_of_float64() -> None:
    levels = make_levels("linear", 1000)
    table = gaussian_terms.step_table(levels, "posterior")
    assert table.noise.dtype == np.float64 and table.noise[0] == 0
    np.testing.assert_array_equal(table.spread, np.zeros(1000))
