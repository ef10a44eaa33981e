"""Samples larger than a model's: windows, each continued from what is there.

A model draws a window of H x W tokens; of sound, H is 1. On a larger canvas windows
overlap: tokens that are known, or were drawn by a window before, stand. The first
window lies at an origin, and the others follow by their distance from it, so that each
has something to continue. The last ones are moved back to end with the canvas.

With motion, a window of sound begins at a whole token and shows the motion from the
nearest frame on, real motion throughout; only a dance shorter than a window is filled
up, by holding its last frame.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from cdcd_jax.errors import UsageError
from cdcd_jax.generation.condition_files import MOTION
from cdcd_jax.networks.presence import taken

_MOST = 2**22  # tokens of a canvas
_REST = 1 / 120  # seconds by which a window's motion may outlast its tokens


class Plan(NamedTuple):
    """How a canvas is covered; sizes are (rows, columns), in tokens."""

    canvas: tuple[int, int]
    window: tuple[int, int]
    corners: tuple[tuple[int, int], ...]  # of windows, in the order of drawing


def timed(
    conditions: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, Any] | None = None,
) -> dict[str, Mapping[str, Any]]:
    """The conditions that have time, of all or of those that are given."""
    present = conditions if given is None else given
    return {k: v for k, v in conditions.items() if v["kind"] in MOTION and k in present}


def duration(
    condition: Mapping[str, np.ndarray], conditions: Mapping[str, Mapping[str, Any]]
) -> float | None:
    """Seconds of the conditions that have time; None if none has.

    Raises:
        UsageError: they differ.
    """
    seconds = {
        name: condition[name].shape[1] / spec["frame_rate"]
        for name, spec in timed(conditions, condition).items()
    }
    if len(set(seconds.values())) > 1:
        told = ", ".join(f"{name} of {s:.4g} s" for name, s in seconds.items())
        raise UsageError(f"conditions differ in length: {told}; cut them to one length")
    return next(iter(seconds.values()), None)


def token_seconds(
    tokenizer: Any, conditions: Mapping[str, Mapping[str, Any]], length: int
) -> float:
    """How long a token is: by the tokenizer's sound, or else by a window's motion."""
    if "audio" in tokenizer.outputs:
        return tokenizer.outputs["audio"][0] / tokenizer.sample_rate / length
    spec = next(iter(timed(conditions).values()))
    return spec["shape"][0] / spec["frame_rate"] / length


def tokens_of(seconds: float, length: int, token: float) -> int:
    """Tokens that sound of so many seconds takes, at least a window's `length`.

    Args:
        seconds: of the sound.
        length: tokens of a window.
        token: seconds of one.
    """
    if seconds <= length * token + _REST:
        return length
    return int(np.ceil(seconds / token - 1e-6))


def plan(
    canvas: tuple[int, int],
    window: tuple[int, int],
    overlap: float,
    origin: tuple[int, int] = (0, 0),
) -> Plan:
    """Covers a canvas.

    Args:
        canvas: its size, no side shorter than the window's.
        window: the model's size.
        overlap: share of a window's side that is known from the one before, in [0, 1).
        origin: corner of the first window.

    Raises:
        UsageError: an overlap out of range, or a canvas that would fill the memory.
    """
    if math.prod(canvas) > _MOST:
        raise UsageError(
            f"Found samples of {math.prod(canvas)} tokens; expected at most {_MOST}; "
            "ask for smaller ones, and expand or continue those"
        )
    if not 0 <= overlap < 1:
        raise UsageError(
            f"Found sampling.overlap = {overlap}; expected a share of a window, at "
            "least 0 and below 1; correct it"
        )
    axes = [
        _starts(*side, overlap) for side in zip(canvas, window, origin, strict=True)
    ]
    far = lambda corner: sum(abs(a - b) for a, b in zip(corner, origin, strict=True))
    corners = sorted(((i, j) for i in axes[0] for j in axes[1]), key=far)
    return Plan(tuple(canvas), tuple(window), tuple(corners))


def _starts(total: int, length: int, origin: int, overlap: float) -> list[int]:
    """Where windows start along a side, outward from the origin to both its ends."""
    last, step = total - length, max(1, length - round(overlap * length))
    after, before = (*range(origin, last, step), last), (*range(origin, 0, -step), 0)
    return sorted({*after, *before, origin})


def fit(audio: np.ndarray, samples: int) -> np.ndarray:
    """Sound [N, S] cut, or filled with silence, to so many samples."""
    missing = max(0, samples - audio.shape[1])
    return np.pad(audio[:, :samples], ((0, 0), (0, missing)))


def draw(
    sample: Callable[..., np.ndarray],
    cut: Plan,
    tokens: np.ndarray,
    known: np.ndarray,
) -> tuple[np.ndarray, int]:
    """Draws what is not known, window by window; windows that are known are passed.

    Args:
        sample: (number of the window, its corner, tokens int32 [N, L], known bool
            [N, L]) -> tokens [N, L], those that are known unchanged.
        cut: the plan.
        tokens: int32 [N, *cut.canvas]; those that are not known may be a start.
        known: bool, of the same shape.

    Returns:
        tokens int32 [N, *cut.canvas], and how many windows were drawn.
    """
    whole, known, drawn = tokens.copy(), known.copy(), 0
    (height, width), rows = cut.window, len(tokens)
    for number, (top, left) in enumerate(cut.corners):
        place = np.s_[:, top : top + height, left : left + width]
        if known[place].all():
            continue
        given = (part[place].copy().reshape(rows, -1) for part in (whole, known))
        found = sample(number, (top, left), *given)
        whole[place] = found.reshape(rows, height, width)
        known[place], drawn = True, drawn + 1
    return whole, drawn


def seen(
    condition: Mapping[str, np.ndarray],
    conditions: Mapping[str, Mapping[str, Any]],
    seconds: float,
) -> dict[str, np.ndarray]:
    """What a window sees of conditions from a time on; what has no time, whole.

    Args:
        condition: motion [N, F, C] of any F, the rest as the model takes it.
        conditions: what the model takes.
        seconds: where the window begins.
    """
    found = taken(conditions, condition)
    for name, spec in timed(conditions, condition).items():
        motion = condition[name]
        found[name] = motion[:, _frames(motion.shape[1], spec, seconds)]
    return found


def _frames(number: int, spec: Mapping[str, Any], seconds: float) -> np.ndarray:
    """Frames from a time on; after the last one it holds."""
    first = int(np.floor(seconds * spec["frame_rate"] + 0.5))
    return np.minimum(first + np.arange(spec["shape"][0]), number - 1)
