"""What a Python call asks for, in the words that the flags have."""

import difflib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.errors import UsageError
from cdcd_jax.generation.classes import as_asked
from cdcd_jax.generation.edit_files import Given, Region
from cdcd_jax.generation.samples import Samples


def divided(
    asked: Mapping[str, Any],
    condition: Mapping[str, Any],
    conditions: Mapping[str, Any],
    sampling: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keywords of a call -> conditions, and options of sampling.

    Args:
        asked: the keywords.
        condition: modality -> value, as they were given apart.
        conditions: what the model takes.
        sampling: the section of its config.

    Raises:
        UsageError: a keyword that is neither, or both.
    """
    given, options = dict(condition), {}
    for name, value in asked.items():
        if name in conditions and name in sampling:
            raise UsageError(
                f"Found {name!r}, which is a condition of this model and an option of "
                "sampling; expected it to be clear; give the condition as "
                f"condition={{{name!r}: ...}}"
            )
        if name in sampling:
            options[name] = value
        elif name in conditions:
            given[name] = value
        else:
            known = [*conditions, *sampling]
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
            raise UsageError(
                f"Found {name!r}; expected a condition of this model "
                f"({', '.join(conditions) or 'it takes none'}) or an option of "
                f"sampling; did you mean {' or '.join(near) or 'none'}?"
            )
    if options.get("batch_size", sampling.get("batch_size")) != sampling.get(
        "batch_size"
    ):
        raise UsageError(
            "Found batch_size, which belongs to the opened model; expected it there: "
            "cdcd_jax.open(workdir, sampling=dict(batch_size=...))"
        )
    return as_asked(given, conditions), options


def edit_of(
    input: Any,
    wanted: Mapping[str, Any],
    toward: Mapping[str, Any],
    conditions: Mapping[str, Any],
) -> dict[str, Any]:
    """Name -> what --edit.<name> would say.

    Args:
        input: a path, an array or `Samples`; None for none.
        wanted: numbers, several, or words; None for what is not wanted.
        toward: modality -> the other end of an interpolation.
        conditions: what the model takes.
    """
    toward = as_asked(toward, conditions)
    edit = {name: _flag(v) for name, v in wanted.items() if v is not None}
    if input is not None:
        edit["input"] = _input(input)
    return edit | {f"toward.{name}": value for name, value in toward.items()}


def _flag(value: Any) -> Any:
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if np.ndim(value) > 1:  # a mask
        return Region(np.asarray(value))
    return ",".join(map(repr, np.ravel(value).tolist()))


def _input(value: Any) -> Any:
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if isinstance(value, Samples):
        media = value.audio if value.images is None else value.images
        return Given(media, value.tokens, value.condition, value.sample_rate)
    return Given(np.asarray(value))
