"""Rows of a network evaluation as one weighted sum: guidance, ends, modalities."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.diffusion import sampler
from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.diffusion.schedule import make_schedule
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.denoiser import ConditionalDenoiser
from cdcd_jax.tasks import drawing
from cdcd_jax.tasks.drawing import Edit, Row

K, GRID, ROWS, T, E = 7, (2, 4), 3, 6, 4
SCHEDULE = make_schedule("vq_diffusion_paper", K, T)
OPTIONS = SamplingOptions(steps=4)
NETWORK = ConditionalDenoiser(
    dict(
        form="modern",
        num_codes=K,
        grid=GRID,
        width=8,
        depth=1,
        heads=2,
        mlp="fc",
        mlp_ratio=2,
        activation="gelu",
        timesteps=T,
        environment=E,
    ),
    dict(
        label=dict(kind="label", num_classes=4, optional=True),
        text=dict(kind="array", shape=(2, 6), optional=True),
    ),
)
DRAW = np.random.default_rng(0)
BOTH = dict(
    label=jnp.array([0, 1, 3]),
    text=jnp.asarray(DRAW.normal(size=(ROWS, 2, 6)), jnp.float32),
)
X_T = jnp.asarray(DRAW.integers(0, K + 1, (ROWS, 8)))
TIMES = jnp.array([6, 3, 1])


@functools.cache
def params() -> Any:
    drop = jnp.zeros(ROWS, bool)
    args = jax.random.key(0), X_T, TIMES, BOTH, drop
    shapes = jax.eval_shape(NETWORK.init, *args)["params"]
    rng = np.random.default_rng(7)
    draw = lambda a: (0.5 * rng.normal(size=a.shape)).astype(np.float32)
    return jax.tree.map(draw, shapes)


def log_p(condition: Any, drop: Any = False) -> jax.Array:
    """Of one condition, by itself and without kept keys."""
    drop = jax.tree.map(lambda gone: jnp.full(ROWS, gone), drop)
    logits = NETWORK.apply({"params": params()}, X_T, TIMES, condition, drop)
    return jax.nn.log_softmax(logits)


def law(monkeypatch: Any, options: SamplingOptions = OPTIONS, **given: Any) -> Any:
    """What `draw_batch` hands to the sampler, at X_T and TIMES."""
    seen = []

    def sample(tokens_to_logits: Any, *args: Any, **kwargs: Any) -> sampler.Sample:
        seen.append(tokens_to_logits(X_T, TIMES))
        return sampler.Sample(X_T, None)

    monkeypatch.setattr(sampler, "sample", sample)
    args = NETWORK, SCHEDULE, 8, params(), given.pop("condition", BOTH)
    drawing.draw_batch(*args, jax.random.key(0), **given, batch=ROWS, options=options)
    return seen[0]


def test_weights_sum_to_one() -> None:
    logits = jnp.asarray(DRAW.normal(size=(3, ROWS, 8, K)), jnp.float32)
    weights = jnp.array([[0.5, 2.0, -1.0], [0.0, 0.3, 4.0]])
    found = drawing.weighed(logits[0], list(zip(logits[1:], weights, strict=True)))
    p = jax.nn.log_softmax(logits)
    rest = (1.0 - weights.sum(0))[:, None, None]
    parts = weights[:, :, None, None] * p[1:]
    np.testing.assert_allclose(found, rest * p[0] + parts.sum(0), atol=1e-5)
    # what is added to the logits of a row says nothing
    moved = drawing.weighed(logits[0] + 3, [(logits[1] - 2, weights[0])])
    again = drawing.weighed(logits[0], [(logits[1], weights[0])])
    np.testing.assert_allclose(moved, again, atol=1e-5)


def test_guidance_is_that_sum_bit_for_bit() -> None:
    a, b = jnp.asarray(DRAW.normal(size=(2, ROWS, 8, K)), jnp.float32)
    scale = jnp.array([1.5, 0.0, 3.0])
    expected = sampler.guide(a, b, scale[:, None, None])
    np.testing.assert_array_equal(drawing.weighed(b, [(a, scale)]), expected)


def test_guided_and_between(monkeypatch: Any) -> None:
    other = {**BOTH, "label": jnp.array([2, 2, 2])}
    weight = jnp.array([0.0, 0.4, 1.0])
    w = weight[:, None, None]
    mixed = (1 - w) * log_p(BOTH) + w * log_p(other)
    null = log_p(BOTH, True)
    close = functools.partial(np.testing.assert_allclose, atol=2e-5)
    norm = jax.nn.log_softmax
    close(norm(law(monkeypatch)), log_p(BOTH))
    close(norm(law(monkeypatch, toward=(other, weight))), norm(mixed))
    guided = dataclasses.replace(OPTIONS, guidance_scale=2.5)
    found = law(monkeypatch, guided, toward=(other, weight))
    close(norm(found), norm(null + 2.5 * (norm(mixed) - null)))


def test_a_scale_for_each_modality(monkeypatch: Any) -> None:
    """log p(0) + s_1 (log p(c_1) - log p(0)) + s_2 (log p(c_2) - log p(0))."""
    scales = dict(text=jnp.array([2.0, -1.0, 0.0]), label=jnp.array([1.0, 3.0, 0.0]))
    null = log_p(BOTH, True)
    expected = null
    for name, other in (("text", "label"), ("label", "text")):
        own = log_p(BOTH, {other: True}) - null
        expected = expected + scales[name][:, None, None] * own
    found = law(monkeypatch, scales=scales)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    # with scales of nought the null is left
    np.testing.assert_allclose(found[2], null[2], atol=2e-5)
    assert drawing.rows_of_an_example(OPTIONS, Edit(scales=scales)) == 3
    toward = Edit(scales=scales, toward=(BOTH, np.ones(ROWS)))
    assert drawing.rows_of_an_example(OPTIONS, toward) == 5
    # by itself a modality is as guided as by the one scale
    alone = dict(label=BOTH["label"])
    by_name = law(monkeypatch, condition=alone, scales=dict(label=jnp.full(ROWS, 2.0)))
    guided = dataclasses.replace(OPTIONS, guidance_scale=2.0)
    np.testing.assert_allclose(
        by_name, law(monkeypatch, guided, condition=alone), atol=2e-5
    )


def test_what_is_left_out_is_as_if_dropped(monkeypatch: Any) -> None:
    found = jax.nn.log_softmax(law(monkeypatch, condition=dict(text=BOTH["text"])))
    np.testing.assert_allclose(found, log_p(BOTH, {"label": True}), atol=2e-5)
    here = jnp.array([True, False, True])
    found = jax.nn.log_softmax(
        law(monkeypatch, condition={**BOTH, "label/present": here})
    )
    expected = jnp.where(here[:, None, None], log_p(BOTH), log_p(BOTH, {"label": True}))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_row_sees_the_environment_if_it_says_so() -> None:
    rows = [Row(BOTH, True), Row(BOTH), Row(BOTH, environment=True)]
    logits_of = drawing.logits_under(NETWORK, params(), rows, 8, ROWS)
    beside = jnp.asarray(DRAW.normal(size=(ROWS, 5, E)), jnp.float32)
    without, found = logits_of(X_T, TIMES), logits_of(X_T, TIMES, beside)
    for i in range(2):
        np.testing.assert_allclose(found[i], without[i], atol=2e-5)
    assert np.abs(found[2] - without[2]).max() > 1e-2
    # of each step anew
    other = logits_of(X_T, TIMES, -beside)
    assert np.abs(found[2] - other[2]).max() > 1e-2


def test_batches_ask_for_what_they_need() -> None:
    batches = functools.partial(
        drawing.in_batches, None, NETWORK.conditions, key=None, most=4
    )
    with pytest.raises(UsageError, match=r"no number.*expected.*say how many"):
        batches(condition={}, number=None, edit=drawing.NO_EDIT)
    with pytest.raises(UsageError, match=r"scales of \['sound'\]; expected.*leave"):
        batches(condition={}, number=2, edit=Edit(scales={"sound": np.ones(2)}))


@pytest.mark.parametrize("schedule", ["constant", "rising", "falling"])
def test_guidance_rises_or_falls_on_the_way(schedule: str, monkeypatch: Any) -> None:
    """From the null through the condition; by the share that is still masked."""
    changes = dict(guidance_scale=3.0, guidance_schedule=schedule)
    found = law(monkeypatch, dataclasses.replace(OPTIONS, **changes))
    # the paper's schedule masks 0.9 t / T: of T's masks the share t / T is left
    left = np.array([6, 3, 1]) / T
    strength = dict(constant=np.ones(3), rising=1 - left, falling=left)[schedule]
    scale = (1 + 2 * strength)[:, None, None]
    null = log_p(BOTH, True)
    expected = null + scale * (log_p(BOTH) - null)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.abs(found - log_p(BOTH)).max() > 0.1 or schedule == "rising"


@pytest.mark.parametrize("named", [False, True])
def test_what_is_drawn_goes_the_way_of_its_condition(
    named: bool, monkeypatch: Any
) -> None:
    """A label that makes its own code likelier: the more, the more it is followed."""
    own = jnp.array([0, 1, 2, 3])

    def logits_under(network, params, rows, length, batch) -> Any:
        def said(row: Any) -> jax.Array:
            gone = row.drop["label"] if isinstance(row.drop, dict) else row.drop
            code = jax.nn.one_hot(row.condition["label"], K)[:, None]
            return jnp.zeros((batch, length, K)) + (0.0 if gone else 1.5) * code

        return lambda x_t, t: [said(row) for row in rows]

    monkeypatch.setattr(drawing, "logits_under", logits_under)
    shares = []
    for scale in (-2.0, 1.0, 4.0):
        options, given = SamplingOptions(steps=6), {}
        if named:
            given["scales"] = dict(label=jnp.full(4, scale))
        else:
            options = dataclasses.replace(options, guidance_scale=scale)
        args = NETWORK, SCHEDULE, 200, params(), dict(label=own), jax.random.key(1)
        drawn = drawing.draw_batch(*args, batch=4, options=options, **given)
        shares.append(np.mean(drawn.tokens == own[:, None]))
        # softmax of 1.5 scale at one of K codes; T's uniform share is not guided
        p = np.exp(1.5 * scale) / (np.exp(1.5 * scale) + K - 1)
        assert abs(shares[-1] - p) < 0.05
    assert shares[0] < 0.05 < shares[1] < 0.9 < shares[2]
