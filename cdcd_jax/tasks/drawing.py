"""A batch of samples of a conditional denoiser: guidance, editing, conditions kept."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion import sampler
from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.diffusion.schedule import Schedule
from cdcd_jax.errors import UsageError
from cdcd_jax.networks import presence
from cdcd_jax.networks.denoiser import ConditionalDenoiser
from cdcd_jax.networks.encoded import Encoded, Environment
from cdcd_jax.networks.partition import constrain, parts
from cdcd_jax.networks.positions import plane_of


class Edit(NamedTuple):
    """What of the samples is given, rows [N, ...]."""

    # tokens int32 and bool [N, L]: where true, the token stands
    known: tuple[np.ndarray, np.ndarray] | None = None
    # tokens int32 [N, L] that are noised to `time` and denoised from there
    start: np.ndarray | None = None
    time: int = 0
    # another condition, and its weight [N]: the law is p(x_0 | c)^(1 - w) p(x_0 | c')^w
    toward: tuple[Mapping[str, np.ndarray], np.ndarray] | None = None
    # by modality, [N]: the law is p(x_0) prod_m (p(x_0 | c_m) / p(x_0))^s_m
    scales: Mapping[str, np.ndarray] | None = None
    shared: bool = False  # every row is drawn from the same noise


NO_EDIT = Edit()


class Row(NamedTuple):
    """One of the rows that a network evaluation has for each sample."""

    condition: Mapping[str, jax.Array]  # {name: [B, ...]}
    # whose nulls are taken: all or none of them, or {name: whether}
    drop: bool | Mapping[str, bool] = False
    environment: bool = False  # whether it sees what stands beside


def rows_of_an_example(options: SamplingOptions, edit: Edit = NO_EDIT) -> int:
    """How many rows a network evaluation has for each sample, at most.

    The null may be all there is, where modalities are given in other ways.
    """
    by_name = len(edit.scales or {"": 1.0})
    guided = edit.scales is not None or options.guidance_scale != 1.0
    own = by_name * (1 + (edit.toward is not None)) + guided
    return own + options.rows_beside


def said_cost(evaluations: int, rows: int) -> str:
    """What a sample costs, in words."""
    of = lambda number, name: f"{number} {name}{'' if number == 1 else 's'}"
    return f"{of(evaluations, 'network evaluation')} of {of(rows, 'row')} a sample"


def weighed(
    base: jax.Array, others: Iterable[tuple[jax.Array, jax.Array]]
) -> jax.Array:
    """log p_base + sum_i w_i (log p_i - log p_base): weights that sum to one.

    What guidance, interpolation and a scale for each modality are; a weight may be
    negative. (Ho and Salimans 2021; for tokens Tang et al. 2022, eq. 5.)

    Args:
        base: logits [B, L, K], whose weight is what the others leave.
        others: logits [B, L, K] and weights [B].
    """
    log_p = lambda logits: jax.nn.log_softmax(logits.astype(jnp.float32))
    return summed(log_p(base), [(log_p(logits), w) for logits, w in others])


def summed(base: Any, others: Iterable[tuple[Any, jax.Array]]) -> Any:
    """base + sum_i w_i (other_i - base), of trees of arrays [B, ...]; w_i [B]."""

    def add(total: jax.Array, other: jax.Array, base: jax.Array, weight: jax.Array):
        return total + weight.reshape(-1, *[1] * (base.ndim - 1)) * (other - base)

    total = base
    for other, weight in others:
        plus = functools.partial(add, weight=weight)
        total = jax.tree.map(plus, total, other, base)
    return total


def mixed(
    said: Sequence[Any],
    toward: jax.Array | None,
    scales: Sequence[jax.Array] | None,
    weigh: Callable[..., Any],
) -> Any:
    """One law from what was said of the rows of `guided_rows`, in their order.

    Args:
        said: of each row.
        toward: [B], how far each goes to the second condition; None of one condition.
        scales: [B] each, of each modality or of all; None without guidance.
        weigh: `weighed`, or `summed`.
    """
    ends, guided = 1 if toward is None else 2, scales is not None
    laws = [said[i : i + ends] for i in range(0, len(said) - guided, ends)]
    if toward is not None:  # between the two laws as guidance goes beyond one
        laws = [[weigh(law[0], [(law[1], toward)])] for law in laws]
    if not guided:
        return laws[0][0]
    pairs = zip(laws, scales, strict=True)
    return weigh(said[-1], [(law[0], scale) for law, scale in pairs])


def guided_rows(
    conditions: Sequence[Mapping[str, jax.Array]],
    names: Collection[str],
    scales: Mapping[str, jax.Array] | None,
    guided: bool,
) -> list[Row]:
    """The rows of an example: each condition, by modality if `scales` says, the null.

    Args:
        conditions: a condition, and perhaps the one that it goes toward.
        names: of all modalities of the model.
        scales: by modality; see `Edit`.
        guided: whether the null comes last.
    """
    drops: list[Any] = [False]
    if scales is not None:
        drops = [{other: other != name for other in names} for name in scales]
    rows = [Row(condition, drop) for drop in drops for condition in conditions]
    return rows + [Row(conditions[0], True)] * guided


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
    scales: Mapping[str, jax.Array] | None = None,
    *,
    batch: int,
    options: SamplingOptions,
    time: int = 0,
    shared: bool = False,
) -> sampler.Sample:
    """Draws `batch` samples of `length` tokens; the rest is as in `Edit`."""
    guided = scales is not None or options.guidance_scale != 1.0
    conditions = [condition] if toward is None else [condition, toward[0]]
    rows = guided_rows(conditions, network.conditions, scales, guided)
    logits_of = logits_under(network, params, rows, length, batch)

    def tokens_to_logits(x_t: jax.Array, t: jax.Array) -> jax.Array:
        def scale(own: Any) -> jax.Array:
            changed = dataclasses.replace(options, guidance_scale=own)
            return sampler.guidance_at(changed, schedule, t)

        wanted = [options.guidance_scale] if scales is None else scales.values()
        found = [scale(own) for own in wanted] if guided else None
        weight = None if toward is None else toward[1]
        return mixed(logits_of(x_t, t), weight, found, weighed)

    drawn = sampler.sample(
        tokens_to_logits,
        schedule,
        key,
        (batch, length),
        options,
        known=known,
        layout=plane_of(network.denoiser["grid"]),
        start=None if start is None else (start, time),
        shared=shared,
    )
    # whole on every device, so that every process can read them
    return jax.tree.map(lambda a: constrain(a, *[None] * a.ndim), drawn)


def in_batches(
    draw: Callable[..., Any],
    specs: presence.Specs,
    condition: Mapping[str, np.ndarray],
    key: jax.Array,
    number: int | None,
    edit: Edit,
    most: int,
) -> Any:
    """What `draw` returns of `number` rows, at most `most` at once, on the host.

    Args:
        draw: `draw_batch` from the condition on; a tree of arrays [B, ...].
        specs: the conditions of the model.
        condition, number, edit: see `ConditionalTask.sample`, as are the errors.
    """
    condition = presence.taken(specs, condition)
    toward = edit.toward and (presence.taken(specs, edit.toward[0]), edit.toward[1])
    if unknown := sorted(set(edit.scales or ()) - set(specs)):
        raise UsageError(
            f"Found scales of {unknown}; expected some of {sorted(specs)}; leave the "
            "others out."
        )
    if number is None and not condition:
        raise UsageError(
            "Found no condition and no number of samples; expected either; say how "
            "many there shall be."
        )
    if number is None:
        number = len(next(iter(condition.values())))
    size = min(most, number)
    size = -(-size // parts("batch")) * parts("batch")
    drawn, given = [], (condition, edit.known, edit.start, toward, edit.scales)
    for i in range(0, number, size):
        # the last batch is filled up with its own rows, so that one shape compiles
        rows = np.minimum(np.arange(i, i + size), number - 1)
        part, *edited = jax.tree.map(
            functools.partial(np.take, indices=rows, axis=0), given
        )
        own = jax.random.fold_in(key, 0 if edit.shared else i)
        settings = dict(batch=size, time=edit.time, shared=edit.shared)
        drawn.append(jax.device_get(draw(part, own, *edited, **settings)))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:number], *drawn)


def logits_under(
    network: ConditionalDenoiser,
    params: Any,
    rows: Sequence[Row],
    length: int,
    batch: int,
) -> Callable[..., list[jax.Array]]:
    """(x_t, t, environment [B, S, E] or None) -> logits [B, L, K] of each row."""
    like = jax.ShapeDtypeStruct((batch, length), jnp.int32)
    return said_under(network, params, rows, like, "denoise")


def said_under(
    network: ConditionalDenoiser,
    params: Any,
    rows: Sequence[Row],
    like: jax.ShapeDtypeStruct,
    method: str,
) -> Callable[..., list[Any]]:
    """(x_t, t, environment [B, S, E] or None) -> what `method` says of each row.

    Conditions are read once, and keys and values of what is attended to are made once,
    but for the environment, which changes from step to step. The rows of an example
    stand side by side, so that they are on one device.

    Args:
        network, params: of the model.
        rows: of each example.
        like: shape [B, ...] and type of x_t.
        method: of the network, from (x_t, t, encoded) to a tree of arrays [B, ...].
    """
    variables, number, batch = {"params": params}, len(rows), like.shape[0]

    def beside(parts: Sequence[jax.Array]) -> jax.Array:
        """`number` arrays [B, ...] -> [B * number, ...]."""
        return jnp.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])

    def encode(row: Row) -> Encoded:
        drop = jax.tree.map(lambda gone: jnp.full(batch, gone), row.drop)
        return network.apply(variables, row.condition, drop, method="encode")

    encoded = jax.tree.map(lambda *parts: beside(parts), *map(encode, rows))
    # of this call only keys and values are used, and computed
    x = jnp.zeros((number * batch, *like.shape[1:]), like.dtype)
    t = jnp.ones(number * batch, int)
    _, cache = network.apply(variables, x, t, encoded, method=method, mutable=["cache"])
    sees = beside([jnp.full(batch, row.environment) for row in rows])

    def said_of(
        x_t: jax.Array, t: jax.Array, environment: jax.Array | None = None
    ) -> list[Any]:
        given = beside([x_t] * number), beside([t] * number), encoded
        if environment is not None:
            given += (Environment(beside([environment] * number), sees),)
        said = network.apply({**variables, **cache}, *given, method=method)
        apart = lambda a: a.reshape(batch, number, *a.shape[1:])
        said = jax.tree.map(apart, said)
        return [jax.tree.map(lambda a, i=i: a[:, i], said) for i in range(number)]

    return said_of
