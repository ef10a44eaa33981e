"""Which settings a run may change when it goes on, and what else differs."""

from collections.abc import Mapping, Sequence
from typing import Any

from cdcd_jax.config.patterns import matches

# What may differ between a work directory's run and one that continues it, by pattern.
CONTINUABLE = (
    "report.**",
    "eval.**",
    "sampling.**",
    "stages.**",
    "optim.num_steps",
    "data.threads",
    "mesh.**",
    # of the model, and of models inside of it
    "model.**.attention",
    "model.**.head_chunk",
    "model.**.remat",
)


def joined(config: Mapping[str, Any]) -> bool:
    """Whether a run trains nothing, and is made anew of what its config names."""
    return bool(config["init_parts"]) and not config["optim"]["num_steps"]


def differences(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    path: str = "",
    also: Sequence[str] = (),
) -> list[str]:
    """Dotted keys whose values differ, except those that a continued run may change.

    `also`: keys that may change beside `CONTINUABLE`.
    """
    found = []
    for key in sorted(set(old) | set(new)):
        name = f"{path}{key}"
        a, b = old.get(key), new.get(key)
        if a == b:
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{name}.", also)
        elif name not in also and not _continuable(name, a, b):
            found.append(f"{name} ({a!r} there, {b!r} now)")
    return found


def _continuable(name: str, *values: Any) -> bool:
    """Whether a run may go on with another value.

    A condition may have any name, `attention` too: a section is only meant where all
    below it is.
    """
    section = any(isinstance(value, Mapping) for value in values)
    return any(
        matches(name, pattern)
        for pattern in CONTINUABLE
        if pattern.endswith(".**") or not section
    )
