"""One update of the parameters, as a pure function of state and batch.

What the task labels 'frozen' is no argument of the gradient: neither its gradient nor
its average is computed, and both its copies leave the step as they came.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from cdcd_jax.errors import UsageError
from cdcd_jax.training.optimizer import learning_rate


class TrainState(flax.struct.PyTreeNode):
    """All that changes during training."""

    step: jax.Array  # int32 [], updates done
    params: Any
    ema_params: Any
    opt_state: Any
    extra: Any  # the task's state that is not trained


def init_state(task: Any, optimizer: Any, seed: int) -> TrainState:
    """A fresh state; the parameters depend on the seed alone."""
    params, extra = task.init(jax.random.key(seed))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        ema_params=jax.tree.map(jnp.copy, params),
        opt_state=optimizer.init(params),
        extra=extra,
    )


def split_frozen(task: Any, params: Any) -> tuple[Any, Any]:
    """(trained, frozen): `params` twice, with None for the leaves of the other part."""
    labels = task.labels(params)
    only = lambda keep: jax.tree.map(
        lambda label, a: a if (label == "frozen") == keep else None, labels, params
    )
    return only(False), only(True)


def join_frozen(trained: Any, frozen: Any) -> Any:
    """The whole tree again; see `split_frozen`."""
    return jax.tree.map(
        lambda a, b: b if a is None else a,
        trained,
        frozen,
        is_leaf=lambda leaf: leaf is None,
    )


def loss_of_trained(task: Any, trained: Any, frozen: Any, *args: Any) -> tuple:
    """`task.loss`, to be differentiated by `trained`: (loss, metrics, extra)."""
    return task.loss(join_frozen(trained, frozen), *args)


def split_microbatches(batch: Any, number: int) -> Any:
    """[B, ...] -> [number, B / number, ...], strided: microbatch i holds i, i + n, ...

    A contiguous split of a batch that is sharded over devices would gather it.
    """
    return jax.tree.map(
        lambda a: a.reshape(a.shape[0] // number, number, *a.shape[1:]).swapaxes(0, 1),
        batch,
    )


def make_train_step(
    task: Any, optimizer: Any, config: Mapping[str, Any]
) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]:
    """One update, (state, batch) -> (state, metrics), for `jax.jit` with donation."""
    optim, seed = config["optim"], config["seed"]
    number = optim["accumulate"]
    rate = learning_rate(optim)
    value_and_grad = jax.value_and_grad(
        lambda *args: _with_aux(loss_of_trained(task, *args)), has_aux=True
    )

    def train_step(state: TrainState, batch: Any):
        # a stream of its own, apart from that of the initialisation
        base = jax.random.fold_in(jax.random.key(seed), 1)
        key = jax.random.fold_in(base, state.step)
        trained, frozen = split_frozen(task, state.params)
        ema, frozen_ema = split_frozen(task, state.ema_params)

        def accumulate(extra, inputs):
            microbatch, i = inputs
            own = jax.random.fold_in(key, i)
            (_, (metrics, extra)), grads = value_and_grad(
                trained, frozen, extra, microbatch, own, state.step
            )
            return extra, (grads, metrics)

        inputs = (split_microbatches(batch, number), jnp.arange(number))
        if number == 1:
            one = jax.tree.map(lambda a: a[0], inputs)
            extra, (grads, metrics) = accumulate(state.extra, one)
        else:
            grads, metrics, extra = _scan_mean(accumulate, state.extra, inputs, number)
        watched = optim["plateau"]["metric"]
        if watched not in metrics:
            raise UsageError(
                f"optim.plateau.metric = {watched!r} is unknown: choose one of "
                f"{', '.join(metrics)}"
            )
        value = metrics[watched]
        updates, opt_state = optimizer.update(
            grads, state.opt_state, trained, value=value
        )
        trained = optax.apply_updates(trained, updates)
        # averages over the run so far until that is longer than the decay's memory
        step = state.step + 1
        decay = jnp.minimum(optim["ema_decay"], (1 + step) / (10 + step))
        ema = optax.incremental_update(trained, ema, 1 - decay)
        params = join_frozen(trained, frozen)
        metrics = {
            **metrics,
            "learning_rate": rate(state.step),
            "grad_norm": optax.tree.norm(grads),
            "param_norm": optax.tree.norm(params),
            "update_norm": optax.tree.norm(updates),
        }
        ema_params = join_frozen(ema, frozen_ema)
        return TrainState(step, params, ema_params, opt_state, extra), metrics

    return train_step


def _with_aux(result: tuple) -> tuple:
    loss, metrics, extra = result
    return loss, ({"loss": loss, **metrics}, extra)


def _scan_mean(accumulate: Callable, extra: Any, inputs: Any, number: int) -> tuple:
    """Runs the microbatches in a scan and averages gradients and metrics."""
    first = jax.tree.map(lambda a: a[0], inputs)
    shapes = jax.eval_shape(accumulate, extra, first)[1]
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def body(carry, xs):
        extra, total = carry
        extra, new = accumulate(extra, xs)
        return (extra, jax.tree.map(jnp.add, total, new)), None

    (extra, total), _ = jax.lax.scan(body, (extra, zeros), inputs)
    grads, metrics = jax.tree.map(lambda a: a / number, total)
    return grads, metrics, extra
