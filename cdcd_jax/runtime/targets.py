"""Leaves of a state as orbax takes them, and the arrays that it refuses put back."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def as_array(leaf: Any) -> jax.Array:
    return leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf)


def as_target(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape, dtype and a sharding that is sure to fit; ValueError if it does not."""
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    shape = np.shape(leaf)
    # Raised here, an uneven sharding is not mistaken for a damaged checkpoint.
    sharding.shard_shape(shape)
    dtype = getattr(leaf, "dtype", None)
    if dtype is None:
        dtype = jnp.asarray(leaf).dtype
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)


def without_empty(tree: Any) -> Any:
    """None for arrays without elements, which orbax refuses to save."""
    return jax.tree.map(lambda leaf: leaf if math.prod(leaf.shape) else None, tree)


def with_empty(state: Any, target: Any) -> Any:
    """The arrays without elements put back."""
    leaves, treedef = jax.tree.flatten(target)
    read = iter(jax.tree.leaves(state))
    return treedef.unflatten(
        next(read) if math.prod(leaf.shape) else jnp.zeros(leaf.shape, leaf.dtype)
        for leaf in leaves
    )
