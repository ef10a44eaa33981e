"""Which times a sampler visits: int [S + 1], falling from the start (T) to 0.

A grid of S jumps is S network evaluations. With h(t) the loss in nats of a masked token
at time t and m(t) the share that is masked, the tokens of one jump t -> s are drawn
apart from each other at a price of (m(t) - m(s)) h(t), which is the bound of the S-step
chain; `optimised` is the grid at which the sum of prices is least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cdcd_jax.diffusion.schedule import Schedule

if TYPE_CHECKING:
    from jaxtyping import Float, Int

OPTIMISED = (
    "optimised"  # the grid whose times are given, as `optimised_grid` finds them
)
# Of a geometric grid: tokens of a step over those of the one before, and of the last
# over those of the first, at most.
GROWTH, MOST_GROWTH = 4 / 3, 12.0


def masked_share(schedule: Schedule) -> Float[np.ndarray, " times"]:
    """gamma_bar_t / gamma_bar_T, [T + 1], rising from 0 to 1."""
    return schedule.gamma_bar / schedule.gamma_bar[-1]


def progress(schedule: Schedule) -> Float[np.ndarray, " times"]:
    """Share of tokens still masked, or else replaced, relative to T's: [T + 1], rising.

    What grids and guidance go by.
    """
    if schedule.has_mask:
        return masked_share(schedule)
    return schedule.uniform_mass / schedule.uniform_mass[-1]


def uniform_grid(
    share: Float[np.ndarray, " times"], start: int, steps: int
) -> Int[np.ndarray, " visited"]:
    """Jumps of equal length, to within 1, whatever the share."""
    del share
    # half up, so that a grid is the same on every platform
    return np.floor(start * np.arange(steps, -1, -1) / steps + 0.5).astype(np.int64)


def cosine_grid(
    share: Float[np.ndarray, " times"], start: int, steps: int
) -> Int[np.ndarray, " visited"]:
    """The masked share falls as cos(pi i / 2S) (Chang et al. 2022, MaskGIT).

    Few tokens are drawn at first, when the others say little of them. Times are rounded
    to distinct ones.

    Args:
        share: see `masked_share`.
        start: the first time.
        steps: S, at most `start`.
    """
    return _nearest(np.cos(0.5 * np.pi * np.arange(steps + 1) / steps), share, start)


def geometric_grid(
    share: Float[np.ndarray, " times"], start: int, steps: int
) -> Int[np.ndarray, " visited"]:
    """Every step draws a third more tokens than the one before; ours.

    The first tokens settle what the whole has in common, which is lost where many are
    drawn at once. The last step draws 12 times as many as the first at most. Times are
    rounded to distinct ones.

    Args:
        share, start, steps: see `cosine_grid`.
    """
    ratio = min(GROWTH, MOST_GROWTH ** (1 / max(steps - 1, 1)))
    drawn = np.cumsum(ratio ** np.arange(steps))
    return _nearest(1.0 - np.append(0.0, drawn / drawn[-1]), share, start)


def _nearest(left: np.ndarray, share: np.ndarray, start: int) -> np.ndarray:
    """The times nearest to masked shares that fall from 1 to 0 times the start's."""
    steps, wanted = len(left) - 1, share[start] * left
    near = np.argmin(np.abs(share[: start + 1] - wanted[:, None]), axis=1)
    times = [start]
    for i in range(1, steps + 1):
        times.append(max(min(near[i], times[-1] - 1), steps - i))
    times[-1] = 0
    return np.array(times, np.int64)


# `sampling.grid` -> the times, of (share, start, steps)
GRIDS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "uniform": uniform_grid,
    "cosine": cosine_grid,
    "geometric": geometric_grid,
}


def grid_times(
    name: str, given: Sequence[int], schedule: Schedule, start: int, steps: int
) -> Int[np.ndarray, " visited"]:
    """The times of a grid by its name, int [S + 1].

    Args:
        name: a key of `GRIDS`, or 'optimised'.
        given: the times themselves where they are optimised.
        schedule: the noise levels.
        start: the first time.
        steps: S, at most `start`.

    Raises:
        ValueError: given times that do not fit.
    """
    if name != OPTIMISED:
        return GRIDS[name](progress(schedule), start, steps)
    times = np.array(given, np.int64)
    if len(times) != steps + 1 or times[0] != start or times[-1] != 0:
        raise ValueError(
            f"sampling.grid = 'optimised' has the times {given}: it needs "
            f"{steps + 1} from {start} to 0, which --mode=evaluate finds"
        )
    return times


def optimised_grid(
    loss: Float[np.ndarray, " T"],
    share: Float[np.ndarray, " T+1"],
    start: int,
    steps: int,
) -> Int[np.ndarray, " visited"]:
    """The grid of least bound, by dynamic programming (Watson et al. 2021).

    Args:
        loss: h(t) of t = 1..T, nats of a masked token, [T].
        share: see `masked_share`.
        start: the first time.
        steps: S, at most `start`.
    """
    t = np.arange(start + 1)
    cost = np.full((start + 1, start + 1), np.inf)  # from t to s
    cost[1:] = (share[t[1:], None] - share[None, : start + 1]) * loss[:start, None]
    cost[t[None, :] >= t[:, None]] = np.inf
    best, choices = np.where(t == 0, 0.0, np.inf), []  # of getting from t to 0
    for _ in range(steps):
        total = cost + best
        choices.append(np.argmin(total, axis=1))
        best = np.min(total, axis=1)
    times = [start]
    for choice in reversed(choices):
        times.append(int(choice[times[-1]]))
    return np.array(times, np.int64)


def skip_visits(start: int, skip: int) -> Int[np.ndarray, " S"]:
    """Times that the reference's fast sampler visits when it leaves `skip` out.

    (VQ-Diffusion, `sample_fast`.) The last one is 1.
    """
    visited = list(range(start, 0, -1 - skip))
    return np.array(visited + [1] * (visited[-1] != 1), np.int64)


def skip_jumps(
    start: int, steps: int
) -> tuple[Int[np.ndarray, " S"], Int[np.ndarray, " S"], Int[np.ndarray, " S"]]:
    """The reference's fast sampling: times visited, and the jumps taken there, [S].

    At time t it takes the one-step posterior of the earlier time t - skip, as if x_t
    were x_{t - skip}, which leaves more and more tokens masked until the last step.

    Raises:
        ValueError: no number of times to skip gives so many steps.
    """
    # the least skip where several give as many
    skips = reversed(range(start))
    counts = {len(skip_visits(start, skip)): skip for skip in skips}
    if steps not in counts:
        offered = ", ".join(map(str, sorted(counts)))
        raise ValueError(
            f"sampling.steps = {steps} does not fit method 'skip' over {start} times: "
            f"choose one of {offered}"
        )
    visited, skip = skip_visits(start, counts[steps]), counts[steps]
    source = np.where(visited > skip + 1, visited - skip, visited)
    return visited, source, source - 1
