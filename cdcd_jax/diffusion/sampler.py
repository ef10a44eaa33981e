"""One sampler: from the prior, or from given tokens, back to 0 along a grid of times.

Network-agnostic: it takes a function tokens_to_logits(x_t, t). One `lax.scan`, meant to
stand inside one `jit`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion import grids, orders
from cdcd_jax.diffusion.schedule import Schedule
from cdcd_jax.diffusion.transition import (
    Transition,
    log_posterior,
    sample_prior,
    sample_x_t,
    transitions,
)

# x_t int32 [B, L], t int32 [B] -> logits float [B, L, K]
TokensToLogits = Callable[[jax.Array, jax.Array], jax.Array]

POSTERIOR = ("ancestral", "strided", "skip")
# by masks, whose steps know nothing of codes that were replaced by others
MASKING = ("random", "spread", "purity", "confidence", "first_hitting", "remasking")
METHODS = POSTERIOR + MASKING
GUIDANCE = ("constant", "rising", "falling")


@dataclasses.dataclass(frozen=True)
class SamplingOptions:
    """How a batch is drawn.

    Attributes:
        method: 'ancestral' visits every time; 'strided' jumps with the exact posterior
            between the times of a grid; 'skip' is the reference's fast sampling (see
            `grids.skip_jumps`); 'random', 'spread', 'purity', 'confidence' and
            'first_hitting' unmask a fixed number of tokens a step, 'remasking' masks
            some again (see `orders`).
        steps: S, network evaluations. 'ancestral' needs T of them.
        grid: of the times: a key of `grids.GRIDS`.
        times: the grid itself where it is 'optimised', int [S + 1].
        temperature: divides the logits.
        top_p, top_k: see `truncate`.
        guidance_scale: w of classifier-free guidance; 1 for none.
        guidance_schedule: 'constant'; 'rising' from 1 to w as tokens appear; 'falling'
            from w to 1.
        order_temperature: of 'confidence', at the start.
        purity_weight: r of 'purity'; sharpens p to the power 1 + r * purity.
        remask: strength of 'remasking', 0 to 1.
    """

    method: str = "strided"
    steps: int = 25
    grid: str = "uniform"
    times: tuple[int, ...] = ()
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    guidance_scale: float = 1.0
    guidance_schedule: str = "constant"
    order_temperature: float = 1.0
    purity_weight: float = 0.0
    remask: float = 0.1

    @classmethod
    def of(cls, settings: Mapping[str, Any], **changes: Any) -> "SamplingOptions":
        """From a section of the config; `changes` win."""
        names = [f.name for f in dataclasses.fields(cls)]
        values = {name: settings[name] for name in names if name in settings}
        return cls(**{**values, **changes})


class Sample(NamedTuple):
    """What the sampler returns."""

    tokens: jax.Array  # int32 [B, L], codes only
    canvases: jax.Array | None  # int32 [S, B, L] x_s after each step, or None


class Noise(NamedTuple):
    """The randomness of a step, standard Gumbel."""

    tokens: jax.Array  # [B, L, K + 1]
    order: jax.Array  # [B, L]


class _Step(NamedTuple):
    """What a step takes besides tokens; the scan goes over [S]."""

    index: jax.Array
    time: jax.Array  # of the network
    jump: Transition
    share_t: jax.Array  # masked share, of T
    share_s: jax.Array
    left: jax.Array  # share of the start's masks that is left afterwards


def _choose(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(
            f"unknown sampling.{name} {value!r}: choose one of {', '.join(known)}"
        )


def time_grid(
    options: SamplingOptions, schedule: Schedule, start: int | None = None
) -> np.ndarray:
    """The times visited, int [S + 1], from the start (T) down to 0.

    Raises:
        ValueError: options that exclude each other or the schedule.
    """
    _choose("method", options.method, METHODS)
    _choose("grid", options.grid, grids.GRIDS)
    _choose("guidance_schedule", options.guidance_schedule, GUIDANCE)
    last, steps = schedule.timesteps, options.steps
    start = last if start is None else start
    if options.method in MASKING and not schedule.has_mask:
        raise ValueError(
            f"sampling.method {options.method!r} goes by masks, of which the schedule "
            f"{schedule.name!r} has none: choose one of {', '.join(POSTERIOR)}"
        )
    if not 1 <= start <= last:
        raise ValueError(f"cannot start at time {start}: choose 1..{last}")
    if options.method in ("ancestral", "skip", "first_hitting"):
        if options.grid != "uniform":
            raise ValueError(
                f"sampling.grid = {options.grid!r}: method {options.method!r} has "
                "times of its own; choose 'uniform'"
            )
    most = np.inf if options.method == "first_hitting" else start
    if not 1 <= steps <= most or (options.method == "ancestral" and steps != start):
        need = {"ancestral": f"exactly {start}", "first_hitting": "at least 1"}
        raise ValueError(
            f"sampling.steps = {steps} does not fit method {options.method!r} over "
            f"{start} times: choose {need.get(options.method, f'1..{start}')}"
        )
    if options.method == "skip":
        return np.append(grids.skip_jumps(start, steps)[0], 0)
    if options.method == "first_hitting":  # times are drawn
        return np.append(np.full(steps, start), 0)
    by_share = dict(cosine=grids.cosine_grid, geometric=grids.geometric_grid)
    if options.grid in by_share:
        return by_share[options.grid](progress(schedule), start, steps)
    if options.grid == "optimised":
        return _given_times(options, start)
    return grids.uniform_grid(start, steps)


def _given_times(options: SamplingOptions, start: int) -> np.ndarray:
    times = np.array(options.times, np.int64)
    if len(times) != options.steps + 1 or times[0] != start or times[-1] != 0:
        raise ValueError(
            f"sampling.grid = 'optimised' has the times {options.times}: it needs "
            f"{options.steps + 1} from {start} to 0, which --mode=evaluate finds"
        )
    return times


def progress(schedule: Schedule) -> np.ndarray:
    """Share of tokens still masked, or else replaced, relative to T's: [T + 1], rising.

    What grids and guidance go by.
    """
    if schedule.has_mask:
        return grids.masked_share(schedule)
    return schedule.uniform_mass / schedule.uniform_mass[-1]


def mask_note(options: SamplingOptions, schedule: Schedule) -> str:
    """What somebody should know who unmasks in order under this schedule, or ''."""
    mass = schedule.uniform_mass[-1]
    if options.method not in MASKING or not mass:
        return ""
    return (
        f"sampling.method {options.method!r} goes by masks alone, while the schedule "
        f"{schedule.name!r} also replaces codes (mass {mass:.2g} at T): here tokens "
        "are masked only, and one that was drawn is not replaced"
    )


def guide(
    logits: jax.Array, null_logits: jax.Array, scale: float | jax.Array
) -> jax.Array:
    """Classifier-free guidance l_null + scale (l - l_null) on log-probabilities.

    (Ho and Salimans 2021; for tokens Tang et al. 2022, eq. 5.) Shapes [..., K].
    """
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    log_null = jax.nn.log_softmax(null_logits.astype(jnp.float32))
    return log_null + scale * (log_p - log_null)


def guidance_at(
    options: SamplingOptions, schedule: Schedule, t: jax.Array
) -> jax.Array:
    """The guidance scale at time t, in the shape of t."""
    share = jnp.asarray(progress(schedule), jnp.float32)[t]
    weight = dict(constant=jnp.ones_like(share), rising=1.0 - share, falling=share)
    return 1.0 + (options.guidance_scale - 1.0) * weight[options.guidance_schedule]


def truncate(logits: jax.Array, top_p: float, top_k: int) -> jax.Array:
    """Rules out the tail of each distribution by -inf.

    Args:
        logits: [..., K].
        top_p: keeps a code while the probability before it, in falling order, is below
            top_p; 1.0 keeps all.
        top_k: keeps the k most likely codes, and those as likely as the k-th; 0 keeps
            all.
    """
    num_codes = logits.shape[-1]
    if 0 < top_k < num_codes:
        kth = jax.lax.top_k(logits, top_k)[0][..., -1:]
        logits = jnp.where(logits < kth, -jnp.inf, logits)
    if top_p < 1.0:
        ordered = jnp.sort(logits, axis=-1, descending=True)
        p = jax.nn.softmax(ordered, axis=-1)
        before = jnp.cumsum(p, axis=-1) - p
        last = jnp.sum(before < top_p, axis=-1, keepdims=True) - 1
        least = jnp.take_along_axis(ordered, jnp.maximum(last, 0), axis=-1)
        logits = jnp.where(logits < least, -jnp.inf, logits)
    return logits


def gumbel_noise(step: jax.Array, key: jax.Array, shape: tuple[int, ...]) -> Noise:
    """Fresh noise for a step of [B, L, K] logits."""
    del step
    key_tokens, key_order = jax.random.split(key)
    # mode="high": the default's tail is cut at 16 nats
    draw = lambda key, shape: jax.random.gumbel(key, shape, mode="high")
    return Noise(
        draw(key_tokens, (*shape[:2], shape[2] + 1)), draw(key_order, shape[:2])
    )


def step_law(
    log_p: jax.Array, x_t: jax.Array, step: _Step, options: SamplingOptions
) -> jax.Array:
    """log p(x_s | x_t) of the methods that draw each position by itself."""
    if options.method == "remasking":
        shares = step.share_t, step.share_s
        return orders.remasking_law(log_p, x_t, *shares, options.remask)
    return log_posterior(log_p, x_t, step.jump)


def unmask(
    log_p: jax.Array,
    x_t: jax.Array,
    noise: Noise,
    number: jax.Array,
    share: jax.Array | float,
    options: SamplingOptions,
) -> jax.Array:
    """One step of the methods that unmask in an order: x_s int32 [B, L].

    Args:
        log_p: [B, L, K], log p_theta(x_0 | x_t), -inf where truncated.
        x_t: int32 [B, L].
        noise: of this step; `order` says the order where that is random.
        number: int32 [B], tokens to unmask.
        share: masked share at t.
        options: see `SamplingOptions`.
    """
    num_codes, order = log_p.shape[-1], noise.order
    if options.method == "purity":
        score = orders.purity(log_p)
        order = orders.purity_order(score, noise.order)
        log_p = orders.sharpen(log_p, score, options.purity_weight)
    tokens = jnp.argmax(log_p + noise.tokens[..., :num_codes], axis=-1)
    tokens = tokens.astype(jnp.int32)
    if options.method == "confidence":
        heat = options.order_temperature * share
        order = orders.confidence_order(log_p, tokens, noise.order, heat)
    return orders.reveal(x_t, tokens, order, number, num_codes)


def sample(
    tokens_to_logits: TokensToLogits,
    schedule: Schedule,
    key: jax.Array,
    shape: tuple[int, int],
    options: SamplingOptions,
    *,
    known: tuple[jax.Array, jax.Array] | None = None,
    start: tuple[jax.Array, int] | None = None,
    layout: tuple[int, int] | None = None,
    shared: bool = False,
    canvases: bool = False,
    noise: Callable[[jax.Array, jax.Array, tuple[int, ...]], Noise] = gumbel_noise,
) -> Sample:
    """Draws x_0 along a grid of times.

    Args:
        tokens_to_logits: of p_theta(x_0 | x_t).
        schedule: noise levels.
        key: random key.
        shape: (B, L).
        options: see `SamplingOptions`.
        known: tokens int32 [B, L] and bool [B, L]; where true, the token stands from
            the first step on and is returned unchanged (completion, inpainting).
        start: tokens int32 [B, L] and a time; noised to that time and denoised from
            there (variation) instead of a start from the prior.
        layout: (H, W) of the L tokens, for 'spread'; None for one row.
        shared: every row gets the same noise, so that rows differ by their law alone.
        canvases: also return every intermediate x_s.
        noise: (step, key, (B, L, K)) -> the randomness of a step.

    Raises:
        ValueError: see `time_grid`.
    """
    key_start, key_order, key_steps = jax.random.split(key, 3)
    first = schedule.timesteps if start is None else start[1]
    times = time_grid(options, schedule, first)
    num_codes, by_mask = schedule.num_codes, options.method in MASKING
    own_shape = (1, shape[1]) if shared else shape
    to_all = lambda a: jnp.broadcast_to(a, (shape[0], *a.shape[1:]))
    share = progress(schedule)
    if start is not None:

        def noised(x: jax.Array) -> jax.Array:
            if by_mask:  # which would leave codes that were replaced as they are
                hidden = jax.random.uniform(key_start, x.shape) < share[first]
                return jnp.where(hidden, num_codes, x)
            return sample_x_t(key_start, x, jnp.full(own_shape[0], first), schedule)

        # one key for all rows, of which each is drawn as if it were alone
        one = jax.vmap(lambda x: noised(x[None])[0])
        x = (one if shared else noised)(start[0])
    elif by_mask:
        x = jnp.full(shape, num_codes, jnp.int32)
    else:
        x = to_all(sample_prior(key_start, own_shape, schedule))

    def keep_known(tokens: jax.Array) -> jax.Array:
        return tokens if known is None else jnp.where(known[1], known[0], tokens)

    x = keep_known(x)
    at_start = jnp.sum(x == num_codes, axis=-1)
    order = None  # of the whole way, where it does not depend on what is drawn
    if options.method == "first_hitting":
        order = to_all(jax.random.uniform(key_order, own_shape))
    elif options.method == "spread":
        layout = layout or (1, shape[1])
        order = to_all(orders.spread_order(key_order, own_shape[0], layout))

    def step(x_t: jax.Array, inputs) -> tuple[jax.Array, jax.Array | None]:
        given, key = inputs
        t = jnp.broadcast_to(given.time, shape[0])
        masked = x_t == num_codes
        if options.method == "first_hitting":
            table = jnp.asarray(share, jnp.float32)
            t = orders.hitting_times(order, masked, table, share[first])
        logits = tokens_to_logits(x_t, t).astype(jnp.float32) / options.temperature
        log_p = truncate(jax.nn.log_softmax(logits), options.top_p, options.top_k)
        own = noise(given.index, key, (own_shape[0], *log_p.shape[1:]))
        own = jax.tree.map(to_all, own)
        if order is not None:
            own = own._replace(order=order)
        if options.method in POSTERIOR or options.method == "remasking":
            law = step_law(log_p, x_t, given, options)
            x_s = jnp.argmax(law + own.tokens, axis=-1).astype(jnp.int32)
        else:
            number = jnp.sum(masked, axis=-1) - orders.remaining(at_start, given.left)
            x_s = unmask(log_p, x_t, own, number, given.share_t, options)
        x_s = keep_known(x_s)
        return x_s, (x_s if canvases else None)

    keys = jax.random.split(key_steps, len(times) - 1)
    steps = _steps(options, schedule, times)
    tokens, trajectory = jax.lax.scan(step, x, (steps, keys))
    return Sample(tokens, trajectory)


def _steps(options: SamplingOptions, schedule: Schedule, times: np.ndarray) -> _Step:
    """The inputs of the scan."""
    number, start, share = len(times) - 1, times[0], progress(schedule)
    source, target = times[:-1], times[1:]
    left = share[target] / share[start]
    if options.method == "skip":
        _, source, target = grids.skip_jumps(start, number)
    if options.method == "first_hitting":
        target = np.zeros_like(source)  # no jump is taken
        left = 1.0 - np.arange(1, number + 1) / number
    jumps = jax.tree.map(jnp.asarray, transitions(schedule, source, target))
    shares = (jnp.asarray(share[t], jnp.float32) for t in (times[:-1], times[1:]))
    return _Step(
        jnp.arange(number),
        jnp.asarray(times[:-1], jnp.int32),
        jumps,
        *shares,
        jnp.asarray(left, jnp.float32),
    )
