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
