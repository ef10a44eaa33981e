"""What a run is asked to do: every key with its default and its range, and merging.

Files, in reading order: `keys` (what all tasks share, merging, comparing), `ranges`
(which numbers a key may have), `records` (the config of token records). Config files
import from here.
"""

from cdcd_jax.config.keys import (
    CONTINUABLE,
    SYNTHETIC,
    SYNTHETIC_MEDIA,
    Config,
    check_type,
    defaults,
    differences,
    experiment,
    merge,
    resolve_stages,
    unknown_key,
    variant,
    with_defaults,
)

__all__ = [
    "CONTINUABLE",
    "SYNTHETIC",
    "SYNTHETIC_MEDIA",
    "Config",
    "check_type",
    "defaults",
    "differences",
    "experiment",
    "merge",
    "resolve_stages",
    "unknown_key",
    "variant",
    "with_defaults",
]
