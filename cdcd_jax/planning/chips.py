"""Accelerators by name: the vendors' data-sheet figures, as denominators and bounds.

`peak_flops` is bfloat16 without sparsity. `network_bytes` is what a chip can send in a
second around one ring of its fast interconnect: on a TPU both ways round one axis of
the torus, so two links (a collective over two axes may use twice that; a slice whose
axis does not close has less); on a GPU all its NVLinks in one direction, within a host.
Real programs reach less than any of these: a large bfloat16 product on an H200 ran at
about 790e12 FLOP/s where the data sheet says 989e12.
"""

import dataclasses

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One accelerator."""

    name: str
    peak_flops: float  # FLOP/s in bfloat16
    memory: int  # bytes
    memory_bytes: float  # bytes/s
    network_bytes: float  # bytes/s, see the file's head
    per_host: int | None  # usual number of chips in a host
    # FLOP/s that a large bfloat16 product was seen to reach, None if nobody looked
    measured_flops: float | None = None


V4 = Chip("TPU v4", 275e12, 32 * GIB, 1.228e12, 2 * 50e9, 4)
V5E = Chip("TPU v5e", 197e12, 16 * GIB, 0.819e12, 2 * 50e9, 4)
V5P = Chip("TPU v5p", 459e12, 95 * GIB, 2.765e12, 2 * 100e9, 4)
V6E = Chip("TPU v6e", 918e12, 32 * GIB, 1.64e12, 2 * 100e9, 4)
A100_40 = Chip("A100 SXM 40 GB", 312e12, 40 * GIB, 1.555e12, 300e9, 8)
A100_80 = Chip("A100 SXM 80 GB", 312e12, 80 * GIB, 2.039e12, 300e9, 8)
H100 = Chip("H100 SXM", 989.4e12, 80 * GIB, 3.35e12, 450e9, 8)
H100_PCIE = Chip("H100 PCIe", 756e12, 80 * GIB, 2.0e12, 300e9, None)
H200 = Chip("H200 SXM", 989.4e12, 141 * 10**9, 4.8e12, 450e9, 8, 790e12)
B200 = Chip("B200", 2250e12, 180 * 10**9, 8.0e12, 900e9, 8)

# As in `--plan.topology=<family>:<shape>`.
FAMILIES = {"v4": V4, "v5e": V5E, "v5p": V5P, "v6e": V6E}
# As `jax.Device.device_kind` has them.
KINDS = {
    "TPU v4": V4,
    "TPU v5 lite": V5E,
    "TPU v5e": V5E,
    "TPU v5": V5P,
    "TPU v5p": V5P,
    "TPU v6 lite": V6E,
    "TPU v6e": V6E,
    "NVIDIA A100-SXM4-40GB": A100_40,
    "NVIDIA A100-SXM4-80GB": A100_80,
    "NVIDIA H100 80GB HBM3": H100,
    "NVIDIA H100 PCIe": H100_PCIE,
    "NVIDIA H200": H200,
    "NVIDIA B200": B200,
}


def find(name: str) -> Chip | None:
    """The chip of a `device_kind` or of a topology's family; None if it is unknown."""
    return KINDS.get(name) or FAMILIES.get(name)
