"""Random weights that need no file: each array's name is its seed."""

import re
import zlib
from collections.abc import Mapping, Sequence

import numpy as np


def random_state(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """Float32 arrays of these shapes that keep activations near 1.

    Whoever asks for the same name and shape, in whatever order, gets the same array.
    Kernels have variance 2 / fan-in, of [out, in, ...]; weights of one axis lie around
    1 and are positive, as variances are; all else of one axis around 0.
    """
    state = {}
    for name, shape in shapes.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        value = rng.standard_normal(tuple(shape), np.float32)
        if len(shape) > 1:
            value *= np.float32(np.sqrt(2 / np.prod(shape[1:])))
        elif name.endswith(("weight", "running_var")):
            value = np.exp(np.float32(0.1) * value)
        else:
            value *= np.float32(0.1)
        state[name] = value
    return state


def quiet(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A tokenizer's, whose last convolution is so weak that nothing is clipped."""
    scales = {r"^decoder\.conv_out\.": 0.2, r"^decoders\.\d+\.out\.": 0.005}
    weak = lambda name: next((s for p, s in scales.items() if re.search(p, name)), 1)
    return {name: value * np.float32(weak(name)) for name, value in state.items()}


def pictures(number: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Coloured waves in some noise, uint8 [N, H, W, 3]."""
    rng = np.random.default_rng(seed)
    down, right = np.arange(height)[:, None, None], np.arange(width)[:, None]
    out = []
    for _ in range(number):
        turn = rng.uniform(0, 0.4, (2, 3))
        wave = np.sin(down * turn[0] + right * turn[1] + rng.uniform(0, 6, 3))
        out.append(127.5 + 100 * wave + rng.normal(0, 9, (height, width, 3)))
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def clouds(number: int, features: int, shift: float, seed: int) -> np.ndarray:
    """Features of three groups, float32 [N, features]; `shift` moves the first."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1.5, (3, features))
    centres[0] += shift
    rows = centres[np.arange(number) % 3] + rng.normal(size=(number, features))
    return rows.astype(np.float32)
