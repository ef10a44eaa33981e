"""One config laid over another: unknown keys and other types are errors.

The message for an unknown key names the nearest that there are.
"""

import copy
import difflib
from collections.abc import Mapping
from typing import Any

from cdcd_jax.errors import UsageError


def merge(base: Mapping[str, Any], changes: Mapping[str, Any], path: str = "") -> dict:
    """`base` with `changes` laid over it, section by section.

    Raises:
        UsageError: a key of `changes` that `base` does not have, or another type.
    """
    out = dict(copy.deepcopy(dict(base)))
    for key, value in changes.items():
        if key not in base:
            raise UsageError(unknown_key(f"{path}{key}", base, path))
        check_type(f"{path}{key}", base[key], value)
        nested = isinstance(value, Mapping) and isinstance(base[key], Mapping)
        # a section of another kind brings keys of its own
        other_kind = nested and value.get("kind") not in (None, base[key].get("kind"))
        # an empty default section (stages, conditions) takes any name
        if nested and base[key] and not other_kind:
            out[key] = merge(base[key], value, f"{path}{key}.")
        else:
            out[key] = copy.deepcopy(value)
    return out


def check_type(key: str, default: Any, value: Any) -> None:
    """Raises UsageError unless the types agree (an int may stand for a float)."""
    kinds = {
        bool: bool,
        int: int,
        float: (int, float),
        str: str,
        tuple: (tuple, list),
        list: (tuple, list),
        dict: Mapping,
    }
    fits = isinstance(value, kinds[type(default)])
    if not fits or (isinstance(value, bool) and not isinstance(default, bool)):
        raise UsageError(
            f"config key {key!r} is {value!r}: expected a {type(default).__name__} "
            f"such as {default!r}"
        )


def unknown_key(key: str, known: Mapping[str, Any], path: str = "") -> str:
    """The message for a key that does not exist, with the nearest that do."""
    names = [f"{path}{name}" for name in known]
    if not names:
        return f"unknown config key {key!r}: {path[:-1]} has no keys below it"
    near = difflib.get_close_matches(key, names, n=3, cutoff=0.5) or names
    return f"unknown config key {key!r}: did you mean {' or '.join(near)}?"
