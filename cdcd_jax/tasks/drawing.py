"""A batch of samples of a conditional denoiser: guidance, editing, conditions kept."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion import sampler
from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.diffusion.schedule import Schedule
from cdcd_jax.networks.denoiser import ConditionalDenoiser
from cdcd_jax.networks.partition import constrain


class Edit(NamedTuple):
    """What of the samples is given, rows [N, ...]."""

    # tokens int32 and bool [N, L]: where true, the token stands
    known: tuple[np.ndarray, np.ndarray] | None = None
    # tokens int32 [N, L] that are noised to `time` and denoised from there
    start: np.ndarray | None = None
    time: int = 0
    # another condition, and its weight [N]: the law is p(x_0 | c)^(1 - w) p(x_0 | c')^w
    toward: tuple[Mapping[str, np.ndarray], np.ndarray] | None = None
    shared: bool = False  # every row is drawn from the same noise


NO_EDIT = Edit()


def rows_of_an_example(options: SamplingOptions, edit: Edit = NO_EDIT) -> int:
    """How many rows a network evaluation has for each sample."""
    return 1 + (options.guidance_scale != 1.0) + (edit.toward is not None)


def said_cost(evaluations: int, rows: int) -> str:
    """What a sample costs, in words."""
    plural = "" if rows == 1 else "s"
    return f"{evaluations} network evaluations of {rows} row{plural} a sample"


def draw_batch(
    network: ConditionalDenoiser,
    schedule: Schedule,
    length: int,
    params: Any,
    condition: Mapping[str, jax.Array],
    key: jax.Array,
    known: tuple[jax.Array, jax.Array] | None = None,
    start: jax.Array | None = None,
    toward: tuple[Mapping[str, jax.Array], jax.Array] | None = None,
    *,
    batch: int,
    options: SamplingOptions,
    time: int = 0,
    shared: bool = False,
) -> sampler.Sample:
    """Draws `batch` samples of `length` tokens; the rest is as in `Edit`."""
    guided = options.guidance_scale != 1.0
    conditions = [condition] if toward is None else [condition, toward[0]]
    logits_of = logits_under(network, params, conditions, length, batch, guided)

    def tokens_to_logits(x_t: jax.Array, t: jax.Array) -> jax.Array:
        logits = logits_of(x_t, t)
        mixed, null = logits[0], logits[-1]
        if toward is not None:  # between the two laws as guidance goes beyond one
            mixed = sampler.guide(logits[1], mixed, toward[1][:, None, None])
        if not guided:
            return mixed
        scale = sampler.guidance_at(options, schedule, t)
        return sampler.guide(mixed, null, scale[:, None, None])

    drawn = sampler.sample(
        tokens_to_logits,
        schedule,
        key,
        (batch, length),
        options,
        known=known,
        layout=network.denoiser["grid"],
        start=None if start is None else (start, time),
        shared=shared,
    )
    # whole on every device, so that every process can read them
    return jax.tree.map(lambda a: constrain(a, *[None] * a.ndim), drawn)


def logits_under(
    network: ConditionalDenoiser,
    params: Any,
    conditions: Sequence[Mapping[str, jax.Array]],
    length: int,
    batch: int,
    with_null: bool,
) -> Callable[[jax.Array, jax.Array], list[jax.Array]]:
    """(x_t, t) -> logits [B, L, K] under each condition, and lastly under the null.

    Conditions are read once, and keys and values of what is attended to are made once.
    The rows of an example stand side by side, so that they are on one device.
    """
    variables, rows = {"params": params}, len(conditions) + with_null

    def beside(parts: Sequence[jax.Array]) -> jax.Array:
        """`rows` arrays [B, ...] -> [B * rows, ...]."""
        return jnp.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])

    def encode(condition: Mapping[str, jax.Array], null: bool) -> Any:
        drop = jnp.full(batch, null)
        return network.apply(variables, condition, drop, method="encode")

    read = [encode(condition, False) for condition in conditions]
    read += [encode(conditions[0], True)] * with_null
    encoded = jax.tree.map(lambda *parts: beside(parts), *read)
    # of this call only keys and values are used, and computed
    x, t = jnp.zeros((rows * batch, length), jnp.int32), jnp.ones(rows * batch, int)
    _, cache = network.apply(
        variables, x, t, encoded, method="denoise", mutable=["cache"]
    )

    def logits_of(x_t: jax.Array, t: jax.Array) -> list[jax.Array]:
        given = beside([x_t] * rows), beside([t] * rows), encoded
        logits = network.apply({**variables, **cache}, *given, method="denoise")
        logits = logits.reshape(batch, rows, *logits.shape[1:])
        return [logits[:, i] for i in range(rows)]

    return logits_of
