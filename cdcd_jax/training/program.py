"""From a config to what runs: task, optimizer, mesh, state and step, and their cost.

Shapes of states and batches are known without computing them, so that a state is made
or read where it is to lie, and a step is compiled for devices that are not there.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from cdcd_jax.config.switches import with_attention, with_switches
from cdcd_jax.data.fields import map_fields
from cdcd_jax.errors import UsageError
from cdcd_jax.planning import flops
from cdcd_jax.runtime import sharding
from cdcd_jax.tasks import Task, make_task
from cdcd_jax.training.optimizer import make_optimizer
from cdcd_jax.training.step import (
    TrainState,
    init_state,
    loss_of_trained,
    make_train_step,
    split_frozen,
)


def build(config: Mapping[str, Any]) -> tuple[Task, Any]:
    """The task and the optimizer that a config describes.

    Raises:
        UsageError: settings that contradict each other or that do not exist.
    """
    size, number = config["data"]["batch_size"], config["optim"]["accumulate"]
    if size < 1 or number < 1 or size % number:
        raise UsageError(
            f"data.batch_size = {size} must be a positive multiple of optim.accumulate "
            f"= {number}: change one of both"
        )
    task = make_task(config)
    shapes = jax.eval_shape(task.init, jax.random.key(0))[0]
    return task, make_optimizer(config["optim"], task.labels(shapes))


def place(config: Mapping[str, Any], task: Task) -> Mesh:
    """The mesh of the config, on all devices.

    Raises:
        UsageError: it does not fit the devices or the batch, or parts rows that a
            contrast needs together.
    """
    rows = config["data"]["batch_size"] // config["optim"]["accumulate"]
    mesh = sharding.make_mesh(config["mesh"], rows)
    check_groups(config, task, mesh)
    return mesh


def check_groups(config: Mapping[str, Any], task: Task, mesh: Mesh) -> None:
    """Raises UsageError where a device would hold a part of a group of negatives."""
    rows = config["data"]["batch_size"] // config["optim"]["accumulate"]
    group, shards = task.describe()["group"], sharding.batch_shards(mesh)
    if rows // shards % group:
        raise UsageError(
            f"contrastive.group = {group} examples do not stay together: mesh data x "
            f"fsdp = {shards} devices hold {rows // shards} examples each. Set "
            "contrastive.group to a divisor of that, raise data.batch_size, or set "
            "mesh.data=1"
        )


# -- shapes ----------------------------------------------------------------------------


def abstract_state(task: Task, optimizer: Any, mesh: Mesh | None = None) -> TrainState:
    """Shapes, types and (given a mesh) places of the state, without computing it."""
    state = jax.eval_shape(lambda: init_state(task, optimizer, 0))
    return state if mesh is None else _placed(state, sharding.state_shardings, mesh)


def abstract_batch(
    config: Mapping[str, Any], task: Task, mesh: Mesh | None = None
) -> Any:
    """The same of a batch."""
    size = config["data"]["batch_size"]
    batch = map_fields(
        lambda field: jax.ShapeDtypeStruct((size, *field["shape"]), field["dtype"]),
        task.describe()["batch"],
    )
    return batch if mesh is None else _placed(batch, sharding.batch_shardings, mesh)


def _placed(abstract: Any, shardings: Callable, mesh: Mesh) -> Any:
    return jax.tree.map(
        lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
        abstract,
        shardings(abstract, mesh),
    )


# -- state and step --------------------------------------------------------------------


def new_state(task: Task, optimizer: Any, seed: int, mesh: Mesh) -> TrainState:
    """A fresh state, every array made where it is to lie."""
    shardings = sharding.state_shardings(abstract_state(task, optimizer), mesh)
    with sharding.use(mesh):
        return jax.jit(
            lambda: init_state(task, optimizer, seed), out_shardings=shardings
        )()


def jit_step(
    task: Task, optimizer: Any, config: Mapping[str, Any], mesh: Mesh
) -> jax.stages.Wrapped:
    """`make_train_step` for a mesh; call it inside `sharding.use(mesh)`.

    The old state is donated: its memory becomes the new one's.
    """
    shardings = sharding.state_shardings(abstract_state(task, optimizer), mesh)
    return jax.jit(
        make_train_step(task, optimizer, config),
        donate_argnums=0,
        out_shardings=(shardings, sharding.replicated(mesh)),
    )


def model_flops(config: Mapping[str, Any]) -> float:
    """FLOPs of the matrix products of one example's training: see `flops`."""
    size = config["data"]["batch_size"] // config["optim"]["accumulate"]
    small = {**config, "data": {**config["data"], "batch_size": size}}
    # fused kernels are opaque to the count
    task = make_task(with_attention(config, "xla"))
    params, extra = jax.eval_shape(task.init, jax.random.key(0))
    rest = extra, abstract_batch(small, task), jax.random.key(0), jnp.int32(0)
    if "frozen" not in jax.tree.leaves(task.labels(params)):
        return 3.0 * flops.matmul_flops(task.loss, params, *rest) / size
    # the gradient itself is counted, without what it would compute again
    task = make_task(with_switches(config, attention="xla", remat="none", head_chunk=0))
    gradient = jax.grad(lambda *args: loss_of_trained(task, *args)[:2], has_aux=True)
    return flops.matmul_flops(gradient, *split_frozen(task, params), *rest) / size
