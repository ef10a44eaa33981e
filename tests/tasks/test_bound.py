"""The bound of held-out examples: its errors, its loss by time, mutual information."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.diffusion.schedule import make_schedule
from cdcd_jax.metrics.names import suffix
from cdcd_jax.tasks import bound

T, L, K = 20, 8, 5


def batches(number: int, size: int = 50) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        {
            "tokens": rng.integers(0, K, (size, L)).astype(np.int32),
            "condition": {"label": rng.integers(0, 4, size)},
        }
        for _ in range(number)
    ]


def noisy_term(levels, loss, deviation=0.0):
    """A model whose masked token costs loss[t - 1] nats, with noise."""
    step = jnp.asarray(levels.gamma_bar[1:] - levels.gamma_bar[:-1])

    def term(tokens, condition, t, key, null=False):
        mean = levels.timesteps * L * step[t - 1] * jnp.asarray(loss)[t - 1]
        return mean * (1 + deviation * jax.random.normal(key, mean.shape))

    return term


@pytest.mark.parametrize("schedule", ["absorbing_linear", "absorbing_cosine"])
def test_bits_are_the_mean_of_the_terms(schedule: str) -> None:
    """A model that knows nothing pays log2 K bits a token at any time."""
    levels = make_schedule(schedule, K, T)
    term = noisy_term(levels, np.full(T, np.log(K)))
    found = bound.bound(term, batches(3), jax.random.key(0), T, T, {})
    assert found.terms.shape == found.times.shape == (150, T)
    np.testing.assert_array_equal(found.times[0], np.arange(1, T + 1))
    figures = bound.figures(found)
    assert figures["bits_per_token"] == pytest.approx(np.log2(K), rel=1e-5)
    assert figures["bits_per_token/n"] == 150
    np.testing.assert_allclose(bound.loss_by_time(found, levels), np.log(K), rtol=1e-5)


def test_monte_carlo_error_is_that_of_the_mean() -> None:
    """As large as the deviation of the estimate over keys, to the factor of chance."""
    levels = make_schedule("absorbing_linear", K, T)
    term = noisy_term(levels, np.full(T, 1.0), deviation=0.5)
    few = batches(1, size=10)
    found = [
        bound.figures(bound.bound(term, few, jax.random.key(i), 6, T, {}))
        for i in range(40)
    ]
    real = np.std([f["bits_per_token"] for f in found])
    said = np.mean([f["bits_per_token/monte_carlo_error"] for f in found])
    assert 0.7 < said / real < 1.4
    once = bound.bound(term, few, jax.random.key(0), 1, T, {})
    assert "bits_per_token/monte_carlo_error" not in bound.figures(once)


def test_a_bound_has_terms_without_a_time() -> None:
    """Of a number the bound alone is told; of several kinds their parts, which add."""
    levels = make_schedule("absorbing_linear", K, T)
    term, given = noisy_term(levels, np.full(T, 1.0)), (batches(2), jax.random.key(0))
    plain = bound.figures(bound.bound(term, *given, 4, T, {}))
    prior = bound.figures(bound.bound(term, *given, 4, T, {"prior": 0.3}))
    assert set(prior) == set(plain) and not any("_prior" in name for name in prior)
    apart = prior["bits_per_token"] - plain["bits_per_token"]
    assert apart == pytest.approx(0.3 / np.log(2), rel=1e-5)
    rows = np.random.default_rng(0).random(100)  # nats a token, of each example
    several = {"prior": 0.3, "others": rows}
    found = bound.figures(bound.bound(term, *given, 4, T, several))
    parts = {n: found[f"bits_per_token_{n}"] for n in ("denoising", *several)}
    assert found["bits_per_token"] == pytest.approx(sum(parts.values()), rel=1e-5)
    assert parts["others"] == pytest.approx(rows.mean() / np.log(2), rel=1e-5)
    assert parts["denoising"] == pytest.approx(plain["bits_per_token"], rel=1e-5)
    assert found["bits_per_token_others/n"] == 100
    # an example's error holds what differs from example to example
    assert (
        found["bits_per_token/standard_error"] > plain["bits_per_token/standard_error"]
    )


def test_loss_by_time_rises_and_is_found_again() -> None:
    levels = make_schedule("absorbing_linear", K, T)
    loss = np.linspace(0.5, 2.0, T)
    term = noisy_term(levels, loss, deviation=0.3)
    found = bound.bound(term, batches(10), jax.random.key(0), 8, T, {})
    profile = bound.loss_by_time(found, levels)
    assert np.all(np.diff(profile) >= 0)
    np.testing.assert_allclose(profile, loss, atol=0.08)


def test_information_of_a_label_that_is_the_first_token() -> None:
    """A critic that sees it has all there is to have: I = log of the labels."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 400)
    tokens = np.zeros((400, L), np.int32)
    tokens[:, 0] = labels
    given = [{"tokens": tokens, "condition": {"label": labels}}]
    fits = lambda x, condition: x[:, 0] == condition["label"]

    def term(x, condition, t, key, null=False):
        wrong = 0.0 if null else 60.0 * L
        return jnp.where(fits(x, condition), 0.0, wrong)

    values = {}
    for number in (3, 60):
        values[number] = bound.information(
            term,
            given,
            jax.random.key(0),
            repeats=2,
            timesteps=T,
            number=number,
            temperature=1.0,
            ratio=False,
        )
        # negatives under the same label score as the positive does
        same = rng.binomial(number, 0.25, 100_000)
        expected = np.log(number + 1) - np.log(1 + same).mean()
        found = values[number]["mi_bound_nats"]
        assert found == pytest.approx(expected, abs=0.08)
        assert found <= np.log(4) + 0.02 and values[number]["mi_bound_nats/n"] == 400
    assert values[60]["mi_bound_nats"] > values[3]["mi_bound_nats"]
    # less the null's score, which is the same here for every candidate
    ratio = bound.information(
        term,
        given,
        jax.random.key(0),
        repeats=2,
        timesteps=T,
        number=3,
        temperature=1.0,
        ratio=True,
    )
    assert ratio["mi_bound_nats"] == pytest.approx(values[3]["mi_bound_nats"])


def test_figures_say_what_they_judge() -> None:
    assert [suffix(n) for n in ("unguided", "guided", "real", "steps=8")] == [
        "",
        "_guided",
        "_real",
        "@steps=8",
    ]
