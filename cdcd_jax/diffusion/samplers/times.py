"""The times that options ask for, checked, and what somebody should know of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdcd_jax.diffusion import grids
from cdcd_jax.diffusion.guidance import GUIDANCE
from cdcd_jax.diffusion.samplers import SAMPLERS
from cdcd_jax.diffusion.samplers.base import Sampler, built
from cdcd_jax.diffusion.samplers.options import SamplingOptions, choose
from cdcd_jax.diffusion.schedule import Schedule

if TYPE_CHECKING:
    from jaxtyping import Int


def sampler_of(options: SamplingOptions) -> Sampler:
    """The sampler that `sampling.method` names.

    Raises:
        ValueError: no such method.
    """
    choose("method", options.method, SAMPLERS)
    return built(SAMPLERS[options.method], options)


def time_grid(
    options: SamplingOptions, schedule: Schedule, start: int | None = None
) -> Int[np.ndarray, " visited"]:
    """The times visited, int [S + 1], from the start (T) down to 0.

    Raises:
        ValueError: options that exclude each other or the schedule.
    """
    sampler = sampler_of(options)
    choose("grid", options.grid, (*grids.GRIDS, grids.OPTIMISED))
    choose("guidance_schedule", options.guidance_schedule, GUIDANCE)
    last, steps = schedule.timesteps, options.steps
    start = last if start is None else start
    if sampler.by_masks and not schedule.has_mask:
        others = [name for name, cls in SAMPLERS.items() if not cls.by_masks]
        raise ValueError(
            f"sampling.method {options.method!r} goes by masks, of which the schedule "
            f"{schedule.name!r} has none: choose one of {', '.join(others)}"
        )
    if not 1 <= start <= last:
        raise ValueError(f"cannot start at time {start}: choose 1..{last}")
    if sampler.own_times and options.grid != "uniform":
        raise ValueError(
            f"sampling.grid = {options.grid!r}: method {options.method!r} has "
            "times of its own; choose 'uniform'"
        )
    if needs := sampler.needs(steps, start):
        raise ValueError(
            f"sampling.steps = {steps} does not fit method {options.method!r} over "
            f"{start} times: choose {needs}"
        )
    return sampler.times(options, schedule, start)


def mask_note(options: SamplingOptions, schedule: Schedule) -> str:
    """What somebody should know who unmasks in order under this schedule, or ''."""
    mass = schedule.uniform_mass[-1]
    if not sampler_of(options).by_masks or not mass:
        return ""
    return (
        f"sampling.method {options.method!r} goes by masks alone, while the schedule "
        f"{schedule.name!r} also replaces codes (mass {mass:.2g} at T): here tokens "
        "are masked only, and one that was drawn is not replaced"
    )
