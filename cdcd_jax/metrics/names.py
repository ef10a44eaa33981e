"""How figures are named after the set of samples that they judge."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def suffix(name: str) -> str:
    """'' of unguided samples, '_guided' of guided ones, '@steps=8' of a sweep's point.

    Args:
        name: of a set of samples; those of a sweep say options as `option=value`.
    """
    if name == "unguided":
        return ""
    return f"@{name}" if "=" in name else f"_{name}"


def kind_of(name: str, kinds: Sequence[str]) -> tuple[str, str] | None:
    """The kind of a set and what its name says beyond it, '' or '_<ending>'.

    None of a set of another name.

    Args:
        name: of a set, such as joint, joint_quick or masked_25_quick.
        kinds: such as joint or masked_<percent>.
    """
    any_of = "|".join(re.escape(k).replace("<percent>", r"\d+") for k in kinds)
    found = re.fullmatch(f"({any_of})((?:_.+)?)", name)
    return (found[1], found[2]) if found else None


def of_kinds(
    samples: Mapping[str, Any], kinds: Sequence[str]
) -> Iterator[tuple[str, str, str, Any]]:
    """(name, kind, ending, samples) of the sets of these kinds, see `kind_of`."""
    for name in samples:
        if found := kind_of(name, kinds):
            yield name, *found, samples[name]
