"""What a model of tokens says of held-out examples: the bound, by time, and contrast.

The term of time t is evaluated at `repeats` times an example, one in each of as many
equal parts of 1..T, so that the bound's error is that of few terms.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion.grids import progress
from cdcd_jax.diffusion.schedule import Schedule
from cdcd_jax.tasks.target import target_of

# (tokens [B, L], condition, t [B], key, null) -> T x the bound's term, nats [B]
Term = Callable[..., jax.Array]


class Bound(NamedTuple):
    """Terms of N examples at R times each."""

    terms: np.ndarray  # [N, R] T x the bound's term, nats
    times: np.ndarray  # [N, R] the t of each, rising in a row
    length: int  # tokens of an example
    # terms without a time, such as the prior's, nats a token: numbers, or [N]
    fixed: Mapping[str, Any]


def stratified_times(
    rng: np.random.Generator, repeats: int, size: int, timesteps: int
) -> np.ndarray:
    """int32 [R, B]: one time in each of R equal parts of 1..T, each t as likely."""
    offset = (np.arange(repeats)[:, None] + rng.random((repeats, size))) / repeats
    times = 1 + np.minimum(np.floor(offset * timesteps), timesteps - 1)
    return times.astype(np.int32)


def _times_of(
    batches: Sequence[Mapping[str, Any]], key: jax.Array, repeats: int, timesteps: int
) -> Iterator[tuple[Mapping[str, Any], np.ndarray, jax.Array]]:
    """Batches with their times [R, B] and a key."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    for i, batch in enumerate(batches):
        times = stratified_times(rng, repeats, len(target_of(batch)), timesteps)
        yield batch, times, jax.random.fold_in(key, i)


def bound(
    term: Term,
    batches: Sequence[Mapping[str, Any]],
    key: jax.Array,
    repeats: int,
    timesteps: int,
    fixed: Mapping[str, Any],
) -> Bound:
    """Evaluates the terms.

    Args:
        term: see `Term`.
        batches: tokens int32 [B, L] and condition, that cover a split once.
        repeats: R.
        timesteps: T.
        fixed: see `Bound`.
    """
    rows, chosen = [], []
    for batch, times, own in _times_of(batches, key, repeats, timesteps):
        found = [
            term(target_of(batch), batch["condition"], t, jax.random.fold_in(own, r))
            for r, t in enumerate(times)
        ]
        rows.append(np.stack(jax.device_get(found), axis=1))
        chosen.append(times.T)
    length = target_of(batches[0]).shape[1]
    return Bound(np.concatenate(rows), np.concatenate(chosen), length, fixed)


def figures(found: Bound) -> dict[str, float]:
    """bits_per_token, with its errors, and its parts where there are several.

    `standard_error` is over examples and holds all there is; `monte_carlo_error` is the
    part that more times an example would take away, from differences of neighbouring
    parts of 1..T, which it overestimates.
    """
    to_bits = 1.0 / (found.length * np.log(2))
    number, repeats = found.terms.shape
    parts = {"denoising": found.terms.mean(1) * to_bits}
    parts |= {name: nats / np.log(2) for name, nats in found.fixed.items()}
    bits = sum(parts.values())
    values = {
        "bits_per_token": float(np.mean(bits)),
        "bits_per_token/n": number,
        "bits_per_token/standard_error": float(np.std(bits) / np.sqrt(number)),
    }
    if repeats > 1:
        steps = np.diff(found.terms, axis=1)[:, ::2] * to_bits
        # an odd one out is taken to err as the others do
        odd = repeats / (2 * steps.shape[1])
        variance = odd * np.sum(steps**2) / repeats**2 / number**2
        values["bits_per_token/monte_carlo_error"] = float(np.sqrt(variance))
    if set(parts) - {"denoising", "prior"}:  # of more than diffusion itself
        for name, own in parts.items():
            values[f"bits_per_token_{name}"] = float(np.mean(own))
            values[f"bits_per_token_{name}/n"] = number
    return values


def loss_by_time(found: Bound, levels: Schedule, parts: int = 16) -> np.ndarray:
    """h(t), nats of a token that is drawn at time t, [T]; made to rise with t.

    What a grid of times is optimised by: see `diffusion.grids`. Means over `parts`
    equal parts of 1..T, joined by lines, so that a grid does not follow chance.
    """
    from sklearn.isotonic import IsotonicRegression

    share, times = progress(levels), found.times.ravel()
    step = (share[1:] - share[:-1])[times - 1]
    nats = found.terms.ravel() / (levels.timesteps * found.length * step)
    part = (times - 1) * min(parts, levels.timesteps) // levels.timesteps
    # a term of few tokens says little: its weight is how many it has
    weight = np.bincount(part, step)
    seen = np.flatnonzero(weight)
    mean = lambda values: np.bincount(part, step * values)[seen] / weight[seen]
    fit = IsotonicRegression().fit(seen, mean(nats), weight[seen]).predict(seen)
    return np.interp(np.arange(1, levels.timesteps + 1), mean(times), fit)


def information(
    term: Term,
    batches: Sequence[Mapping[str, Any]],
    key: jax.Array,
    *,
    repeats: int,
    timesteps: int,
    number: int,
    temperature: float,
    ratio: bool,
) -> dict[str, float]:
    """mi_bound_nats = log(N + 1) - loss <= I(x_0; c) (van den Oord et al. 2018).

    It is a bound since every negative is any example of the split, one under the same
    condition as likely as it is there, and is noised by itself. The critic is
    exp(-d / temperature) with d = T x the term a token, a mean over the times.

    Args:
        term, batches, key, repeats, timesteps: see `bound`.
        number: N, negatives.
        temperature: nats a token.
        ratio: d under the condition less d under the null.

    Returns:
        mi_bound_nats and nce_accuracy_parallel, with `/n`; the bound's standard error.
    """
    everything = np.concatenate([target_of(batch) for batch in batches])
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)) + 1)
    losses, right = [], []
    for batch, times, own in _times_of(batches, key, repeats, timesteps):
        x_0 = np.asarray(target_of(batch))
        size = len(x_0)
        chosen = rng.integers(len(everything), size=(size, number))
        candidates = np.concatenate([x_0[:, None], everything[chosen]], axis=1).reshape(
            size * (number + 1), -1
        )
        spread = lambda a: jnp.repeat(jnp.asarray(a), number + 1, axis=0)
        condition = jax.tree.map(spread, batch["condition"])
        d = np.zeros(size * (number + 1))
        for r, t in enumerate(times):
            noise = jax.random.fold_in(own, r)
            d += np.asarray(term(candidates, condition, spread(t), noise))
            if ratio:
                d -= np.asarray(term(candidates, condition, spread(t), noise, True))
        d = d.reshape(size, -1) / (repeats * candidates.shape[1] * temperature)
        best = d.min(1, keepdims=True)
        losses.append(d[:, 0] - best[:, 0] + np.log(np.exp(best - d).sum(1)))
        right.append(np.all(d[:, :1] < d[:, 1:], axis=1))
    loss, accuracy = np.concatenate(losses), np.concatenate(right)
    return {
        "mi_bound_nats": float(np.log(number + 1) - loss.mean()),
        "mi_bound_nats/n": len(loss),
        "mi_bound_nats/standard_error": float(np.std(loss) / np.sqrt(len(loss))),
        "nce_accuracy_parallel": float(accuracy.mean()),
        "nce_accuracy_parallel/n": len(accuracy),
    }
