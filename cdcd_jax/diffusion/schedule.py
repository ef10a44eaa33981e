"""Noise schedules of mask-and-replace diffusion (design of D3PM and VQ-Diffusion).

K codes and the mask token M = K. Time t = 0 is data, t = T is the prior. One step
keeps a code with alpha_t + beta_t, changes it to each other code with beta_t and masks
it with gamma_t; M stays M. A bar marks the cumulative values:

    alpha_bar_t + K beta_bar_t + gamma_bar_t = 1,
    q(x_t = k | x_0) = alpha_bar_t [k = x_0] + beta_bar_t
    q(x_t = M | x_0) = gamma_bar_t

Schedules live on the host in float64; what the device needs is derived once, in
`transition.py`, and stored in float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

# Each returns (alpha_bar, uniform_mass = K beta_bar), arrays [T], for t = 1..T. The
# mask has the rest. The uniform mass is given by itself because 1 - alpha_bar -
# gamma_bar would cancel where it is small.
Curve = Callable[[int], tuple[np.ndarray, np.ndarray]]


def _vq_diffusion_released(timesteps: int) -> tuple[np.ndarray, np.ndarray]:
    """What the VQ-Diffusion code runs: absorbing but for a uniform mass of 1e-6."""
    if timesteps < 2:
        raise ValueError(
            f"timesteps = {timesteps}: schedule 'vq_diffusion_released' is a line "
            "between two ends and needs at least 2"
        )
    alpha_bar = np.linspace(0.99999, 0.000009, timesteps)
    return alpha_bar, np.full(timesteps, 1e-6)


def _vq_diffusion_paper(timesteps: int) -> tuple[np.ndarray, np.ndarray]:
    """What the VQ-Diffusion paper describes: gamma_bar_T = 0.9, uniform mass 0.1."""
    u = np.arange(1, timesteps + 1) / timesteps
    return 1.0 - u, 0.1 * u


def _absorbing_linear(timesteps: int) -> tuple[np.ndarray, np.ndarray]:
    u = np.arange(1, timesteps + 1) / timesteps
    return 1.0 - u, np.zeros(timesteps)


def _absorbing_cosine(timesteps: int) -> tuple[np.ndarray, np.ndarray]:
    """Masked share cos(pi/2 (1 - t/T)), the schedule of MaskGIT and MD4."""
    u = np.arange(1, timesteps + 1) / timesteps
    alpha_bar = 1.0 - np.cos(0.5 * np.pi * (1.0 - u))
    return alpha_bar, np.zeros(timesteps)


def _uniform(timesteps: int) -> tuple[np.ndarray, np.ndarray]:
    """No mask: multinomial diffusion with alpha_bar = cos^2 (Hoogeboom et al. 2021)."""
    u = np.arange(1, timesteps + 1) / timesteps
    alpha_bar = np.cos(0.5 * np.pi * u) ** 2
    alpha_bar[-1] = 0.0
    return alpha_bar, 1.0 - alpha_bar


CURVES: dict[str, Curve] = {
    "vq_diffusion_released": _vq_diffusion_released,
    "vq_diffusion_paper": _vq_diffusion_paper,
    "absorbing_linear": _absorbing_linear,
    "absorbing_cosine": _absorbing_cosine,
    "uniform": _uniform,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
    """Cumulative noise levels. Arrays are float64 [T + 1], entry t = 0 is data."""

    name: str
    num_codes: int
    alpha_bar: np.ndarray
    uniform_mass: np.ndarray  # K beta_bar

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.alpha_bar) - 1

    @property
    def code_mass(self) -> Float[np.ndarray, " T"]:
        """1 - gamma_bar, [T + 1]: the chance of not being masked."""
        return self.alpha_bar + self.uniform_mass

    @property
    def gamma_bar(self) -> Float[np.ndarray, " T"]:
        """[T + 1]."""
        return 1.0 - self.code_mass

    @property
    def beta_bar(self) -> Float[np.ndarray, " T"]:
        """[T + 1]."""
        return self.uniform_mass / self.num_codes

    @property
    def has_uniform(self) -> bool:
        """Whether codes are ever replaced by other codes (beta > 0)."""
        return bool(self.uniform_mass[-1] > 0)

    @property
    def has_mask(self) -> bool:
        """Whether tokens are ever masked (gamma > 0)."""
        return bool(self.gamma_bar[-1] > 0)


def make_schedule(name: str, num_codes: int, timesteps: int) -> Schedule:
    """Builds a schedule by name (a key of `CURVES`).

    Raises:
        ValueError: unknown name, fewer than 2 codes, or fewer than 1 time step.
    """
    if name not in CURVES:
        raise ValueError(
            f"unknown diffusion.schedule {name!r}: choose one of {', '.join(CURVES)}"
        )
    if num_codes < 2 or timesteps < 1:
        raise ValueError(
            f"a schedule needs at least 2 codes and 1 time step, not num_codes = "
            f"{num_codes} and timesteps = {timesteps}"
        )
    alpha_bar, uniform_mass = CURVES[name](timesteps)
    return Schedule(
        name,
        num_codes,
        np.concatenate([[1.0], alpha_bar]),
        np.concatenate([[0.0], uniform_mass]),
    )


def prior_term(schedule: Schedule) -> float:
    """L_T = KL(q(x_T | x_0) || p(x_T)) in nats per token; the same for every x_0.

    p(x_T) is M with probability gamma_bar_T and each code with (1 - gamma_bar_T) / K.
    """
    k = schedule.num_codes
    keep = schedule.alpha_bar[-1] + schedule.beta_bar[-1]
    other = schedule.beta_bar[-1]
    codes = schedule.code_mass[-1]
    term = 0.0
    if keep > 0:
        term += keep * np.log(k * keep / codes)
    if other > 0:
        term += (k - 1) * other * np.log(k * other / codes)
    return float(term)
