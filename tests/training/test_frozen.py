"""Frozen parts cost neither gradient nor average, and their FLOPs are counted so."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
import toy_task
from toy_task import PRODUCT, SIZE, Toy

from cdcd_jax.errors import UsageError
from cdcd_jax.runtime.checkpoint import Checkpoints
from cdcd_jax.tasks import TASKS
from cdcd_jax.tasks.labels import labels_by_prefix
from cdcd_jax.training.program import model_flops
from cdcd_jax.training.step import join_frozen, split_frozen


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(TASKS, "toy", Toy)


def settings(frozen=(), stop=False, accumulate=1):
    config = tiny.settings(optim=dict(accumulate=accumulate, warmup_steps=0))
    return {**config, "task": "toy", "model": dict(frozen=frozen, stop=stop)}


def batch(seed=0):
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((16, SIZE), dtype=np.float32)}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_frozen_leaves_leave_the_step_as_they_came(accumulate):
    _, step, state = toy_task.made(settings(["middle"], accumulate=accumulate))
    # an average apart from its parameter: a frozen one does not go towards it
    averages = jax.tree.map(lambda a: a + 0.1, state.params)
    new = step(state.replace(ema_params=averages), batch())[0]
    for before, after in ((state.params, new.params), (averages, new.ema_params)):
        same = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), before, after)
        assert same == {k: {"w": k == "middle"} for k in ("tower", "middle", "head")}
    assert jax.tree.structure(new) == jax.tree.structure(state)
    assert int(new.extra["seen"]) == 16


def test_norms_are_of_what_is_trained():
    task, step, state = toy_task.made(settings(["middle"]))
    whole = jax.grad(lambda p: task.loss(p, state.extra, batch(), None, 0)[0])
    grads = jax.jit(whole)(state.params)
    metrics = step(state, batch())[1]
    expected = optax.tree.norm([grads["tower"], grads["head"]])
    np.testing.assert_allclose(metrics["grad_norm"], expected, rtol=1e-6)
    assert float(metrics["grad_norm"]) < float(optax.tree.norm(grads))


def test_a_step_without_frozen_parts_is_the_plain_one():
    """Bit for bit, on parameters, averages and optimizer."""
    task, step, state = toy_task.made(settings())
    optimizer = toy_task.build(settings())[1]

    @jax.jit
    def plain(state, batch):
        loss = lambda p: task.loss(p, state.extra, batch, None, 0)[0]
        value, grads = jax.value_and_grad(loss)(state.params)
        updates, opt_state = optimizer.update(
            grads, state.opt_state, state.params, value=value
        )
        params = optax.apply_updates(state.params, updates)
        decay = jnp.minimum(0.999, 2 / (11 + 0 * state.step))
        ema = optax.incremental_update(params, state.ema_params, 1 - decay)
        return params, ema, opt_state

    new = step(state, batch())[0]
    found = new.params, new.ema_params, new.opt_state
    jax.tree.map(np.testing.assert_array_equal, found, plain(state, batch()))


def test_a_checkpoint_of_a_model_with_frozen_parts_is_read_again(tmp_path):
    _, step, state = toy_task.made(settings(["tower"], stop=True))
    state = step(state, batch())[0]
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        _, found = checkpoints.restore(state)
    jax.tree.map(np.testing.assert_array_equal, found, state)
    # the moments are of what is trained
    shapes = [a.shape for a in jax.tree.leaves(found.opt_state)]
    assert shapes.count((SIZE, SIZE)) == 2 * 2


def test_a_tree_is_split_and_joined():
    params = {"a": {"b": jnp.ones(2), "c": jnp.ones(3)}, "d": jnp.ones(1)}

    class Task:
        def labels(self, params):
            return labels_by_prefix(params, {"a/b": "frozen"})

    trained, frozen = split_frozen(Task(), params)
    assert [a.shape for a in jax.tree.leaves(trained)] == [(3,), (1,)]
    assert [a.shape for a in jax.tree.leaves(frozen)] == [(2,)]
    whole = join_frozen(trained, frozen)
    assert jax.tree.structure(whole) == jax.tree.structure(params)


def test_the_longest_prefix_labels_a_parameter():
    params = {"a": {"b": {"c": 1, "d": 2}, "bc": 3}, "e": {"f": 4}}
    table = {"a/b": "frozen", "a/b/d": "train", "e": "discriminator"}
    assert labels_by_prefix(params, table) == {
        "a": {"b": {"c": "frozen", "d": "train"}, "bc": "train"},
        "e": {"f": "discriminator"},
    }
    with pytest.raises(UsageError, match="a/x"):
        labels_by_prefix(params, {"a/x": "frozen"})


@pytest.mark.parametrize(
    ("frozen", "stop", "products"),
    [
        ((), False, 3 * 3),
        (["tower"], True, 1 + 2),  # behind it, the head's input is not trained
        (["middle"], False, 2 + 2 + 3),  # the first product has no input to train
        (["tower"], False, 1 + 2 + 3),
        (["head"], False, 2 + 3 + 2),
    ],
)
def test_products_of_frozen_parts_count_less(frozen, stop, products):
    unused = ["middle"] if stop else []
    config = settings([*frozen, *unused], stop)
    assert model_flops(config) == products * PRODUCT
    config = settings([*frozen, *unused], stop, accumulate=2)
    assert model_flops(config) == products * PRODUCT


def test_recomputation_of_a_model_with_a_frozen_tower_is_not_counted():
    def flops(**model):
        config = tiny.settings(contrastive=dict(key="text"))
        text = dict(kind="text", shape=(5,), vocabulary=9, depth=1, heads=2)
        config["model"] |= dict(conditions=dict(text=dict(text, frozen=True)))
        config["model"] |= dict(depth=2, **model)
        return model_flops(config)

    expected = flops()
    for model in (
        dict(scan_layers=True),
        dict(scan_layers=True, remat="full"),
        dict(head_chunk=16),
        dict(attention="splash"),
    ):
        assert flops(**model) == expected
