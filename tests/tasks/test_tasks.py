"""The conditional task: every switch of the loss, sampling, evaluation, grouping."""

import functools
import itertools

import brute_force as bf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from cdcd_jax.config import merge
from cdcd_jax.diffusion import objective
from cdcd_jax.diffusion.mask_replace import MaskReplace
from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.tasks import conditional, make_task
from cdcd_jax.tasks.token_terms import bind


def noisy(params):
    """Away from the zero-initialised output, where all logits are equal."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [
        p + 0.1 * jax.random.normal(k, p.shape)
        for p, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(tree, moved)


def task_and_params(**changes):
    task = make_task(tiny.settings(**changes))
    params, extra = task.init(jax.random.key(0))
    return task, noisy(params), extra


SWITCHES = [
    dict(level=level, negatives=negatives, path=path, form=form, critic=critic)
    for level, negatives, path, (form, critic) in itertools.product(
        ("step", "sample"),
        ("intra", "inter", "both"),
        ("shared", "parallel"),
        (
            ("difference", "conditional"),
            ("difference_paper", "conditional"),
            ("infonce", "conditional"),
            ("infonce", "ratio"),
        ),
    )
]


@pytest.mark.slow
@pytest.mark.parametrize("switch", SWITCHES[::7])
def test_every_kind_of_contrast_gives_its_gradient(switch):
    """Along a random direction as the loss itself changes; see test_loss_values."""
    task, params, extra = task_and_params(contrastive=dict(weight=0.5, **switch))
    rng = np.random.default_rng(0)
    way = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), params)

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def along(size):
        moved = jax.tree.map(lambda p, d: p + size * d, params, way)
        loss, metrics, _ = task.loss(moved, extra, tiny.batch(), jax.random.key(2), 0)
        return loss, metrics

    (loss, metrics), slope = along(0.0)
    assert 0 <= metrics["nce_accuracy"] <= 1 and abs(metrics["contrastive"]) > 1e-3
    total = metrics["bound"] + metrics["auxiliary"] + 0.5 * metrics["contrastive"]
    np.testing.assert_allclose(loss, total, rtol=1e-5)
    above, below = along(5e-3)[0][0], along(-5e-3)[0][0]
    np.testing.assert_allclose(slope, (above - below) / 1e-2, rtol=0.05, atol=0.02)


@pytest.mark.parametrize(
    ("schedule", "form"),
    [
        ("vq_diffusion_released", "selfcondition"),
        ("vq_diffusion_paper", "modern"),
        ("absorbing_linear", "modern"),
        ("absorbing_cosine", "self"),
        ("uniform", "modern"),
    ],
)
def test_every_schedule_and_form_trains_and_samples(schedule, form, monkeypatch):
    task, params, extra = task_and_params(
        diffusion=dict(
            schedule=schedule,
            time_sampling="importance",
            auxiliary_weight=0.1,
            mask_weight=(1.0, 0.5),
        ),
        model=dict(
            form=form,
            mlp="conv" if form == "self" else "fc",
            condition_dropout=0.0,
            null_trained=True,
        ),
        contrastive=dict(weight=0.0, num_negatives=0),
    )
    params = jax.tree.map(lambda p: 2 * p, params)  # so that a label has a say
    drawn = []
    for where, name in ((objective, "sample_times"), (conditional, "sample_x_t")):
        real = getattr(where, name)
        keep = lambda *a, real=real: drawn.append(real(*a)) or drawn[-1]
        monkeypatch.setattr(where, name, keep)
    batch = tiny.batch()

    @bf.quick_jit
    def both(params):
        """The loss, and the same by `MaskReplace`, of the network as a whole."""
        drawn.clear()
        loss, metrics, after = task.loss(params, extra, batch, jax.random.key(2), 0)
        (t, _), x_t = drawn
        kept = jnp.zeros(16, bool)
        condition = batch["condition"]
        logits = task.network.apply({"params": params}, x_t, t, condition, kept)
        settings = task.diffusion
        process = MaskReplace(
            task.schedule,
            mask_weight=settings["mask_weight"],
            auxiliary_weight=settings["auxiliary_weight"],
            auxiliary_ramp=settings["auxiliary_ramp"],
        )
        terms = process.terms(logits, batch["tokens"], x_t, t)
        return loss, jnp.mean(terms.training) / 64, metrics, after["time_history"], t

    loss, expected, metrics, history, t = both(params)
    np.testing.assert_allclose(loss, expected, rtol=2e-5)
    np.testing.assert_allclose(loss, metrics["bound"] + metrics["auxiliary"], rtol=1e-5)
    np.testing.assert_array_equal(history.count, np.bincount(t - 1, minlength=10))

    options = SamplingOptions.of(task.settings["sampling"], guidance_scale=2.0)
    labels = np.arange(7)
    draw = lambda labels: task.sample(
        params, extra, {"label": labels}, jax.random.key(3), options
    )["tokens"]
    out, other = draw(labels), draw(np.where(labels == 3, 9, labels))
    assert out.shape == (7, 64) and out.min() >= 0 and out.max() < 17
    # a label is seen by its own row, and in the form that takes none by no row
    differ = (out != other).any(1)
    assert differ.tolist() == [i == 3 and form != "self" for i in range(7)]


def test_cross_attention_reads_a_sequence_and_its_null():
    conditions = dict(text=dict(kind="array", shape=(5, 12)))
    batch = {
        "tokens": tiny.batch()["tokens"],
        "condition": {"text": np.random.default_rng(0).normal(size=(16, 5, 12))},
    }
    for form in ("modern", "selfcross"):
        # a plain merge would keep the label of the tiny experiment
        config = tiny.settings()
        config["model"] |= dict(form=form, conditions=conditions)
        config["contrastive"] |= dict(key="text")
        task = make_task(config)
        params = noisy(task.init(jax.random.key(0))[0])
        apply = lambda text, drop, task=task, params=params: bind(
            task.network, params
        ).features(
            batch["tokens"],
            jnp.full(16, 3),
            {"text": text},
            jnp.full(16, drop),
        )
        text = jnp.asarray(batch["condition"]["text"], jnp.float32)
        seen, other = apply(text, False), apply(text[::-1], False)
        assert float(jnp.max(jnp.abs(seen - other))) > 1e-4
        null, same = apply(text, True), apply(text[::-1], True)
        np.testing.assert_allclose(null, same, atol=1e-6)


def test_losses_do_not_depend_on_the_number_of_groups_beside():
    """The first group's negatives are the same whatever else is in the batch."""
    task = make_task(
        tiny.settings(data=dict(batch_size=32), contrastive=dict(group=16))
    )
    batch = tiny.batch(32)
    negative, valid = task.contrast.negatives(jax.random.key(0), batch)
    first = {tuple(row) for row in batch["tokens"][:16]}
    assert {tuple(z) for z in np.asarray(negative[:16]).reshape(-1, 64)} <= first
    assert bool(valid.all())


def test_contrast_at_weight_zero_changes_nothing():
    results = []
    for change in (dict(weight=0.0), dict(weight=0.0, num_negatives=0)):
        task, params, extra = task_and_params(contrastive=change)
        loss = task.loss(params, extra, tiny.batch(), jax.random.key(2), 0)[0]
        results.append(float(loss))
    assert results[0] == pytest.approx(results[1], rel=1e-6)


def test_dropped_examples_are_left_out_of_the_contrast():
    task, params, extra = task_and_params(
        model=dict(condition_dropout=1.0), contrastive=dict(weight=0.0)
    )
    metrics = task.loss(params, extra, tiny.batch(), jax.random.key(2), 0)[1]
    assert float(metrics["contrastive"]) == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(metrics["nce_accuracy"])


def test_negatives_of_the_records():
    contrast = dict(inter_from="records", num_negatives=2)
    task = make_task(tiny.settings(contrastive=contrast))
    # each example brings its own, so that none need stay together
    assert task.describe()["negatives"] == 2 and task.describe()["group"] == 1
    batch = {**tiny.batch(), "negatives": np.zeros((16, 2, 64), np.int32)}
    negative, valid = task.contrast.negatives(jax.random.key(0), batch)
    assert negative.shape == (16, 2, 64) and int(negative.max()) == 0
    assert bool(valid.all())
    both = make_task(tiny.settings(contrastive={**contrast, "negatives": "both"}))
    negative, _ = both.contrast.negatives(jax.random.key(0), batch)
    assert negative.shape == (16, 4, 64) and int(negative[:, 2:].max()) == 0


def test_the_bound_of_a_uniform_model_is_that_of_ignorance():
    """All logits equal and no uniform noise: log2 K bits a token, at every t."""
    task = make_task(tiny.settings(diffusion=dict(schedule="absorbing_linear")))
    params = jax.tree.map(jnp.zeros_like, task.init(jax.random.key(0))[0])
    config = merge(task.settings, dict(eval=dict(bound_samples=10)))
    task = make_task(config)
    given = {"test": [tiny.batch(500)]}
    figures = task.evaluate(params, {}, given, jax.random.key(0))
    error = figures["bits_per_token/standard_error"]
    assert abs(figures["bits_per_token"] - np.log2(17)) < 4 * error
    assert figures["bits_per_token/n"] == 500


def test_one_network_serves_any_number_of_times():
    few = task_and_params(diffusion=dict(timesteps=10))
    many = task_and_params(diffusion=dict(timesteps=100))
    shapes = lambda params: jax.tree.map(jnp.shape, params)
    assert shapes(few[1]) == shapes(many[1])
    x_t, drop = tiny.batch()["tokens"], jnp.zeros(16, bool)
    condition = tiny.batch()["condition"]
    a = bind(few[0].network, few[1]).features(x_t, jnp.full(16, 5), condition, drop)
    b = bind(many[0].network, few[1]).features(x_t, jnp.full(16, 50), condition, drop)
    np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("remat", ["none", "full", "dots"])
def test_scanned_and_rematerialised_layers_are_the_same_network(remat):
    depth = dict(depth=2)
    plain, params, extra = task_and_params(model=depth)
    scanned = make_task(
        tiny.settings(model=dict(**depth, scan_layers=True, remat=remat))
    )
    network = dict(params["network"])
    blocks = [network.pop(f"blocks_{i}") for i in range(2)]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *blocks)
    packed = {**params, "network": {**network, "blocks": stacked}}
    losses = [
        t.loss(p, extra, tiny.batch(), jax.random.key(2), 0)[0]
        for t, p in ((plain, params), (scanned, packed))
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)
