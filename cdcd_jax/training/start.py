"""The state that a run starts from.

In this order: the work directory's newest sound checkpoint; else `init_from`; else from
scratch, and over both the parts that `init_parts` names. What a run of no steps kept of
such parts is not gone by: they may be others by now.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from cdcd_jax.config import joined
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.runtime.checkpoint import Checkpoints, load_parts
from cdcd_jax.training.program import abstract_state, new_state
from cdcd_jax.training.step import TrainState


def starting_state(
    config: Mapping[str, Any],
    task: Any,
    optimizer: Any,
    checkpoints: Checkpoints,
    mesh: Mesh,
) -> TrainState:
    """The state to go on from, in the order of the file's head."""
    abstract = abstract_state(task, optimizer, mesh)
    if not (joined(config) and checkpoints.latest_step() in (None, 0)):
        restored = checkpoints.restore(abstract)
        if restored is not None:
            return restored[1]
    needed = set(task.describe()["given"]) - set(config["init_parts"])
    if needed and not config["init_from"]:
        raise UsageError(
            f"{', '.join(sorted(needed))} must come from other weights, which this "
            "config does not name: set init_parts or init_from, or do without "
            "(losses.perceptual = 0, quantizer.remap = 0, a tower's frozen = False)"
        )
    state = new_state(task, optimizer, config["seed"], mesh)
    params = state.params
    if config["init_from"]:
        kept = {k: abstract.extra[k] for k in task.describe()["kept"]}
        _, params, extra = load_parts(config["init_from"], abstract.params, kept)
        state = state.replace(extra={**state.extra, **extra})
    for name, source in config["init_parts"].items():
        params = _with_part(params, abstract.params, name, source)
    if params is state.params:
        return state
    return state.replace(params=params, ema_params=jax.tree.map(jnp.copy, params))


def _with_part(
    params: Any, abstract: Any, name: str, source: str | Mapping[str, str]
) -> Any:
    """`params` with the part `name` of a work directory; see config.init_parts.

    Raises:
        UsageError: no such part of this model.
        InputError: no such part there, or one of other shapes.
    """
    wanted, names, below = abstract, name.split("/"), ""
    for first in names:
        if not isinstance(wanted, Mapping) or first not in wanted:
            known = wanted if isinstance(wanted, Mapping) else ()
            parts = ", ".join(below + other for other in known) or "nothing below it"
            raise UsageError(
                f"config.init_parts names {below + first!r}, which is no part of this "
                f"model: expected some of {parts}"
            )
        wanted, below = wanted[first], f"{below}{first}/"
    return _replaced(params, names, _part_of(source, name, wanted))


def _part_of(source: str | Mapping[str, str], name: str, wanted: Any) -> Any:
    """The part of a source, as it says which; "" is all of it.

    A source that is a path alone has it at the same path, as runs of the same kind do,
    or else is that part, as a converted tower is.
    """
    if isinstance(source, Mapping):
        if set(source) != {"path", "part"}:
            raise UsageError(
                f"Found init_parts[{name!r}] = {dict(source)}; expected dict(path=.., "
                "part=..), a work directory and a part of what it learned; correct it."
            )
        return _at(source["path"], source["part"], wanted)
    try:
        return _at(source, name, wanted)
    except InputError as at_path:
        try:
            return load_parts(source, wanted, {})[1]
        except InputError as alone:
            if str(alone) == str(at_path):  # there is nothing to read at all
                raise
            raise InputError(
                f"Found no part {name!r} in {source}; expected it at the path "
                f"'ema_params/{name}' ({at_path}) or at 'ema_params', as that part "
                f"alone ({alone}). Name a work directory of either kind in init_parts."
            ) from None


def _at(source: str, path: str, wanted: Any) -> Any:
    """What lies at a path of a source's averaged parameters.

    Raises:
        InputError: nothing, or something else.
    """
    keys = path.split("/") if path else []
    nested = wanted
    for key in reversed(keys):
        nested = {key: nested}
    loaded = load_parts(source, nested, {})[1]
    for key in keys:
        loaded = loaded[key]
    return loaded


def _replaced(params: Any, names: list[str], part: Any) -> Any:
    """`params` with `part` at the path `names`."""
    if not names:
        return part
    first, *rest = names
    return {**params, first: _replaced(params[first], rest, part)}


def load_params(
    workdir: str | pathlib.Path, abstract: TrainState
) -> tuple[int, Any, Any]:
    """Step, averaged parameters and extra of a work directory's newest checkpoint.

    Raises:
        InputError: there is none.
    """
    return load_parts(workdir, abstract.ema_params, abstract.extra)
