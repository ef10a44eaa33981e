"""One update by hand: gradients of microbatches, what follows the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from toy_task import SIZE, Toy

from cdcd_jax.training.optimizer import make_optimizer
from cdcd_jax.training.step import init_state, make_train_step

BATCH = {"x": np.random.default_rng(0).normal(size=(12, SIZE)).astype(np.float32)}


class Noisy(Toy):
    """The toy, whose loss weighs each example by the key and by what was seen."""

    def loss(self, params, extra, batch, key, step):
        loss, _, after = super().loss(params, extra, batch, key, step)
        scale = 1.0 + jax.random.uniform(key) + extra["seen"]
        return scale * loss, {"size": scale * loss}, after


def config_of(**optim):
    plain = dict(warmup_steps=0, schedule="constant", learning_rate=0.01)
    return tiny.settings(
        optim={**plain, "plateau": dict(metric="size"), **optim}, seed=3
    ) | {"model": dict(frozen=(), stop=False)}


@pytest.mark.parametrize("number", [1, 3])
def test_gradients_of_microbatches_are_averaged(number):
    """Under plain descent by one the update is the gradient itself."""
    config = config_of(accumulate=number)
    task, plain = Noisy(config), optax.with_extra_args_support(optax.sgd(1.0))
    state = init_state(task, plain, config["seed"])
    after, metrics = make_train_step(task, plain, config)(state, BATCH)

    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(3), 1), 0)
    extra, found = state.extra, []
    for i in range(number):
        part, own = {"x": BATCH["x"][i::number]}, jax.random.fold_in(key, i)
        value = lambda p, *rest: task.loss(p, *rest, 0)[0]
        args = state.params, extra, part, own
        found.append(jax.value_and_grad(value)(*args))
        extra = task.loss(*args, 0)[2]
    losses, grads = zip(*found, strict=True)
    mean = jax.tree.map(lambda *g: sum(g) / number, *grads)
    moved = jax.tree.map(lambda a, b: a - b, state.params, after.params)
    assert tiny.max_difference(moved, mean) < 1e-5 * float(optax.tree.norm(mean))
    np.testing.assert_allclose(metrics["loss"], np.mean(losses), rtol=1e-5)
    np.testing.assert_allclose(metrics["grad_norm"], optax.tree.norm(mean), rtol=1e-5)
    assert int(after.extra["seen"]) == 12 and int(after.step) == 1
    if number > 1:  # the parts differ, else nothing is shown
        assert np.std(losses) > 0.1 * np.mean(losses)


def test_steps_and_seeds_have_noise_of_their_own():
    """What is drawn is told by the loss, which is linear in it."""
    losses = []
    for seed in (3, 4):
        config = config_of(learning_rate=1e-12) | {"seed": seed}
        task = Noisy(config)
        optimizer = optax.with_extra_args_support(optax.sgd(0.0))
        state = init_state(task, optimizer, 3)
        step = make_train_step(task, optimizer, config)
        for n in range(3):
            state = state.replace(step=jnp.asarray(n), extra={"seen": jnp.zeros(())})
            losses.append(float(step(state, BATCH)[1]["loss"]))
    assert len(set(losses)) == 6


def test_a_batch_in_parts_is_the_batch():
    """Where neither key nor history matters, as far as numbers go."""
    found = []
    for number in (1, 4):
        config = config_of(accumulate=number)
        task = Toy(config)
        plain = optax.with_extra_args_support(optax.sgd(1.0))
        state = init_state(task, plain, config["seed"])
        found.append(make_train_step(task, plain, config)(state, BATCH)[0].params)
    assert tiny.max_difference(*found) < 1e-4


def test_averages_follow_over_several_steps():
    config = config_of(ema_decay=0.25)
    task = Toy(config)
    optimizer = make_optimizer(
        config["optim"], task.labels(task.init(jax.random.key(0))[0])
    )
    state = init_state(task, optimizer, config["seed"])
    step, ema = jax.jit(make_train_step(task, optimizer, config)), state.params
    for n in range(1, 5):
        state, _ = step(state, BATCH)
        decay = min(0.25, (1 + n) / (10 + n))
        ema = jax.tree.map(lambda a, b, d=decay: d * a + (1 - d) * b, ema, state.params)
        assert tiny.max_difference(ema, state.ema_params) < 1e-6
    assert decay == 0.25  # and before that less


def test_the_first_update_of_adamw_by_hand():
    """Clipped, then of size one; decay adds to what has two axes."""
    grads = {"w": jnp.full((2, 2), 3.0), "bias": jnp.full(2, -4.0)}
    params = jax.tree.map(jnp.ones_like, grads)
    settings = dict(learning_rate=0.1, weight_decay=0.5, clip_norm=1e-6)
    optim = config_of(**settings)["optim"]
    optimizer = make_optimizer(optim, {"w": "train", "bias": "train"})
    found, _ = optimizer.update(grads, optimizer.init(params), params, value=1.0)
    # optax adds 1e-8 to the root of the second moment
    small = {"w": 3e-6 / 68**0.5, "bias": -4e-6 / 68**0.5}
    size = {name: g / (abs(g) + 1e-8) for name, g in small.items()}
    np.testing.assert_allclose(found["w"], -0.1 * (size["w"] + 0.5), rtol=1e-4)
    np.testing.assert_allclose(found["bias"], -0.1 * size["bias"], rtol=1e-4)
