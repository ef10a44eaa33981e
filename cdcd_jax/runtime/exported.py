"""The weights of a model that is passed on: one safetensors file, and no checkpoint.

It holds what a model is used with, averaged parameters and `extra`, by the names that a
checkpoint has, but no state of an optimizer; and beside them the checkpoint's table of
leaves, by which damage shows. Nothing in it is a pickle.
"""

import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from cdcd_jax.errors import InputError
from cdcd_jax.runtime.leaf_table import (
    check_same_leaves,
    checksums,
    describe,
    named_leaves,
    sealed,
    unsealed,
)
from cdcd_jax.runtime.targets import as_target

WEIGHTS = "model.safetensors"  # in a work directory
_KEY, _FORMAT = "model", 1  # one key, since several come in any order


def weights_file(step: int, state: Mapping[str, Any]) -> bytes:
    """The contents of the file.

    Args:
        step: of the checkpoint.
        state: {'ema_params': .., 'extra': ..}, pytrees of arrays.
    """
    import safetensors.numpy  # which training does not need

    arrays = {k: np.asarray(leaf) for k, leaf in named_leaves(state).items()}
    about = dict(format=_FORMAT, step=step, leaves=sealed(describe(state)))
    return safetensors.numpy.save(arrays, {_KEY: json.dumps(about, sort_keys=True)})


def exported_step(workdir: Any) -> int | None:
    """Of the weights in a work directory; None if it holds no such file.

    Raises:
        InputError: a file that is none of these, or damaged.
    """
    path = epath.Path(workdir) / WEIGHTS
    return _about(path)["step"] if path.exists() else None


def exported_leaves(workdir: Any) -> dict[str, Any]:
    """Leaf name -> shape, dtype and checksum; raises InputError for a damaged file."""
    path = epath.Path(workdir) / WEIGHTS
    try:
        return unsealed(_about(path)["leaves"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"its table of leaves is broken, {error}") from error


def read_exported(workdir: Any, state: Any) -> tuple[int, Any] | None:
    """Step and arrays; None if there is no such file.

    Args:
        state: pytree of `jax.ShapeDtypeStruct`, of which the file may hold more. Their
            shardings say where the arrays go.

    Raises:
        InputError: a damaged file, or one of other names, shapes or dtypes.
    """
    import safetensors.numpy

    path, step = epath.Path(workdir) / WEIGHTS, exported_step(workdir)
    if step is None:
        return None
    leaves = exported_leaves(workdir)
    target = jax.tree.map(as_target, state)
    check_same_leaves(leaves, target, path, part=True)
    try:
        arrays = safetensors.numpy.load(path.read_bytes())
    except (OSError, safetensors.SafetensorError) as error:
        raise _damaged(path, str(error)) from error
    treedef = jax.tree.structure(target)
    read = []
    for name, leaf in named_leaves(target).items():
        own = arrays[name]
        place = lambda index, own=own: own[index]
        read.append(jax.make_array_from_callback(leaf.shape, leaf.sharding, place))
    found = treedef.unflatten(read)
    for name, checksum in checksums(found).items():
        if checksum != leaves[name]["checksum"]:
            raise _damaged(path, f"the values of {name!r} differ from those written")
    return step, found


def _about(path: Any) -> dict[str, Any]:
    """What the head of the file says beside names and shapes."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            head = json.loads(file.read(min(size, 100_000_000)))
        about = json.loads(head["__metadata__"][_KEY])
        if about["format"] != _FORMAT or not isinstance(about["step"], int):
            raise ValueError(f"format {about['format']!r}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    return about


def _damaged(path: Any, reason: str) -> InputError:
    return InputError(
        f"Found a bad {path} ({reason}); expected the weights of a model as "
        "--mode=export writes them; copy the file anew, or export the model again."
    )
