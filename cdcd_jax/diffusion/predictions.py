"""What a network may say of x_t: the noise, the clean code or v, one from another.

With x_t = signal x_0 + noise eps all three say the same:

    v = signal eps - noise x_0        (Salimans and Ho 2022)
    x_0 = signal x_t - noise v,       eps = noise x_t + signal v
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from cdcd_jax.diffusion.aggregation import aggregate, rowwise
from cdcd_jax.diffusion.gaussian_schedule import Level

if TYPE_CHECKING:
    from jaxtyping import Array, Float

PREDICTIONS = ("noise", "x_0", "v")


class Predicted(NamedTuple):
    """What a network says by two kinds of heads; either may be None, not both."""

    values: jax.Array | None  # [B, ...] noise, x_0 or v of the code as a whole
    codes: Mapping[str, jax.Array] | None  # by modality E_i(x_i), re-encoded, [B, ...]


class Reading(NamedTuple):
    """A prediction as x_t = signal clean + noise eps reads it."""

    clean: jax.Array  # [B, ...] x_0, or the aggregated code at t
    noise: jax.Array  # [B, ...] eps
    codes: Mapping[str, jax.Array] | None  # by modality, [B, ...]


def split(
    kind: str,
    said: Float[Array, "B ..."],
    x_t: Float[Array, "B ..."],
    level: Level,
) -> tuple[Float[Array, "B ..."], Float[Array, "B ..."]]:
    """x_0 and eps, [B, ...] each, from one of `PREDICTIONS`.

    Args:
        kind: of what is said.
        said: [B, ...].
        x_t: [B, ...].
        level: of t, scalars or [B].
    """
    a, b = (rowwise(c, x_t) for c in level)
    if kind == "noise":
        return (x_t - b * said) / a, said
    if kind == "x_0":
        return said, (x_t - a * said) / b
    return a * x_t - b * said, b * x_t + a * said


def join(
    kind: str,
    clean: Float[Array, "B ..."],
    noise: Float[Array, "B ..."],
    level: Level,
) -> Float[Array, "B ..."]:
    """What a network of this kind would say, [B, ...], from x_0 and eps."""
    if kind == "v":
        a, b = (rowwise(c, clean) for c in level)
        return a * noise - b * clean
    return noise if kind == "noise" else clean


def read(
    kind: str,
    prediction: Any,
    x_t: Float[Array, "B ..."],
    level: Level,
    weights: Mapping[str, Float[Array, "..."]] | None,
) -> Reading:
    """What a prediction says of the clean code and of the noise.

    Args:
        kind: one of `PREDICTIONS`.
        prediction: values [B, ...]; codes by modality; or a `Predicted` of both, of
            which the values then say x_0 and the noise.
        x_t: [B, ...].
        level: of t, scalars or [B].
        weights: W_t by modality, scalars or [B]; None for one modality.

    Raises:
        ValueError: codes where there are no weights, or of other names; or nothing.
    """
    if isinstance(prediction, Mapping):
        prediction = Predicted(None, prediction)
    elif not isinstance(prediction, Predicted):
        prediction = Predicted(prediction, None)
    values, codes = prediction
    if codes is not None and weights is None:
        raise ValueError(
            f"codes of {', '.join(codes)} were predicted, but the process aggregates "
            "none: predict one array, or give the process an aggregation"
        )
    code = None if codes is None else aggregate(codes, weights)
    if values is not None:
        return Reading(*split(kind, values, x_t, level), codes)
    if code is None:
        raise ValueError("nothing was predicted: give values, codes, or both")
    return Reading(*split("x_0", code, x_t, level), codes)


def moved(
    codes: Mapping[str, Float[Array, "B ..."]] | None,
    shift: Mapping[str, Float[Array, "..."]],
) -> Float[Array, "B ..."]:
    """How far codes by modality move the clean code where weights change by `shift`.

    Raises:
        ValueError: no codes.
    """
    if codes is None:
        raise ValueError(
            "the weights of modalities change with t, and an array says nothing of how "
            "the code moves: predict codes too (`Predicted`), or choose constant "
            "weights"
        )
    return aggregate(codes, shift)
