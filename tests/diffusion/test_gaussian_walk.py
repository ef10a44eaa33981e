"""Walks of Gaussian diffusion: the laws that they draw, what is known, and company."""

import dataclasses
import itertools
from typing import Any

import brute_force as bf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.config import defaults
from cdcd_jax.diffusion.aggregation import make_aggregation
from cdcd_jax.diffusion.gaussian import Gaussian
from cdcd_jax.diffusion.gaussian_schedule import make_levels
from cdcd_jax.diffusion.mask_replace import MaskReplace
from cdcd_jax.diffusion.predictions import PREDICTIONS, Predicted, join, split
from cdcd_jax.diffusion.process import Drawn, Process, Walk, draw, keys_by_name
from cdcd_jax.diffusion.samplers import GAUSSIAN_SAMPLERS
from cdcd_jax.diffusion.samplers.base import built
from cdcd_jax.diffusion.samplers.options import GaussianOptions, SamplingOptions

T, DRAWS = 40, 20000
KEY = jax.random.key(0)
LEVELS = make_levels("cosine", T)
MEAN, VARIANCE = 0.6, 0.3  # of the data


def options_of(**changes: Any) -> GaussianOptions:
    return GaussianOptions(**{"steps": T, **changes})


def best(process: Gaussian, mean: float, variance: float):
    """What the best network says of x_t, where data are N(mean, variance)."""

    def predict(x_t: dict, t: dict) -> dict[str, jax.Array]:
        (x,), (time,) = x_t.values(), t.values()
        level = process.levels.at(time)
        a, b = (c.reshape(-1, *[1] * (x.ndim - 1)) for c in level)
        clean = mean + variance * a / (variance * a**2 + b**2) * (x - a * mean)
        noise = (x - a * clean) / b
        return {"x": join(process.prediction, clean, noise, level)}

    return predict


def drawn(process: Gaussian, options: Any, data: tuple, **more: Any) -> Drawn:
    """Draws of one number each, [DRAWS, 1], and what was on the way."""
    start = more.pop("start", None)

    @bf.quick_jit
    def run(key: jax.Array) -> Drawn:
        walk = process.walk(options, start)
        return draw(
            {"x": walk},
            best(process, *data),
            {"x": key},
            {"x": (DRAWS, 1)},
            canvases=True,
            **more,
        )

    return run(KEY)


def assert_law(x: jax.Array, mean: float, variance: float, slack: float = 0) -> None:
    """Mean and variance within 4 standard errors and a share of the deviation."""
    x, number = np.asarray(x, np.float64).ravel(), np.size(x)
    width = np.sqrt(variance)
    assert abs(x.mean() - mean) <= (4 / np.sqrt(number) + slack) * width
    assert abs(x.var() - variance) <= (4 * np.sqrt(2 / number) + slack) * variance


METHODS = [
    dict(),
    dict(steps=7),
    dict(method="ddim"),
    dict(method="ddim", steps=7),
    dict(method="ddim", eta=0.5, steps=7),
    dict(steps=9, grid="cosine"),
]


@pytest.mark.parametrize("changes", METHODS, ids=str)
def test_a_point_is_drawn_by_the_law_of_every_time(changes: dict) -> None:
    """Where x_0 is known for certain, every x_s has the law q(x_s | x_0)."""
    process, options = Gaussian(LEVELS), options_of(**changes)
    found = drawn(process, options, (MEAN, 0.0))
    walk = process.walk(options)
    assert len(walk.times) == options.steps
    visited = np.append(walk.times[1:], 0)
    for canvas, s in zip(found.canvases["x"], visited, strict=True):
        if s:
            signal = np.sqrt(LEVELS.alpha_bar[s])
            assert_law(canvas, signal * MEAN, LEVELS.noise[s])
    np.testing.assert_allclose(found.x["x"], MEAN, atol=1e-4)


def law_of(changes: dict) -> tuple[float, float]:
    """Mean and variance at t = 0 of a chain that predicts best, jump by jump.

    With the posterior N(a x_t + b x_0, v) as Bayes' rule writes it.
    """
    steps, eta = changes.get("steps", T), changes.get("eta", 0.0)
    mean, variance = 0.0, 1.0
    times = np.floor(T * np.arange(steps, -1, -1) / steps + 0.5).astype(int)
    for t, s in itertools.pairwise(times):
        now, before = LEVELS.alpha_bar[t], LEVELS.alpha_bar[s]
        beta = 1 - now / before
        ddpm = (1 - before) / (1 - now) * beta
        if changes.get("method") == "ddim":
            own = eta**2 * ddpm
            a = np.sqrt((1 - before - own) / (1 - now))
            b = np.sqrt(before) - a * np.sqrt(now)
        else:
            own = beta if changes.get("variance") == "beta" and s else ddpm
            a = np.sqrt(1 - beta) * (1 - before) / (1 - now)
            b = np.sqrt(before) * beta / (1 - now)
        # x_0 as predicted is k x_t + c
        k = VARIANCE * np.sqrt(now) / (VARIANCE * now + 1 - now)
        c = MEAN * (1 - k * np.sqrt(now))
        mean = (a + b * k) * mean + b * c
        variance = (a + b * k) ** 2 * variance + own
    return mean, variance


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("changes", [*METHODS[:-1], dict(variance="beta")], ids=str)
def test_a_gaussian_is_drawn_with_its_law(changes: dict, kind: str) -> None:
    """As the chain of exact jumps has it, and near that of the data."""
    found = drawn(Gaussian(LEVELS, kind), options_of(**changes), (MEAN, VARIANCE))
    mean, variance = law_of(changes)
    assert_law(found.x["x"], mean, variance)
    if changes.get("steps", T) == T:
        assert_law(found.x["x"], MEAN, VARIANCE, slack=0.2)


def test_many_steps_come_to_the_law_of_the_data() -> None:
    """The same levels in more steps; DDPM and DDIM."""
    levels = make_levels("cosine", 400)
    for method in GAUSSIAN_SAMPLERS:
        options = GaussianOptions(method=method, steps=400)
        found = drawn(Gaussian(levels), options, (MEAN, VARIANCE))
        assert_law(found.x["x"], MEAN, VARIANCE, slack=0.02)


def test_all_noise_of_ddim_is_ddpm() -> None:
    """eta = 1 is the posterior's variance, and draws the same numbers."""
    process = Gaussian(LEVELS)
    for steps in (T, 7):
        one = drawn(process, options_of(steps=steps), (MEAN, VARIANCE))
        full = options_of(method="ddim", eta=1.0, steps=steps)
        other = drawn(process, full, (MEAN, VARIANCE))
        np.testing.assert_allclose(one.x["x"], other.x["x"], atol=1e-4)


def test_a_walk_may_start_from_an_example() -> None:
    """x_0 noised to a time, from where it is denoised."""
    given = jnp.full((DRAWS, 1), 2.0)
    process, options = Gaussian(LEVELS), options_of(steps=3)
    found = drawn(process, options, (2.0, 0.0), start=(given, 12))
    walk = process.walk(options, (given, 12))
    np.testing.assert_array_equal(walk.times, [12, 8, 4])
    assert_law(
        found.canvases["x"][0], 2 * np.sqrt(LEVELS.alpha_bar[8]), LEVELS.noise[8]
    )
    begun = walk.seen(walk.begin((KEY, KEY), (DRAWS, 1), None))
    assert_law(begun, 2 * np.sqrt(LEVELS.alpha_bar[12]), LEVELS.noise[12])
    with pytest.raises(ValueError, match=r"cannot start at time 41: choose 1\.\.40"):
        process.walk(options, (given, T + 1))


@pytest.mark.parametrize("method", GAUSSIAN_SAMPLERS)
def test_what_is_known_comes_out_unchanged(method: str) -> None:
    """On the way it has the law of its time; the rest is drawn given it."""
    rng = np.random.default_rng(0)
    given = jnp.asarray(rng.uniform(-1, 1, (DRAWS, 2)), jnp.float32)
    where = jnp.asarray([[True, False]] * DRAWS)
    process, options = Gaussian(LEVELS), options_of(method=method, steps=20)

    def predict(x_t: dict, t: dict) -> dict[str, jax.Array]:
        """Of pairs (a, b) with b = -a: both numbers of x_t say what a is."""
        x, level = x_t["x"], LEVELS.at(t["x"])
        a, b = (c[:, None] for c in level)
        half = (x[:, :1] - x[:, 1:]) / 2
        # of which a is N(0, 1/3) as far as mean and variance go
        guess = half * a / (a**2 + 1.5 * b**2)
        clean = jnp.concatenate([guess, -guess], axis=1)
        return {"x": (x - a * clean) / b}

    @bf.quick_jit
    def run(key: jax.Array) -> Drawn:
        shapes, known = {"x": given.shape}, {"x": (given, where)}
        walks = {"x": process.walk(options)}
        return draw(walks, predict, {"x": key}, shapes, known=known, canvases=True)

    found = run(KEY)
    np.testing.assert_array_equal(found.x["x"][:, 0], given[:, 0])
    middle = np.asarray(found.canvases["x"][9])  # at t = 20
    signal = np.sqrt(LEVELS.alpha_bar[20])
    assert_law(middle[:, 0] - signal * given[:, 0], 0.0, LEVELS.noise[20])
    together = np.corrcoef(found.x["x"][:, 1], given[:, 0])[0, 1]
    assert together < -0.9


def test_all_known_is_that_alone() -> None:
    given = jnp.asarray(np.random.default_rng(0).normal(size=(DRAWS, 1)), jnp.float32)
    known = {"x": (given, jnp.ones((DRAWS, 1), bool))}
    for method in GAUSSIAN_SAMPLERS:
        options = options_of(method=method, steps=5)
        found = drawn(Gaussian(LEVELS), options, (MEAN, VARIANCE), known=known)
        np.testing.assert_array_equal(found.x["x"], given)


@pytest.mark.parametrize("varying", [False, True])
def test_heads_walk_as_noise_does(varying: bool) -> None:
    """Codes as the heads say them, noise too, or noise alone at constant weights."""
    ramp = {"a": (1.0, 0.3), "b": 0.7} if varying else {"a": 1.0, "b": 0.7}
    weights = make_aggregation(ramp, T)
    process = Gaussian(LEVELS, aggregation=weights, primary="a")
    codes = {"a": jnp.full((DRAWS, 1), 0.4), "b": jnp.full((DRAWS, 1), -1.0)}

    def noise_of(x: jax.Array, t: jax.Array) -> jax.Array:
        return split("x_0", process.clean(codes, t), x, LEVELS.at(t))[1]

    ways = {
        "codes": lambda x, t: codes,
        "both": lambda x, t: Predicted(noise_of(x, t), codes),
        "noise": noise_of,
    }
    found = {}
    for name, way in ways.items():
        walks = {"x": process.walk(options_of(steps=8))}
        predict = lambda x_t, t, way=way: {"x": way(x_t["x"], t["x"])}
        run = lambda predict=predict, walks=walks: draw(
            walks, predict, {"x": KEY}, {"x": (DRAWS, 1)}, canvases=True
        )
        if name == "noise" and varying:
            with pytest.raises(ValueError, match="predict codes too"):
                run()
            continue
        found[name] = run()
        for canvas, s in zip(found[name].canvases["x"], range(35, 0, -5), strict=False):
            clean = weights.weights["a"][s] * 0.4 - 0.7
            assert_law(canvas, np.sqrt(LEVELS.alpha_bar[s]) * clean, LEVELS.noise[s])
        # the code as decoders read it at t = 1
        np.testing.assert_allclose(found[name].x["x"], 0.4 - 0.7, atol=1e-4)
    for other in found.values():
        np.testing.assert_allclose(other.x["x"], found["codes"].x["x"], atol=1e-4)


def test_a_code_and_tokens_are_drawn_in_step() -> None:
    """One network for both; another T; and a walk alone is the walk in company."""
    tokens = MaskReplace(bf.schedule_of("absorbing_linear", 3, 2 * T))
    walks = {
        "code": Gaussian(LEVELS, "x_0").walk(options_of(steps=10)),
        "tokens": tokens.walk(SamplingOptions(steps=10)),
    }
    assert all(isinstance(walk, Walk) for walk in walks.values())
    shapes = {"code": (64, 6), "tokens": (64, 6)}

    def predict(x_t: dict, t: dict) -> dict[str, jax.Array]:
        """Tokens tend to the sign of the code, and the code to the tokens shown."""
        shown = x_t["tokens"] < 3
        value = jnp.where(shown, x_t["tokens"] - 1.0, jnp.sign(x_t["code"]))
        logits = -8.0 * jnp.abs(value[..., None] - jnp.arange(-1.0, 2.0))
        return {"code": value, "tokens": logits}

    @bf.quick_jit
    def run(key: jax.Array) -> Drawn:
        return draw(walks, predict, keys_by_name(key, walks), shapes)

    found = run(KEY).x
    agree = np.mean(np.asarray(found["tokens"]) - 1.0 == np.asarray(found["code"]))
    assert agree > 0.99
    assert len(np.unique(found["tokens"])) > 1
    for grid in ("cosine", "geometric"):
        other = dict(walks, code=Gaussian(LEVELS).walk(options_of(steps=10, grid=grid)))
        with pytest.raises(ValueError, match="expected the same share"):
            draw(other, predict, keys_by_name(KEY, walks), shapes)


@pytest.mark.parametrize("changes", [dict(), dict(method="ddim", eta=0.5)], ids=str)
def test_all_but_the_last_step(changes: dict) -> None:
    """The same noise and places; what is left is the last step's inputs."""
    process = Gaussian(LEVELS)
    walk = process.walk(options_of(steps=4, **changes))
    before, last = walk.without_last()
    np.testing.assert_array_equal(before.times, walk.times[:3])
    assert int(last.time) == walk.times[-1] and float(last.sigma) == 0

    def run(walk: Any) -> Drawn:
        way = best(process, MEAN, VARIANCE), {"x": KEY}, {"x": (8, 3)}
        return bf.quick_jit(lambda: draw({"x": walk}, *way, canvases=True))()

    whole, part = run(walk), run(before)
    np.testing.assert_allclose(part.x["x"], whole.canvases["x"][2], rtol=1e-6)
    np.testing.assert_allclose(part.canvases["x"], whole.canvases["x"][:3], rtol=1e-6)
    # of one step nothing is left but the start
    alone, last = process.walk(options_of(steps=1, **changes)).without_last()
    start = jax.random.normal(jax.random.split(KEY, 3)[0], (8, 3))
    np.testing.assert_allclose(run(alone).x["x"], start, rtol=1e-6)
    assert int(last.time) == T


@pytest.mark.parametrize("begun", [False, True])
def test_rows_of_shared_noise_are_one_row(begun: bool) -> None:
    """Each is what a row alone is drawn as, from the prior or from an example."""
    process, options = Gaussian(LEVELS), options_of(steps=5)

    def run(rows: int, shared: bool) -> jax.Array:
        start = (jnp.full((rows, 3), 0.5), 20) if begun else None
        walk = process.walk(options, start, shared=shared)
        way = best(process, MEAN, VARIANCE), {"x": KEY}, {"x": (rows, 3)}
        return bf.quick_jit(lambda: draw({"x": walk}, *way).x["x"])()

    found = run(6, True)
    np.testing.assert_allclose(found, np.repeat(run(1, False), 6, axis=0), rtol=1e-5)
    assert len(np.unique(run(6, False), axis=0)) == 6


def test_gaussian_is_a_process() -> None:
    process = Gaussian(LEVELS)
    assert isinstance(process, Process) and isinstance(process.walk(options_of()), Walk)
    assert process.methods == ("ddpm", "ddim") and process.timesteps == T
    process.check(SamplingOptions(method="ddim"))  # the options of the config will do
    own = {"ddpm": ["variance"], "ddim": ["eta"]}
    for method, cls in GAUSSIAN_SAMPLERS.items():
        assert [field.name for field in dataclasses.fields(cls)] == own[method]
        assert built(cls, GaussianOptions()) == cls()
    settings = defaults()["sampling"]
    made = GaussianOptions.of({**settings, "eta": 0.5}, method="ddim", steps=3)
    assert made == GaussianOptions(method="ddim", steps=3, eta=0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(method="strided"), "sampling.method 'strided': choose one of ddpm, ddim"),
        (dict(steps=T + 1), r"steps = 41 does not fit method 'ddpm'.*choose 1\.\.40"),
        (dict(steps=0), "sampling.steps = 0"),
        (dict(grid="optimised"), "sampling.grid 'optimised': choose one of uniform"),
        (dict(method="ddim", eta=1.5), "sampling.eta = 1.5: choose 0 to 1"),
        (dict(method="ddim", eta=-0.1), "sampling.eta = -0.1"),
        (dict(variance="learned"), "sampling.variance 'learned': choose one of post"),
        (dict(temperature=0.9), "sampling.temperature = 0.9 is of tokens"),
        (dict(top_p=0.9), "sampling.top_p = 0.9 is of tokens"),
        (dict(top_k=5), "sampling.top_k = 5 is of tokens"),
    ],
)
def test_options_that_do_not_fit_are_refused(changes: dict, message: str) -> None:
    process = Gaussian(LEVELS)
    for ask in (process.check, process.walk):
        with pytest.raises(ValueError, match=message):
            ask(options_of(**changes))
