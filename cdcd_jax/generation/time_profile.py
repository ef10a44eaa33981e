"""What --mode=evaluate finds of a model's loss by time, for grids that are optimised.

`<workdir>/time_profile.json` has it; `sampling.grid = "optimised"` takes the best grid
of `sampling.steps` from there.
"""

import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.diffusion import grids, sampler
from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.diffusion.schedule import Schedule
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.reporting import files
from cdcd_jax.runtime import hosts

NAME = "time_profile.json"


def write_profile(workdir: pathlib.Path, step: int, loss: np.ndarray) -> None:
    """Writes h(t), nats of a token that is drawn at time t, [T]."""
    profile = {"step": step, "nats_by_time": np.asarray(loss).tolist()}
    files.write_json(workdir / NAME, profile)


def read_profile(workdir: pathlib.Path, schedule: Schedule) -> np.ndarray:
    """h(t) of t = 1..T, [T].

    Raises:
        InputError: none there, damaged, or of another T.
    """
    path = workdir / NAME
    try:
        loss = np.array(json.loads(path.read_text("utf-8"))["nats_by_time"], np.float64)
        fits = loss.shape == (schedule.timesteps,) and bool(np.all(np.isfinite(loss)))
        found = f"{len(loss)} numbers" if loss.ndim == 1 else "something else"
    except (OSError, ValueError, KeyError, TypeError) as error:
        fits, found = False, f"no profile ({error})"
    if not fits:
        raise InputError(
            f"Found {found} in {path}; expected the loss at {schedule.timesteps} "
            "times, for sampling.grid = 'optimised'. Make it with --mode=evaluate, or "
            "choose another sampling.grid."
        )
    return loss


def warn_if_old(sampling: Mapping[str, Any], workdir: pathlib.Path, step: int) -> None:
    """Says where an optimised grid is that of another checkpoint's loss."""
    if sampling["grid"] != "optimised" or not hosts.is_main():
        return
    found = files.read_json(workdir / NAME).get("step")
    if found != step:
        print(
            f"the times of sampling.grid = 'optimised' were found at step {found}, "
            f"this is step {step}: --mode=evaluate finds them anew",
            file=sys.stderr,
        )


def resolved(
    config: Mapping[str, Any],
    schedule: Schedule,
    workdir: pathlib.Path,
    start: int = 0,
) -> Mapping[str, Any]:
    """The config, with `sampling.times` where its grid is optimised.

    Args:
        start: the first time; 0 for T.

    Raises:
        InputError: no profile where one is needed.
        UsageError: options that cannot be.
    """
    sampling = config["sampling"]
    if sampling["grid"] != "optimised":
        return config
    plain = SamplingOptions.of(sampling, grid="uniform")
    try:
        first = int(sampler.time_grid(plain, schedule, start or None)[0])
    except ValueError as error:
        raise UsageError(str(error)) from None
    loss, share = read_profile(workdir, schedule), grids.progress(schedule)
    times = grids.optimised_grid(loss, share, first, plain.steps)
    return {**config, "sampling": {**sampling, "times": tuple(map(int, times))}}
