"""One checkpoint read back: whole and as it was saved, or damaged, with the reason.

Every process reads its own part, and all of them find the same: what one cannot read
is damaged for all.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from cdcd_jax.errors import InputError
from cdcd_jax.runtime import hosts
from cdcd_jax.runtime.leaf_table import check_same_leaves, checksums, unsealed
from cdcd_jax.runtime.orbax_noise import silence_of_failed_reads
from cdcd_jax.runtime.storage import reason_of_failed_read
from cdcd_jax.runtime.targets import with_empty, without_empty


class Damage(Exception):
    """A checkpoint cannot be read back as it was written; the text says why."""


def read(
    manager: Callable[[], ocp.CheckpointManager],
    directory: epath.Path,
    step: int,
    target: Any,
    part: bool,
) -> Any:
    """The state of one checkpoint, verified.

    Args:
        manager: opens that of the directory.
        directory: of the checkpoints.
        step: which of them.
        target: pytree of `jax.ShapeDtypeStruct`.
        part: the checkpoint may hold more than the target.

    Raises:
        Damage: it is not as it was written.
        InputError: it holds another structure, shape or dtype.
    """
    leaves = table(manager, directory, step)
    check_same_leaves(leaves, target, directory / str(step), part)
    wanted = without_empty(target)
    args = ocp.args.StandardRestore(wanted)
    if part:
        args = ocp.args.PyTreeRestore(
            wanted,
            partial_restore=True,
            restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
        )
    state = with_empty(_item(manager, directory / str(step), "state", args), target)
    for name, checksum in checksums(state).items():
        if checksum != leaves[name]["checksum"]:
            raise Damage(f"the values of leaf '{name}' differ from those saved")
    return state


def table(
    manager: Callable[[], ocp.CheckpointManager], directory: epath.Path, step: int
) -> dict[str, Any]:
    """Leaf name -> shape, dtype and checksum, of one checkpoint; raises Damage."""
    leaves = _item(manager, directory / str(step), "leaves", ocp.args.JsonRestore())
    try:
        return unsealed(leaves)
    except (KeyError, TypeError, ValueError) as error:
        raise Damage(f"its table of leaves is broken ({error})") from error


def _item(
    manager: Callable[[], ocp.CheckpointManager],
    place: epath.Path,
    name: str,
    args: Any,
) -> Any:
    """A part of the checkpoint in `place`; raises Damage."""
    found, reason = None, ""
    try:
        with silence_of_failed_reads():
            args = ocp.args.Composite(**{name: args})
            found = manager().restore(int(place.name), args=args)[name]
            if found is None:
                reason = f"its part '{name}' is missing"
    except (MemoryError, jax.errors.JaxRuntimeError):
        raise
    except Exception as error:
        reason = reason_of_failed_read(error, place)
    if not hosts.all_agree(not reason):
        raise Damage(reason or "another process cannot read it")
    return found


def refused(
    directory: epath.Path, step: int, damage: Damage, steps: Sequence[int]
) -> InputError:
    """What is said of a damaged checkpoint that was asked for.

    Args:
        steps: of all checkpoints.
    """
    others = [other for other in steps if other != step]
    advice = f"; or move it away, to use one of the other steps {others}"
    return InputError(
        f"Found a damaged checkpoint {directory / str(step)}: {damage}. "
        "Expected a whole one. Bring back a copy of it, or make it anew"
        f"{advice if others else ''}."
    )
