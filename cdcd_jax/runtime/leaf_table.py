"""The table of a state's leaves: name, shape, dtype and a checksum of the bits.

A checkpoint carries it, so that damage shows and another model is told apart from it.
"""

import hashlib
import json
import math
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from cdcd_jax.errors import InputError
from cdcd_jax.runtime.lean_saving import let_go


def named_leaves(tree: Any) -> dict[str, Any]:
    """Path with slashes -> leaf."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
    }


def weights_digest(tree: Any) -> Any:
    """A sha256 of the names and bytes of all leaves, to which more can be added."""
    digest = hashlib.sha256()
    for name, leaf in sorted(named_leaves(tree).items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest


def describe(state: Any) -> dict[str, dict[str, Any]]:
    """Leaf name → shape, dtype, checksum."""
    sums = checksums(state)
    return {
        name: {
            "shape": list(leaf.shape),
            "dtype": str(leaf.dtype),
            "checksum": sums[name],
        }
        for name, leaf in named_leaves(state).items()
    }


def check_same_leaves(
    leaves: dict[str, dict[str, Any]], target: Any, path: epath.Path, part: bool = False
) -> None:
    """Raises InputError for the first leaf that differs from the table.

    `part`: the table may have more leaves than the target.
    """
    wanted = named_leaves(target)
    others = () if part else (name for name in leaves if name not in wanted)
    for name in [*wanted, *others]:
        found = expected = "nothing"
        if name in leaves:
            found = f"{leaves[name]['dtype']}{leaves[name]['shape']}"
        if name in wanted:
            expected = f"{wanted[name].dtype}{list(wanted[name].shape)}"
        if found != expected:
            raise InputError(
                f"Found {found} at '{name}' in the checkpoint {path}; expected "
                f"{expected}, as the model of this configuration has it. Use the "
                "configuration that wrote the checkpoint, or another work directory."
            )


def checksums(state: Any) -> dict[str, int]:
    """Leaf name -> checksum of its bits, computed on the device."""
    # One after the other: on a CPU with many devices and few cores, programs that wait
    # for their other devices can keep each other from running.
    sums = {}
    for name, leaf in named_leaves(state).items():
        sums[name] = int(_checksum(leaf))
        let_go(leaf)
    return sums


# One compilation a shape, not one a state: networks repeat a few shapes many times.
@jax.jit
def _checksum(array: jax.Array) -> jax.Array:
    """uint32, a sum over the elements: the sharding does not matter."""
    bits = _bits(array)
    index = jnp.zeros(bits.shape, jnp.uint32)
    for axis in range(bits.ndim):
        stride = math.prod(bits.shape[axis + 1 :]) & 0xFFFFFFFF
        position = jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
        index = index + position * jnp.uint32(stride)
    # One-to-one in the bits of each element: a single changed element always shows.
    return jnp.sum(_mixed(bits ^ _mixed(index + jnp.uint32(1))), dtype=jnp.uint32)


def _bits(array: jax.Array) -> jax.Array:
    """The bits of each element as uint32; wide elements get one axis more."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        array = jnp.stack([array.real, array.imag], axis=-1)
    if array.dtype == jnp.bool_:
        return array.astype(jnp.uint32)
    width = min(array.dtype.itemsize, 4) * 8
    unsigned = jax.lax.bitcast_convert_type(array, jnp.dtype(f"uint{width}"))
    return unsigned.astype(jnp.uint32)


def _mixed(bits: jax.Array) -> jax.Array:
    """Spreads each bit of a uint32 over all of it (two rounds of xor and multiply)."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits = (bits ^ (bits >> shift)) * jnp.uint32(factor)
    return bits ^ (bits >> 16)


def sealed(table: dict[str, Any]) -> dict[str, Any]:
    """The table with a checksum of its own."""
    return {"leaves": table, "crc32": _crc32(table)}


def unsealed(sealed: dict[str, Any]) -> dict[str, Any]:
    """The table; ValueError or KeyError where it was changed."""
    if sealed["crc32"] != _crc32(sealed["leaves"]):
        raise ValueError("its checksum differs")
    return sealed["leaves"]


def _crc32(table: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(table, sort_keys=True).encode())
