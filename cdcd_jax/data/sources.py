"""The table of raw sources: name in the config -> module that opens it.

A source has `card()`, a dict with `name`, `splits` (names) and `conditions` (name ->
`shape`, `dtype` and, for labels, `num_classes`), and `examples(split)`, an iterator of
dicts with a stable `key`, the raw data and `condition`. The order never changes.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from cdcd_jax.data import digits
from cdcd_jax.errors import UsageError

SOURCES = {"digits": digits}


class RawSource(Protocol):
    """What every source offers; see the top of this file."""

    def card(self) -> dict[str, Any]: ...

    def examples(self, split: str) -> Iterator[dict[str, Any]]: ...


def open_source(name: str, options: Mapping[str, Any]) -> RawSource:
    """Returns the source `name`, opened with its `options` (always `seed`).

    Raises:
      UsageError: unknown name, or options that this source does not take.
    """
    if name not in SOURCES:
        raise UsageError(
            f"Found data.raw = {name!r}; expected one of "
            f"{', '.join(sorted(SOURCES))}; correct data.raw."
        )
    return SOURCES[name].open_source(options)
