"""Noise levels of Gaussian diffusion, and the laws of a jump between two of them.

Time t = 0 is data, t = T is all but noise. One step scales by sqrt(alpha_t) and adds
noise of variance beta_t = 1 - alpha_t; a bar marks the product up to t:

    q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I)

(Ho et al. 2020). Levels live on the host in float64, as logarithms: 1 - alpha_bar and
the beta of a jump are differences that would cancel. On the device they have its own
precision, float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

# T -> log alpha_bar of t = 1..T, float64 [T]
Curve = Callable[[int], np.ndarray]
# of p_theta(x_s | x_t): that of the posterior (given x_0), or that of the jump itself
VARIANCES = ("posterior", "beta")
STEPS = 1000  # for which the betas of the papers are meant
BETA_MAX = 0.999  # of the cosine schedule


def _of_shares(beta: np.ndarray, timesteps: int) -> np.ndarray:
    """The levels of a schedule of many steps at the shares t / T of its way.

    So every T ends at the same noise. Where T divides the number of steps, its levels
    are among those of the whole schedule; between two of these, log alpha_bar is a
    line.
    """
    known = np.append(0.0, np.cumsum(np.log1p(-beta)))
    at = np.arange(1, timesteps + 1) * len(beta) / timesteps
    return np.interp(at, np.arange(len(known)), known)


def _linear(timesteps: int) -> np.ndarray:
    """Betas from 1e-4 to 0.02 in 1000 steps (DDPM)."""
    return _of_shares(np.linspace(1e-4, 0.02, STEPS), timesteps)


def _sqrt_linear(timesteps: int) -> np.ndarray:
    """sqrt(beta) a line, beta from 0.00085 to 0.012 (Stable Diffusion, CoDi)."""
    ends = np.sqrt(0.00085), np.sqrt(0.012)
    return _of_shares(np.linspace(*ends, STEPS) ** 2, timesteps)


def _cosine(timesteps: int) -> np.ndarray:
    """alpha_bar = cos^2, no beta above 0.999 (Nichol and Dhariwal 2021, eq. 17)."""
    u = np.arange(timesteps + 1) / timesteps
    f = np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
    beta = np.minimum(1.0 - f[1:] / f[:-1], BETA_MAX)
    return np.cumsum(np.log1p(-beta))


GAUSSIAN_CURVES: dict[str, Curve] = {
    "linear": _linear,
    "cosine": _cosine,
    "sqrt_linear": _sqrt_linear,
}


class Level(NamedTuple):
    """A time as x_t = signal x_0 + noise eps sees it; scalars, or [B]."""

    signal: jax.Array  # sqrt(alpha_bar)
    noise: jax.Array  # sqrt(1 - alpha_bar)


@dataclasses.dataclass(frozen=True, eq=False)
class Levels:
    """Noise levels. `log_alpha_bar` is float64 [T + 1], of which entry 0 is 0."""

    name: str
    log_alpha_bar: np.ndarray

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.log_alpha_bar) - 1

    @property
    def alpha_bar(self) -> Float[np.ndarray, " times"]:
        """[T + 1]."""
        return np.exp(self.log_alpha_bar)

    @property
    def noise(self) -> Float[np.ndarray, " times"]:
        """1 - alpha_bar, the variance of the noise, [T + 1]."""
        return -np.expm1(self.log_alpha_bar)

    def beta(
        self, t: int | Int[np.ndarray, "*S"], s: int | Int[np.ndarray, "*S"]
    ) -> float | Float[np.ndarray, "*S"]:
        """The variance of q(x_t | x_s), s < t."""
        return -np.expm1(self.log_alpha_bar[t] - self.log_alpha_bar[s])

    def posterior_variance(
        self, t: int | Int[np.ndarray, "*S"], s: int | Int[np.ndarray, "*S"]
    ) -> float | Float[np.ndarray, "*S"]:
        """The variance of q(x_s | x_t, x_0), s < t; 0 at s = 0."""
        return self.noise[s] * self.beta(t, s) / self.noise[t]

    def model_variance(
        self,
        t: int | Int[np.ndarray, "*S"],
        s: int | Int[np.ndarray, "*S"],
        kind: str,
    ) -> float | Float[np.ndarray, "*S"]:
        """That of p_theta(x_s | x_t), one of `VARIANCES`.

        Raises:
            ValueError: no such kind.
        """
        if kind not in VARIANCES:
            raise ValueError(
                f"unknown variance {kind!r}: choose one of {', '.join(VARIANCES)}"
            )
        return self.beta(t, s) if kind == "beta" else self.posterior_variance(t, s)

    def at(self, t: int | Int[Array, "*B"]) -> Level:
        """The levels of times, of their shape, on the device."""
        return Level(
            jnp.asarray(np.exp(0.5 * self.log_alpha_bar))[t],
            jnp.asarray(np.sqrt(self.noise))[t],
        )


def make_levels(name: str, timesteps: int) -> Levels:
    """Builds levels by name (a key of `GAUSSIAN_CURVES`).

    Raises:
        ValueError: unknown name, fewer than 1 time step, or a curve that does not fall.
    """
    if name not in GAUSSIAN_CURVES:
        raise ValueError(
            f"unknown diffusion.schedule {name!r}: choose one of "
            f"{', '.join(GAUSSIAN_CURVES)}"
        )
    if timesteps < 1:
        raise ValueError(
            f"a schedule needs at least 1 time step, not timesteps = {timesteps}"
        )
    log_alpha_bar = np.append(0.0, GAUSSIAN_CURVES[name](timesteps))
    if not (np.all(np.isfinite(log_alpha_bar)) and np.all(np.diff(log_alpha_bar) < 0)):
        raise ValueError(
            f"log alpha_bar of diffusion.schedule {name!r} does not fall at every time "
            f"from 0 at t = 0, or is not finite: {log_alpha_bar.tolist()[:5]}..."
        )
    return Levels(name, log_alpha_bar)
