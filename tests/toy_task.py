"""A task that is not the package's own: three products in a row, on any batch."""

import jax
import jax.numpy as jnp

from cdcd_jax.tasks.labels import labels_by_prefix
from cdcd_jax.training.program import build
from cdcd_jax.training.step import init_state, make_train_step

SIZE = 4  # features of an example
PRODUCT = 2 * SIZE * SIZE  # FLOPs of one product with the weights, an example


class Toy:
    """tower, middle and head; `model` says what is frozen and where gradients stop."""

    def __init__(self, config):
        self.model = config["model"]

    def init(self, key):
        names = ("tower", "middle", "head")
        keys = jax.random.split(key, len(names))
        weights = {
            name: {"w": jax.random.normal(own, (SIZE, SIZE))}
            for name, own in zip(names, keys, strict=True)
        }
        return weights, {"seen": jnp.zeros((), jnp.int32)}

    def loss(self, params, extra, batch, key, step):
        del key, step
        x = batch["x"] @ params["tower"]["w"]
        if self.model["stop"]:
            x = jax.lax.stop_gradient(x)
        else:
            x = jnp.tanh(x @ params["middle"]["w"])
        loss = jnp.mean(jnp.square(x @ params["head"]["w"]))
        return loss, {"size": loss}, {"seen": extra["seen"] + len(x)}

    def labels(self, params):
        return labels_by_prefix(params, dict.fromkeys(self.model["frozen"], "frozen"))

    def describe(self):
        return {
            "conditions": {},
            "outputs": {"x": dict(kind="vector", shape=(SIZE,))},
            "batch": {"x": dict(shape=(SIZE,), dtype="float32")},
            "units": 3,
            "group": 1,
            "negatives": 0,
            "given": [],
            "kept": [],
        }


def made(config):
    """Task, jitted step and fresh state of a config that names it."""
    task, optimizer = build(config)
    step = jax.jit(make_train_step(task, optimizer, config))
    return task, step, init_state(task, optimizer, config["seed"])
