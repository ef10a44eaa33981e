"""Which conditions of an example are there, and whose nulls stand in for the others.

A condition that says optional=True may be left out of what is given, or say in which
rows it is: `<name>/present`, bool [B]. Its null is learned beside the others'.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cdcd_jax.errors import UsageError
from cdcd_jax.networks.prompt_conditioners import KIND, WEIGHT

PRESENT = "/present"  # after a condition's name: in which rows it is there
_ENDS = ("", PRESENT, WEIGHT)
# Whose null is taken in each row: bool [B], true for all of them at once; or by name,
# {name: bool [B]}, of which those that are not named are kept.
Drop = jax.Array | Mapping[str, jax.Array]
Specs = Mapping[str, Mapping[str, Any]]


def taken(specs: Specs, given: Mapping[str, Any]) -> dict[str, Any]:
    """What of `given` these conditions take.

    Raises:
        UsageError: a condition that is not optional is left out.
    """
    for name, spec in specs.items():
        if name not in given and not spec.get("optional"):
            raise UsageError(
                f"Found the conditions {sorted(given)}; expected {name!r} among them; "
                f"give it, or train a model whose model.conditions.{name} says "
                "optional=True."
            )
    names = [f"{name}{end}" for name in specs for end in _ENDS]
    return {name: given[name] for name in names if name in given}


def nulls(
    specs: Specs, condition: Mapping[str, jax.Array], drop: Drop
) -> dict[str, jax.Array]:
    """Whose nulls stand in each row: bool [B] by name, of those dropped or absent.

    Args:
        specs: full descriptions by name.
        condition: arrays [B, ...] by name.
        drop: see `Drop`.

    Raises:
        UsageError: a condition that is not optional is left out.
    """
    condition = taken(specs, condition)
    rows = len(jax.tree.leaves((drop, condition))[0])
    found = {}
    for name, spec in specs.items():
        kept = jnp.zeros(rows, bool)
        null = drop.get(name, kept) if isinstance(drop, Mapping) else drop
        if name not in condition:
            null = jnp.ones(rows, bool)
        elif spec.get("optional") and f"{name}{PRESENT}" in condition:
            null = null | ~condition[f"{name}{PRESENT}"]
        found[name] = null
    return found


def drawn_drop(
    key: jax.Array,
    specs: Specs,
    condition: Mapping[str, jax.Array],
    rate: float,
    rows: int,
) -> Drop:
    """Whose nulls each example is trained under.

    All at once at a rate. Where there are several and some are optional, each of these
    also by itself at the same rate, so that its null is known beside the others. Of
    several prompts every subset is as likely, but for the empty one.
    """
    everything = jax.random.bernoulli(key, rate, (rows,))
    prompts = [name for name, spec in specs.items() if spec["kind"] == KIND]
    prompts = sorted(name for name in prompts if name in condition)
    optional = [name for name, spec in specs.items() if spec.get("optional")]
    if not optional:
        return everything
    drop = dict.fromkeys(specs, everything)
    apart = [name for name in optional if name not in prompts]
    for name in apart if len(specs) > 1 else ():
        # by name, so that the order of the config changes nothing
        own = jax.random.fold_in(key, zlib.crc32(name.encode()))
        drop[name] = everything | jax.random.bernoulli(own, rate, (rows,))
    if prompts:
        own = jax.random.fold_in(key, zlib.crc32(KIND.encode()))
        which = jax.random.randint(own, (rows,), 1, 2 ** len(prompts))
        for i, name in enumerate(prompts):
            drop[name] = everything | ((which >> i) & 1 == 0)
    return nulls(specs, condition, drop)
