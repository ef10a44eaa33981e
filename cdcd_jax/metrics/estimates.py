"""Estimates with their number and standard error, where records have several samples.

Several samples of one record are no independent draws: errors are over records.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.errors import InputError


def part_of(name: str, of: Mapping[str, Any], key: str) -> Any:
    """What a set of samples is judged by.

    Args:
        name: of the set.
        of: its arrays, or its conditions.

    Raises:
        InputError: it is not there.
    """
    if key not in of:
        raise InputError(
            f"Found the samples {name} without {key!r}; expected it, as it is what "
            "judges them; draw them with it among eval.sets.<name>.outputs, of records "
            "that have it, or set eval.figures=''"
        )
    return of[key]


def records_of(decoded: Mapping[str, Any]) -> np.ndarray:
    """The record that each sample was drawn for, int [N], by its first sample.

    Samples under equal conditions, and with equal true pictures, are of one record.
    Without `truth` they were drawn for no records: each counts by itself.
    """
    arrays = [np.asarray(array) for array in decoded["condition"].values()]
    if "truth" not in decoded:
        return np.arange(len(arrays[0]))
    arrays.append(np.asarray(decoded["truth"]["images"]))
    number = len(arrays[-1])
    first: dict[bytes, int] = {}
    rows = (b"".join(array[i].tobytes() for array in arrays) for i in range(number))
    return np.array([first.setdefault(row, i) for i, row in enumerate(rows)])


def ranks(records: np.ndarray) -> np.ndarray:
    """How many samples of its record come before each, int [N]."""
    seen: dict[int, int] = {}
    found = []
    for record in records.tolist():
        found.append(seen.get(record, 0))
        seen[record] = found[-1] + 1
    return np.array(found)


def estimate(
    name: str,
    above: np.ndarray,
    below: np.ndarray | None = None,
    records: np.ndarray | None = None,
) -> dict[str, float]:
    """sum(above) / sum(below) as figures: `name`, `name/n`, `name/standard_error`.

    The error is that of a ratio of sums over records, to first order: with equal
    `below` and a sample a record, the deviation over the root of N.

    Args:
        above, below: float [N]; what is left out has 0 in both. Without `below` it is
            the mean.
        records: int [N], equal for samples of one record; None for one each.

    Returns:
        The figures; nan where there is nothing, or no second record.
    """
    above = np.asarray(above, np.float64)
    below = np.ones(len(above)) if below is None else np.asarray(below, np.float64)
    used = below > 0
    above, below, number = above[used], below[used], int(used.sum())
    records = np.arange(number) if records is None else np.asarray(records)[used]
    value = error = np.nan
    if number:
        which = np.unique(records, return_inverse=True)[1]
        above, below = np.bincount(which, above), np.bincount(which, below)
        value = above.sum() / below.sum()
        if (count := len(above)) > 1:
            rest = np.square(above - value * below).sum() * count / (count - 1)
            error = np.sqrt(rest) / below.sum()
    return {
        name: float(value),
        f"{name}/n": number,
        f"{name}/standard_error": float(error),
    }
