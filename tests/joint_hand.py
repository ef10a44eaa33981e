"""Draws of several modalities by hand, with the noise that the sampler takes.

Of 3 steps over 8 times, which the grid rounds to 8, 5 and 3.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tiny_joint as tj

from cdcd_jax.networks.joint import VALUES
from cdcd_jax.tasks.drawing import NO_EDIT

ROWS, STEPS = 4, 3
KEY = jax.random.key(5)
TIMES = [8, 5, 3]
LABELS = np.array([0, 1, 2, 1], np.int32)
PAIR = ("image", "label")


def sample(model: Any, condition: Any, edit: Any = NO_EDIT, **changes: Any) -> Any:
    """Of a (task, params); `changes` of `sampling`."""
    task, params = model
    options = tj.options(task, **{"steps": STEPS, **changes})
    return task.sample(params, {}, condition, KEY, options, ROWS, edit)


class Hand:
    """The loop of DDPM by hand, with the noise that `process.draw` takes."""

    def __init__(self, model: Any, condition: Any) -> None:
        self.task, self.params = model
        self.levels = self.task.gaussian.levels
        self.weights = self.task.gaussian.aggregation.weights
        self.apply = functools.partial(self.task.network.apply, {"params": self.params})
        self.see = lambda given: self.apply(
            given, jnp.zeros(ROWS, bool), method="encode"
        )
        self.encoded = self.see(condition)
        self.said_of = jax.jit(functools.partial(self.apply, method="said"))
        own = jax.random.fold_in(KEY, 0)  # of the first batch
        start, _, steps = jax.random.split(own, 3)
        self.start = jax.random.normal(start, (ROWS, 4, 4))
        keys = jax.random.split(steps, STEPS - 1)
        self.fresh = [jax.random.normal(key, (ROWS, 4, 4)) for key in keys]

    def said(self, z: jax.Array, time: int) -> dict[str, jax.Array]:
        return self.said_of(z, jnp.full(ROWS, time), self.encoded)

    def level(self, time: int) -> tuple[float, float]:
        alpha_bar = self.levels.alpha_bar[time]
        return float(np.sqrt(alpha_bar)), float(np.sqrt(1 - alpha_bar))

    def sum(self, codes: Any, time: int) -> Any:
        return sum(self.weights[name][time] * codes[name] for name in codes)

    def code(self, name: str, x: Any) -> jax.Array:
        return self.apply(name, x, method="code")

    def read(self, said: Any, z: jax.Array, time: int) -> jax.Array:
        """The clean code, by what the values are."""
        a, b = self.level(time)
        values = said[VALUES]
        return {
            "noise": (z - b * values) / a,
            "x_0": values,
            "v": a * z - b * values,
        }[self.task.gaussian.prediction]

    def draw(self, clean_of: Callable, times: Any = TIMES, z: Any = None) -> Any:
        """z at the last time, and what is said there.

        Args:
            clean_of: (said, z, time) -> the clean code, and how it moves to a time.
        """
        z = self.start if z is None else z
        ends = zip(times[:-1], times[1:], self.fresh, strict=False)
        for time, before, fresh in ends:
            clean, moved = clean_of(self.said(z, time), z, time)
            (a, b), (c, d) = self.level(time), self.level(before)
            beta = 1 - (a / c) ** 2
            eps = (z - a * clean) / b
            left, deviation = (a / c) * d**2 / b, np.sqrt(d**2 * beta / b**2)
            z = c * (clean + moved(before)) + left * eps + deviation * fresh
        return z, self.said(z, times[-1])


def still(clean: jax.Array) -> tuple[jax.Array, Callable]:
    """A clean code that does not move."""
    return clean, lambda time: 0.0


def tokens_of(code: Any) -> np.ndarray:
    """Of z where it is the picture."""
    pixels = np.asarray(code).reshape(ROWS, 2, 2, 2, 2).swapaxes(2, 3)
    return np.clip(np.round((pixels.reshape(ROWS, 16) + 1) * 2), 0, 4).astype(int)


def assert_tokens(found: Any, code: Any) -> None:
    """Levels of a code; one that lies between two may round either way."""
    places = (np.asarray(found) - tokens_of(code)) != 0
    assert np.mean(places) < 0.05
