"""Where an activation lies on the mesh, said from inside a network.

A network names the axes of an array; which mesh axes they are split over is decided by
the rules and the mesh that the caller has set (`cdcd_jax.runtime.sharding.use`).
Without them, on a single device, nothing happens.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
from jax.sharding import PartitionSpec


def spec(names: tuple[str | None, ...], shape: tuple[int, ...]) -> PartitionSpec:
    """The mesh axes of each axis of an array under the rules and mesh in force.

    Mesh axes that do not divide an axis are left out, from the last one on, so that it
    is split less or not at all; a mesh axis serves one array axis only.
    """
    sizes = jax.sharding.get_abstract_mesh().shape
    used: set[str] = set()
    found = []
    for name, size in zip(names, shape, strict=True):
        axes = tuple(a for a in _axes(name) if sizes.get(a, 1) > 1 and a not in used)
        while size % math.prod(sizes[a] for a in axes):
            axes = axes[:-1]
        used.update(axes)
        found.append(axes if len(axes) > 1 else axes[0] if axes else None)
    return PartitionSpec(*found)


def _axes(name: str | None) -> tuple[str, ...]:
    axes = dict(nn.get_logical_axis_rules()).get(name) or ()
    return (axes,) if isinstance(axes, str) else tuple(axes)


def parts(name: str) -> int:
    """Into how many parts the rules and mesh in force split an axis, at most."""
    sizes = jax.sharding.get_abstract_mesh().shape
    return math.prod(sizes.get(axis, 1) for axis in _axes(name))


def is_split() -> bool:
    """Whether the mesh in force has more than one device."""
    return max(jax.sharding.get_abstract_mesh().shape.values(), default=1) > 1


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
    """Splits x over the mesh as the rules say of the named axes; None: not split."""
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, spec(names, x.shape))


def by_shard(
    function: Callable[..., Any],
    names: Sequence[tuple[str | None, ...]],
    out_names: tuple[str | None, ...],
    *args: Any,
) -> Any:
    """function(*args), each device on its own part: no device needs another's.

    What is summed over the devices in the backward pass (the gradient of an argument
    that they share) is summed once, at the end.

    Args:
        function: of trees of arrays; its results keep the axes of `out_names`.
        names: of each argument, the names of the first axes of its arrays; the others
            are not split.
        out_names: the same of all results.
    """
    if not is_split():
        return function(*args)

    def specs(first: tuple[str | None, ...], tree: Any) -> Any:
        of = lambda a: spec((*first, *[None] * a.ndim)[: a.ndim], a.shape)
        return jax.tree.map(of, tree)

    return jax.shard_map(
        function,
        in_specs=tuple(map(specs, names, args)),
        out_specs=specs(out_names, jax.eval_shape(function, *args)),
        check_vma=False,
    )(*args)
