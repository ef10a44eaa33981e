"""Sound for motion of any length: windows, each continued from the one before.

A model draws L tokens for a window of motion. A longer dance is cut into windows that
overlap; the tokens of the overlap are known from the window before, and stand. A window
begins at a whole token and shows the motion from the nearest frame on. The last one is
moved back to end with the dance, so that a model sees real motion throughout; only a
dance shorter than a window is filled up, by holding its last frame.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from cdcd_jax.condition_files import MOTION
from cdcd_jax.errors import UsageError

_REST = 1 / 120  # seconds by which a window's motion may outlast its tokens


class Plan(NamedTuple):
    """How a dance is cut."""

    starts: tuple[int, ...]  # of windows, in tokens
    token: float  # seconds of one


def timed(conditions: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The conditions that have time."""
    return {k: v for k, v in conditions.items() if v["kind"] in MOTION}


def duration(
    condition: Mapping[str, np.ndarray], conditions: Mapping[str, Mapping[str, Any]]
) -> float | None:
    """Seconds of the conditions that have time; None if none has.

    Raises:
        UsageError: they differ.
    """
    seconds = {
        name: condition[name].shape[1] / spec["frame_rate"]
        for name, spec in timed(conditions).items()
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


def plan(seconds: float, length: int, token: float, overlap: float) -> Plan:
    """Cuts a dance.

    Args:
        seconds: of the dance.
        length: tokens of a window, L.
        token: seconds of one.
        overlap: share of a window that is known from the one before, in [0, 1).

    Raises:
        UsageError: an overlap out of range.
    """
    if not 0 <= overlap < 1:
        raise UsageError(
            f"Found sampling.overlap = {overlap}; expected a share of a window, at "
            "least 0 and below 1; correct it"
        )
    last = 0
    if seconds > length * token + _REST:
        last = int(np.ceil(seconds / token - 1e-6)) - length
    step = max(1, length - round(overlap * length))
    return Plan((*range(0, last, step), last), token)


def fit(audio: np.ndarray, samples: int) -> np.ndarray:
    """Sound [N, S] cut, or filled with silence, to so many samples."""
    missing = max(0, samples - audio.shape[1])
    return np.pad(audio[:, :samples], ((0, 0), (0, missing)))


def draw(
    sample: Callable[..., np.ndarray],
    condition: Mapping[str, np.ndarray],
    conditions: Mapping[str, Mapping[str, Any]],
    cut: Plan,
    length: int,
) -> np.ndarray:
    """Tokens int32 [N, max(L, of the whole)] of dances, window by window.

    Args:
        sample: (condition, number of the window, known) -> tokens [N, L]; known is None
            or (tokens [N, L], bool [N, L]).
        condition: motion [N, F, C] of any F, the rest as the model takes it.
        conditions: what the model takes.
        cut: the plan for these F.
        length: L.
    """
    whole: np.ndarray | None = None
    for number, start in enumerate(cut.starts):
        seen = {
            name: _window(condition[name], spec, start * cut.token)
            for name, spec in conditions.items()
        }
        known = None if whole is None else _known(whole, start, length)
        tokens = sample(seen, number, known)
        before = tokens[:, :0] if whole is None else whole[:, :start]
        whole = np.concatenate([before, tokens], axis=1)
    return whole


def _window(value: np.ndarray, spec: Mapping[str, Any], seconds: float) -> np.ndarray:
    if spec["kind"] not in MOTION:
        return value
    return value[:, _frames(value.shape[1], spec, seconds)]


def _frames(number: int, spec: Mapping[str, Any], seconds: float) -> np.ndarray:
    """Frames from a time on; after the last one it holds."""
    first = int(np.floor(seconds * spec["frame_rate"] + 0.5))
    return np.minimum(first + np.arange(spec["shape"][0]), number - 1)


def _known(whole: np.ndarray, start: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """What a window begins with: the tokens from `start` on, and where they stand."""
    count = whole.shape[1] - start
    tokens = np.zeros((len(whole), length), np.int32)
    tokens[:, :count] = whole[:, start:]
    return tokens, np.broadcast_to(np.arange(length) < count, tokens.shape)
