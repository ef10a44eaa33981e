"""Our side of `torch_peer.py`: training step, loss and sampling as cases."""

import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import measure
import numpy as np
from peer_shapes import Shape, sections
from peer_worker import Case, serve

from cdcd_jax.config import experiment, merge
from cdcd_jax.diffusion import objective
from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.networks import attention
from cdcd_jax.planning.flops import matmul_flops
from cdcd_jax.runtime import sharding
from cdcd_jax.training import program


def config_of(
    shape: Shape, negatives: int = 0, changes: dict | None = None, **more: Any
) -> dict[str, Any]:
    """Our config of the same experiment."""
    return merge(experiment(**sections(shape, negatives, **more)), changes or {})


def random_batch(shape: Shape, batch: int) -> dict[str, Any]:
    """Tokens [B, L] and condition."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(shape.num_codes, size=(batch, shape.length)).astype(np.int32)
    if shape.num_classes:
        label = rng.integers(shape.num_classes, size=batch).astype(np.int32)
        condition = {"label": label}
    else:
        drawn = rng.standard_normal((batch, *shape.sequence)).astype(np.float32)
        condition = {"text": drawn}
    return {"tokens": tokens, "condition": condition}


def attention_of(compiled: Any, shape: Shape) -> str:
    """Which attention is in the program; fused kernels leave their mark in its text."""
    marks = {"fmha": "cudnn", "splash": "splash"}
    text = compiled.as_text()
    fused = ", ".join(name for mark, name in marks.items() if mark in text)
    dtype, size = jnp.dtype(shape.dtype), shape.width // shape.heads
    asked = attention.chosen("auto", dtype, size, shape.length, shape.length)
    return fused or ("turns" if asked == "turns" else "xla")


def repeated(call: Callable[[], Any]) -> Callable[[int], None]:
    """`run` of a case."""

    def run(number: int) -> None:
        for _ in range(number):
            result = call()
        jax.block_until_ready(result)

    return run


# -- cases -----------------------------------------------------------------------------


def step_case(shape: Shape, negatives: int, changes: dict) -> Case:
    """A whole training step on one batch that lies on the device."""
    config = config_of(shape, negatives, changes)
    task, optimizer = program.build(config)
    mesh = program.place(config, task)
    state = program.new_state(task, optimizer, 0, mesh)
    batch = sharding.put_batch(random_batch(shape, shape.batch), mesh, shape.batch)
    with sharding.use(mesh):
        step = program.jit_step(task, optimizer, config, mesh)
        step = step.lower(state, batch).compile()

    def call() -> Any:
        nonlocal state
        state, metrics = step(state, batch)
        return metrics

    return Case(repeated(call), {"attention": attention_of(step, shape)})


def loss_of_logits(task: Any) -> Callable:
    """(logits, x_t, z [B, 1 + N, L], t) -> the task's loss, nats a token."""
    contrast, diffusion = task.contrast, task.diffusion
    # logits stand for features
    network = types.SimpleNamespace(head=lambda _, logits: logits, head_params=())
    timesteps = task.schedule.timesteps

    def loss(logits, x_t, z, t):
        d = contrast.divergences(network, logits, z, x_t, t)
        scale = timesteps / task.length
        ramp = objective.ramp(t, timesteps, diffusion["auxiliary_ramp"])
        weight = diffusion["auxiliary_weight"] * ramp
        total = jnp.mean(scale * (d.step[:, 0] + weight * d.sample[:, 0]))
        if z.shape[1] == 1:
            return total
        valid = jnp.ones((z.shape[0], z.shape[1] - 1), bool)
        term = contrast.term(d.step, valid, t, jnp.full(t.shape, 1.0 / timesteps))
        return total + contrast.settings["weight"] * jnp.mean(term)

    return loss


def random_inputs(shape: Shape, negatives: int) -> dict[str, np.ndarray]:
    """Logits, x_t, z and t, in the order of `loss_of_logits`."""
    rng = np.random.default_rng(0)
    size, length, codes = shape.batch, shape.length, shape.num_codes
    z = rng.integers(codes, size=(size, 1 + negatives, length)).astype(np.int32)
    t = np.linspace(1, shape.timesteps, size).astype(np.int32)
    masked = rng.random((size, length)) < t[:, None] / shape.timesteps
    other = rng.integers(codes, size=(size, length))
    # some negatives agree with the sample, some of x_t do not
    z[:, 1:, ::3] = z[:, :1, ::3]
    code = np.where(np.arange(length) % 5, z[:, 0], other)
    x_t = np.where(masked, codes, code)
    logits = rng.standard_normal((size, length, codes)).astype(np.float32)
    return dict(logits=logits, x_t=x_t.astype(np.int32), z=z, t=t)


def loss_case(shape: Shape, negatives: int, changes: dict) -> Case:
    """Loss and its gradient with respect to the logits."""
    task, _ = program.build(config_of(shape, negatives, changes))
    arrays = jax.device_put(tuple(random_inputs(shape, negatives).values()))
    function = jax.jit(jax.value_and_grad(loss_of_logits(task)))
    function = function.lower(*arrays).compile()
    return Case(repeated(lambda: function(*arrays)), {})


def sample_case(shape: Shape, batch: int, steps: int, changes: dict) -> Case:
    """A batch of samples, one program for all steps."""
    config = config_of(shape, 0, changes, steps=steps)
    task, optimizer = program.build(config)
    mesh = program.place(config, task)
    params = program.new_state(task, optimizer, 0, mesh).params
    condition = jax.device_put(random_batch(shape, batch)["condition"])
    settings = dict(batch=batch, options=SamplingOptions.of(config["sampling"]))
    key = jax.random.key(0)
    with sharding.use(mesh):
        compiled = task.draw_batch.lower(params, condition, key, **settings).compile()
    return Case(
        repeated(lambda: compiled(params, condition, key)),
        {"attention": attention_of(compiled, shape)},
    )


# -- questions -------------------------------------------------------------------------


def given_loss(shape: Shape, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Loss and gradient for given logits, x_t, z and t."""
    task, _ = program.build(config_of(shape, arrays["z"].shape[1] - 1))
    loss, gradient = jax.value_and_grad(loss_of_logits(task))(
        *(jnp.asarray(arrays[name]) for name in ("logits", "x_t", "z", "t"))
    )
    return {"loss": np.asarray(loss), "gradient": np.asarray(gradient)}


def counts(shape: Shape) -> dict[str, float]:
    """Parameters, and FLOPs of the network's forward pass of one example."""
    task, optimizer = program.build(
        config_of(shape, 0, dict(model=dict(attention="xla")))
    )
    params = program.abstract_state(task, optimizer).params
    integers = lambda *size: jax.ShapeDtypeStruct((1, *size), jnp.int32)
    condition = jax.eval_shape(lambda: task.empty_condition(1))
    drop = jax.ShapeDtypeStruct((1,), bool)

    def forward(params, x_t, t, condition, drop):
        return task.network.apply({"params": params}, x_t, t, condition, drop)

    x_t, t = integers(shape.length), integers()
    flops = matmul_flops(forward, params, x_t, t, condition, drop)
    parameters = sum(p.size for p in jax.tree.leaves(params))
    return {"flops": flops, "parameters": parameters}


def main(connection: Any, threads: int) -> None:
    """The process."""
    serve(
        connection,
        {"step": step_case, "loss": loss_case, "sample": sample_case},
        {
            "given_loss": given_loss,
            "random_inputs": random_inputs,
            "counts": counts,
            "machine": lambda: {**measure.machine(), "threads": threads},
            "peak_memory": measure.peak_memory,
        },
    )
