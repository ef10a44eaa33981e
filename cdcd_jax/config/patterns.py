"""Dotted keys by pattern: `*` stands for one name, `**` for any number of names.

`model.**.width` is `model.width`, `model.conditions.text.width`, and the width of a
model that stands anywhere inside of another one.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any


def matches(key: str, pattern: str) -> bool:
    """Whether a dotted key is one of a pattern."""
    return _compiled(pattern).fullmatch(f".{key}") is not None


def leaves(section: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys with their values, of all that is no section itself."""
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Each part with a dot in front of it, as `matches` puts one before a key."""
    parts = {"*": r"\.[^.]+", "**": r"(?:\.[^.]+)*"}
    every = "".join(
        parts.get(part, rf"\.{re.escape(part)}") for part in pattern.split(".")
    )
    return re.compile(every)
