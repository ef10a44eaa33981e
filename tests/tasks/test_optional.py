"""A task with conditions that may be absent, on grids of any axes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.errors import UsageError
from cdcd_jax.networks import conditioners
from cdcd_jax.networks.array_conditioners import Array
from cdcd_jax.tasks import make_task
from cdcd_jax.tasks.target import target_of

ROWS = 16
CONDITIONS = dict(
    label=dict(kind="label", num_classes=10, optional=True),
    text=dict(kind="array", shape=(3, 12), optional=True),
)
TEXTS = np.random.default_rng(0).normal(size=(ROWS, 3, 12)).astype(np.float32)
SOME = np.arange(ROWS) % 3 > 0


def made(conditions: Any = CONDITIONS, **changes: Any) -> Any:
    """A task with these conditions, and sections laid over the tiny experiment."""
    config = tiny.settings(contrastive=dict(negatives="intra"))
    for section, values in changes.items():
        config[section] = {**config[section], **values}
    config["model"]["conditions"] = conditions
    return make_task(config)


@functools.cache
def two() -> tuple[Any, Any, Any]:
    """A task of two optional conditions, with parameters away from zero."""
    task = made()
    params, extra = task.init(jax.random.key(0))
    rng = np.random.default_rng(7)
    noisy = lambda p: p + (0.1 * rng.normal(size=p.shape)).astype(np.float32)
    return task, jax.tree.map(noisy, params), extra


def batch(**condition: Any) -> dict[str, Any]:
    return {"tokens": tiny.batch()["tokens"], "condition": condition}


LABELS = np.arange(ROWS, dtype=np.int32) % 10
BOTH = dict(label=LABELS, text=TEXTS)
PRESENT = {**BOTH, "text/present": SOME}


@functools.cache
def jitted() -> Any:
    task, _, extra = two()
    return jax.jit(
        lambda p, given: task.loss(p, extra, given, jax.random.key(2), 0)[:2]
    )


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, marks=pytest.mark.slow),
        dict(label=LABELS),
        pytest.param(PRESENT, marks=pytest.mark.slow),
    ],
)
def test_any_of_them_trains_and_samples(given: dict[str, Any]) -> None:
    task, params, extra = two()
    loss, metrics = jitted()(params, batch(**given))
    assert 0.5 < metrics["bound"] / np.log(17) < 4
    total = metrics["bound"] + metrics["auxiliary"] + 0.1 * metrics["contrastive"]
    assert float(loss) == pytest.approx(float(total), rel=1e-5)
    # where nothing is known, a negative is as likely as the sample
    assert (metrics["contrastive"] > 0) == bool(given)
    assert np.isfinite(metrics["nce_accuracy"]) == bool(given)
    options = SamplingOptions.of(task.settings["sampling"], guidance_scale=2.0)
    draw = lambda **more: task.sample(
        params, extra, given, jax.random.key(3), options, **more
    )
    tokens = draw(number=ROWS)["tokens"]
    assert tokens.shape == (ROWS, 64) and tokens.min() >= 0 and tokens.max() < 17
    if given:
        np.testing.assert_array_equal(draw()["tokens"], tokens)


def test_what_is_absent_does_not_matter() -> None:
    """Absent rows may hold anything, and a condition left out is absent in all."""
    _, params, _ = two()
    loss = lambda **given: jitted()(params, batch(**given))[0]
    other = np.where(SOME[:, None, None], TEXTS, 5.0).astype(np.float32)
    assert float(loss(**PRESENT)) == float(loss(**{**PRESENT, "text": other}))
    assert float(loss(**PRESENT)) != float(loss(**BOTH))
    nobody = {**BOTH, "text/present": np.zeros(ROWS, bool)}
    np.testing.assert_allclose(loss(**nobody), loss(label=LABELS), rtol=1e-6)


def test_the_bound_of_what_is_there() -> None:
    task, params, _ = two()
    found = [
        task.bound(params, [batch(**given)], jax.random.key(1)).terms
        for given in (dict(label=LABELS), BOTH, PRESENT)
    ]
    assert np.all(np.array(found) >= 0)
    np.testing.assert_allclose(found[2][SOME], found[1][SOME], rtol=1e-4)
    np.testing.assert_allclose(found[2][~SOME], found[0][~SOME], rtol=1e-4)
    assert np.abs(found[1] - found[0]).max() > 1e-3


def test_negatives_miss_what_their_example_misses() -> None:
    """Under path 'parallel' d of a negative does not change with what is absent."""
    contrast = dict(path="parallel", form="infonce", num_negatives=2)
    task = made(contrastive=dict(two()[0].settings["contrastive"], **contrast))
    _, params, extra = two()
    loss = jax.jit(lambda given: task.loss(params, extra, given, jax.random.key(2), 0))
    other = np.where(SOME[:, None, None], TEXTS, 5.0).astype(np.float32)
    here, there = (
        loss(batch(**{**PRESENT, "text": text}))[1] for text in (TEXTS, other)
    )
    assert float(here["contrastive"]) == float(there["contrastive"])


def test_a_condition_that_must_be_given() -> None:
    must = dict(CONDITIONS, label=dict(kind="label", num_classes=10))
    task = made(must)
    options = SamplingOptions.of(task.settings["sampling"])
    with pytest.raises(UsageError, match=r"Found.*\['text'\]; expected 'label'.*give"):
        task.sample(None, {}, dict(text=TEXTS), jax.random.key(0), options)


def test_a_negative_needs_the_condition_that_tells_it_apart() -> None:
    task = made(contrastive=dict(tiny.SETTINGS["contrastive"], negatives="inter"))
    negatives = lambda **given: task.contrast.negatives(
        jax.random.key(0), batch(**given)
    )
    assert negatives(label=LABELS)[0].shape == (ROWS, 3, 64)
    with pytest.raises(UsageError, match=r"Found.*without.*'label'.*expected.*take"):
        negatives(text=TEXTS)


@pytest.mark.slow
@pytest.mark.parametrize("grid", [(4, 4, 4), ((4, 4), (1, 48))])
def test_three_axes_and_grids_end_to_end(grid: Any) -> None:
    task = made(
        model=dict(grid=grid, mlp="fc"),
        contrastive=dict(weight=0.0, num_negatives=0),
    )
    assert task.length == 64 and task.describe()["outputs"]["tokens"]["grid"] == grid
    params, extra = task.init(jax.random.key(0))
    loss, _, _ = jax.jit(
        lambda p: task.loss(p, extra, batch(**BOTH), jax.random.key(2), 0)
    )(params)
    # twice log 17 on average: once for all tokens at t = 1, once at other times
    assert 0.5 < loss / np.log(17) < 4
    options = SamplingOptions.of(task.settings["sampling"], method="spread")
    found = task.sample(params, extra, BOTH, jax.random.key(3), options)
    assert found["tokens"].shape == (ROWS, 64)


@pytest.mark.parametrize(
    "model, contrast, says",
    [
        (dict(grid=(4, 4, 4), form="self"), {}, r"form = 'self'.*rows and columns"),
        (dict(grid=((4, 4), (4, 4)), mlp="conv"), {}, r"mlp = 'conv'.*two or three"),
        (dict(grid=(64,), mlp="conv"), {}, r"mlp = 'conv'.*two or three axes"),
        (
            dict(grid=(4, 4, 4)),
            dict(weight=0.1, num_negatives=3),
            r"'intra' on.*a grid \(H, W\)",
        ),
        (dict(grid=(4, 0)), {}, r"the grid \(4, 0\).*sizes of its axes"),
    ],
)
def test_what_cannot_go_over_a_grid(model: Any, contrast: Any, says: str) -> None:
    contrast = {**dict(weight=0.0, num_negatives=0, negatives="intra"), **contrast}
    with pytest.raises(UsageError, match=f"Found.*{says}"):
        made(model=model, contrastive=dict(tiny.SETTINGS["contrastive"], **contrast))


def test_sampling_says_what_it_compiles() -> None:
    task, params, _ = two()
    options = SamplingOptions.of(task.settings["sampling"], guidance_scale=2.0)
    draw, arguments = task.sampling(6, options)
    shapes = lambda tree: jax.tree.map(lambda a: (a.shape, a.dtype), tree)
    given, key = task.empty_condition(6), jax.random.key(3)
    assert shapes(arguments) == shapes((params, given, key))
    assert all(isinstance(a, jax.ShapeDtypeStruct) for a in jax.tree.leaves(arguments))
    found = draw.lower(*arguments).compile()(params, given, key).tokens
    expected = task.draw_batch(params, given, key, batch=6, options=options).tokens
    np.testing.assert_array_equal(found, expected)


class Halves(Array):
    """A kind of condition that the package does not have."""

    def __call__(self, array: jax.Array, drop: jax.Array) -> Any:
        return super().__call__(array / 2, drop)


def test_a_kind_of_condition_from_outside(monkeypatch: Any) -> None:
    monkeypatch.setitem(conditioners.KINDS, "halves", Halves)
    task = made(dict(text=dict(kind="halves", shape=(3, 12))))
    assert conditioners.gives_sequence(task.conditions["text"])
    assert task.empty_condition(2)["text"].dtype == jnp.float32
    params = task.init(jax.random.key(0))[0]
    drop = jnp.zeros(ROWS, bool)
    encode = lambda text: task.network.apply(
        {"params": params}, dict(text=text), drop, method="encode"
    )
    np.testing.assert_array_equal(encode(TEXTS).sequence, TEXTS / 2)


def test_the_target_of_a_batch() -> None:
    given = tiny.batch()
    assert target_of(given) is given["tokens"]
