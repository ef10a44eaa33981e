"""Motion of `toy_dance`: a body of 24 joints that moves to given beats.

219 values a frame, as AIST++ has them: the root's translation in metres (x, y up, z),
then 24 joints as 3x3 rotation matrices, row by row.
"""

import functools

import numpy as np

from cdcd_jax.data.toy_music import Timing

FRAME_RATE = 60
NUM_JOINTS = 24
WIDTH = 3 + 9 * NUM_JOINTS
_NUM_LATENTS = 8


def move(
    genre: int, metre: int, timing: Timing, frames: int, rng: np.random.Generator
) -> np.ndarray:
    """A dance of one genre, float32 [frames, 219].

    The body sinks into each beat, the deeper the stronger it is, and limbs arrive
    there; slower oscillators follow the bar. `rng` draws posture, wandering and noise.
    """
    latents = _latents(metre, timing, frames, rng)
    angles = latents @ _mixing(genre) + 0.15 * rng.standard_normal(3 * NUM_JOINTS)
    angles += 0.02 * _wander(frames, 3 * NUM_JOINTS, 0.3, rng)
    joints = _rotations(angles.reshape(frames, NUM_JOINTS, 3))
    root = 0.1 * _wander(frames, 3, 1.0, rng) * (1, 0, 1)  # about the floor
    root[:, 0] += 0.15 * latents[:, 3]
    root[:, 1] += 1 - 0.12 * latents[:, 0]
    motion = np.concatenate([root, joints.reshape(frames, -1)], axis=1)
    motion += 0.004 * rng.standard_normal(motion.shape)
    return motion.astype(np.float32)


def _latents(
    metre: int, timing: Timing, frames: int, rng: np.random.Generator
) -> np.ndarray:
    """The oscillators, [frames, 8], each within about [-1, 1].

    Pulses of beats, pulses of the bar's first beats, steps that end on beats, sines of
    two beats and of a bar (two phases), and two that wander.
    """
    t = np.arange(frames) / FRAME_RATE
    beats, strengths = timing.beats, timing.strengths
    pulses = strengths * np.exp(-np.abs(t[:, None] - beats) / 0.06)
    first = timing.positions == 0
    phase = np.interp(t, beats, np.arange(len(beats)))  # in beats
    in_bar = 2 * np.pi * (phase + timing.positions[0]) / metre
    # From side to side: at rest, then within 0.2 s to the next side, there on the beat.
    sides = strengths * (-1.0) ** np.arange(len(beats))
    at = np.sort(np.concatenate([beats[1:] - 0.2, beats]))
    steps = np.interp(t, at, np.repeat(sides, 2)[:-1])
    return np.stack(
        [
            pulses.max(1),
            pulses[:, first].sum(1),
            steps,
            np.sin(np.pi * phase),
            np.sin(in_bar),
            np.cos(in_bar),
            *_wander(frames, 2, 0.5, rng).T,
        ],
        axis=1,
    )


def _wander(
    frames: int, width: int, seconds: float, rng: np.random.Generator
) -> np.ndarray:
    """Smooth random curves, [frames, width], that turn about every `seconds`."""
    knots = int(np.ceil(frames / FRAME_RATE / seconds)) + 2
    values = rng.standard_normal((knots, width))
    position = np.arange(frames) / FRAME_RATE / seconds
    before = position.astype(int)
    part = (1 - np.cos(np.pi * (position - before)))[:, None] / 2
    return values[before] * (1 - part) + values[before + 1] * part


@functools.cache
def _mixing(genre: int) -> np.ndarray:
    """How a genre's joints follow the oscillators, radians [8, 72]; the same always."""
    rng = np.random.default_rng((219, genre))
    shared = np.random.default_rng(219).standard_normal((_NUM_LATENTS, 3 * NUM_JOINTS))
    own = rng.standard_normal((_NUM_LATENTS, 3 * NUM_JOINTS))
    # Each genre likes some oscillators more than others.
    return 0.12 * rng.uniform(0.5, 1.5, (_NUM_LATENTS, 1)) * (0.5 * shared + own)


def _rotations(angles: np.ndarray) -> np.ndarray:
    """Axis-angle vectors [..., 3] -> rotation matrices [..., 3, 3] (Rodrigues)."""
    angle = np.linalg.norm(angles, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(angles, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1)
    cross = cross.reshape(*x.shape, 3, 3) / np.maximum(angle, 1e-9)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
