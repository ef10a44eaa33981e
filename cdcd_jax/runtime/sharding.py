"""The mesh, and one table that says how parameters and activations lie on it.

Mesh axes: 'data' splits the batch; 'fsdp' splits the batch and every large parameter,
which is gathered when it is used; 'tensor' splits heads, hidden features and the tokens
of the output head, each device computing its part. `jax.jit` does the rest.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from cdcd_jax.errors import UsageError
from cdcd_jax.networks.partition import spec

AXES = ("data", "fsdp", "tensor")
BATCH = ("data", "fsdp")

# Logical axis -> mesh axes. What is not here is not split.
RULES = (
    # activations
    ("batch", BATCH),
    ("heads", "tensor"),  # of parameters too
    ("hidden", "tensor"),  # of parameters too
    ("token", "tensor"),  # of those in the output head
    # parameters
    ("embed", "fsdp"),
    ("modulation", "tensor"),
)

# End of a parameter's name -> its logical axes. Blocks that are stacked have one axis
# more in front. Optimizer state and averages have the same names.
PARAMETERS = {
    "query/kernel": ("embed", "heads", None),
    "key/kernel": ("embed", "heads", None),
    "value/kernel": ("embed", "heads", None),
    "query/bias": ("heads", None),
    "key/bias": ("heads", None),
    "value/bias": ("heads", None),
    "proj/kernel": ("heads", "embed"),
    "mlp/hidden/kernel": ("embed", "hidden"),  # convolutions: two axes in front
    "mlp/hidden/bias": ("hidden",),
    "mlp/out/kernel": ("hidden", "embed"),
    "modulation/kernel": ("embed", "modulation"),
    "modulation/bias": ("modulation",),
    "linear/kernel": ("embed", "modulation"),
    "linear/bias": ("modulation",),
    "time_1/kernel": ("embed", None),
    "time_2/kernel": ("embed", None),
    "logits/kernel": ("embed", None),
    "positions": (None, "embed"),
    # Whole everywhere: the gradient of a look-up in a table that is split by features
    # needs the whole batch's features.
    "tokens/embedding": (None, None),
    "emb/embedding": (None, None),
    "table/embedding": (None, None),
    "rows": (None, None),
    "columns": (None, None),
}
# Parameters that the table does not name: the largest axis is split, if that pays.
_SMALL = 1 << 16


def make_mesh(
    settings: Mapping[str, int], rows: int, devices: Sequence[Any] | None = None
) -> Mesh:
    """A mesh of the axes data, fsdp, tensor.

    Args:
        settings: the config's `mesh`; see there for -1.
        rows: of a microbatch; data x fsdp must divide them.
        devices: all of them by default. A single process may use fewer than it has.

    Raises:
        UsageError: sizes that do not fit the devices or the rows.
    """
    devices = jax.devices() if devices is None else devices
    number = len(devices)
    sizes = _sizes(settings, rows, number)
    used = math.prod(sizes)
    if settings["data"] == -1 and used < number:
        raise UsageError(
            f"mesh data, fsdp, tensor = {sizes} leaves {number - used} of {number} "
            "devices without work: set mesh.fsdp and mesh.tensor to divisors of their "
            "number, or mesh.data to use fewer"
        )
    if used > number or (used < number and jax.process_count() > 1):
        raise UsageError(
            f"mesh data, fsdp, tensor = {sizes} takes {used} devices, but there are "
            f"{number}: change mesh.data, mesh.fsdp or mesh.tensor"
        )
    shards = sizes[0] * sizes[1]
    if rows % shards:
        raise UsageError(
            f"mesh data x fsdp = {shards} does not divide the {rows} rows of a batch "
            "(data.batch_size / optim.accumulate): change data.batch_size, "
            "optim.accumulate or mesh.data, or give the rest to mesh.tensor"
        )
    # Auto: the compiler splits what is not constrained
    return jax.make_mesh(
        sizes, AXES, axis_types=(AxisType.Auto,) * 3, devices=list(devices)[:used]
    )


def _sizes(settings: Mapping[str, int], rows: int, devices: int) -> tuple[int, ...]:
    data, fsdp, tensor = (settings[axis] for axis in AXES)
    if fsdp < 1 or 0 in (data, tensor) or min(data, tensor) < -1:
        raise UsageError(
            f"mesh = {dict(settings)}: sizes are 1 or more; data and tensor may be -1"
        )
    if data == -1:
        left = devices // (fsdp * max(tensor, 1))
        # with a free tensor axis no more shards than the rows allow
        data = math.gcd(left, max(rows // fsdp, 1)) if tensor == -1 else max(left, 1)
    if tensor == -1:
        tensor = max(devices // (data * fsdp), 1)
    return data, fsdp, tensor


@contextlib.contextmanager
def use(mesh: Mesh) -> Iterator[None]:
    """Sets mesh and rules: trace, compile and call jitted functions inside."""
    with jax.set_mesh(mesh), nn.logical_axis_rules(RULES):
        yield


def batch_shards(mesh: Mesh) -> int:
    """Into how many parts the rows of a batch are split."""
    return math.prod(mesh.shape[axis] for axis in BATCH)


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_shardings(batch: Any, mesh: Mesh) -> Any:
    """Rows over data and fsdp, for a tree of arrays [B, ...]."""
    with use(mesh):
        of = lambda a: spec(("batch", *[None] * (len(a.shape) - 1)), a.shape)
        return jax.tree.map(lambda a: NamedSharding(mesh, of(a)), batch)


def state_shardings(state: Any, mesh: Mesh) -> Any:
    """Where each array of a state lies, by `PARAMETERS` and `RULES`.

    Args:
        state: tree of arrays or of their shapes; any tree in which parameters keep
            their names.
    """
    with use(mesh):
        return jax.tree_util.tree_map_with_path(
            lambda path, a: NamedSharding(mesh, spec(_axes(path, a.shape), a.shape)),
            state,
        )


def _axes(path: Any, shape: tuple[int, ...]) -> tuple[str | None, ...]:
    """The logical axes of a parameter."""
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    for end, axes in PARAMETERS.items():
        if f"/{name}".endswith(f"/{end}") and len(axes) <= len(shape):
            return (*[None] * (len(shape) - len(axes)), *axes)
    axes = [None] * len(shape)
    if math.prod(shape) >= _SMALL:
        axes[int(np.argmax(shape))] = "embed"
    return tuple(axes)


def process_rows(mesh: Mesh, rows: int) -> np.ndarray:
    """The rows of a global batch that this process's devices hold, int, ascending."""
    sharding = NamedSharding(mesh, PartitionSpec(BATCH))
    parts = sharding.addressable_devices_indices_map((rows,)).values()
    found = {i for (part,) in parts for i in range(*part.indices(rows))}
    return np.array(sorted(found))


def put_batch(batch: Any, mesh: Mesh, size: int) -> Any:
    """Makes global arrays of what each process holds of them.

    Args:
        batch: tree of numpy arrays, the rows `process_rows(mesh, size)`.
        size: rows of the global batch.
    """
    if jax.process_count() == 1:
        return jax.device_put(batch, batch_shardings(batch, mesh))
    rows = process_rows(mesh, size)

    def put(array: np.ndarray) -> jax.Array:
        def part(index: tuple[slice, ...]) -> np.ndarray:
            first = np.searchsorted(rows, index[0].indices(size)[0])
            return array[first : first + len(range(*index[0].indices(size)))]

        shape = (size, *array.shape[1:])
        names = PartitionSpec(BATCH, *[None] * (array.ndim - 1))
        return jax.make_array_from_callback(shape, NamedSharding(mesh, names), part)

    return jax.tree.map(put, batch)
