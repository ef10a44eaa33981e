"""Which records are negatives of which: other samples, of another class or caption.

A table drawn once and stored with the records replaces drawing in the input pipeline,
so that every run and every process sees the same negatives of a record.
"""

from collections.abc import Sequence

import numpy as np

from cdcd_jax.errors import InputError, UsageError


def draw_table(groups: Sequence[str], number: int, seed: int) -> np.ndarray:
    """For each record `number` distinct records of other groups.

    Each row is uniform over all such choices and their orders, and independent of the
    other rows. Same arguments, same table.

    Args:
      groups: of each of the n records, what its negatives must differ in.
      number: negatives a record, 1 or more.
      seed: 0 or more.

    Returns: uint32 [n, number], positions in `groups`.
    Raises:
      UsageError: a number or seed out of range.
      InputError: a group leaves fewer than `number` other records; names it.
    """
    if number < 1 or seed < 0:
        raise UsageError(
            f"Found number = {number} and seed = {seed} for a table of negatives; "
            "expected 1 or more and 0 or more; correct them."
        )
    names: dict[str, int] = {}
    own = np.fromiter((names.setdefault(g, len(names)) for g in groups), np.int64)
    count, sizes = len(own), np.bincount(own, minlength=1)
    _check_others(count - sizes, list(names), number)
    # Records sorted by group: those of other groups are all but one stretch.
    by_group = np.argsort(own, kind="stable")
    starts = np.cumsum(sizes) - sizes
    start, size = starts[own], sizes[own]

    rng = np.random.default_rng(seed)
    table = np.empty((count, number), np.uint32)
    for column in range(number):
        rows = np.arange(count)
        while len(rows):  # again where a row has drawn this one before
            drawn = rng.integers(count - size[rows])
            drawn += np.where(drawn >= start[rows], size[rows], 0)
            table[rows, column] = by_group[drawn]
            before = table[rows, :column]
            rows = rows[(before == table[rows, column, None]).any(axis=1)]
    return table


def _check_others(others: np.ndarray, names: list[str], number: int) -> None:
    """Raises InputError where a group has fewer than `number` records outside it."""
    if not names or others.min() < number:
        worst = int(np.argmin(others))
        what = f"the group {names[worst]!r}" if names else "no records"
        raise InputError(
            f"Found {what}, outside of which there are {others[worst]} records; "
            f"expected {number} or more, as many as negatives are drawn; draw fewer, "
            "group by another rule, or add records of other groups."
        )
