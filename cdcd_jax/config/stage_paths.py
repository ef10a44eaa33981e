"""Paths that begin with "@": what an earlier stage of the same config has made.

"@records" is the directory of the stage `records`, "@records/vocabulary.json" a file in
it.
"""

import pathlib
from collections.abc import Mapping
from typing import Any


def stage_of(value: Any) -> str | None:
    """The stage whose directory, or what lies in it, a setting names; None if none."""
    if not isinstance(value, str) or not value.startswith("@"):
        return None
    return value[1:].partition("/")[0]


def resolve_stages(value: Any, workdir: pathlib.Path) -> Any:
    """Puts paths below `workdir` in the place of "@<stage>" and "@<stage>/<file>"."""
    if isinstance(value, Mapping):
        return {k: resolve_stages(v, workdir) for k, v in value.items()}
    if stage_of(value) is not None:
        return str(workdir / value[1:])
    return value


def moved_along(old: Any, new: Any, place: str) -> Any:
    """Old settings, with new paths below `place` where they end as the old ones do.

    Args:
        old, new: settings of the same run.
        place: a directory, in which all stages lie now.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {k: moved_along(v, new.get(k), place) for k, v in old.items()}
    if isinstance(old, str) and isinstance(new, str) and new.startswith(f"{place}/"):
        return new if old.endswith(new.removeprefix(place)) else old
    return old
