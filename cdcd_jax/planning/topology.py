"""TPU topologies by name, as devices to compile for on a machine without a TPU."""

import importlib.util
import math
import os
from collections.abc import Sequence
from typing import Any

import jax

from cdcd_jax.errors import UsageError
from cdcd_jax.planning import chips

DIMENSIONS = {"v4": 3, "v5e": 2, "v5p": 3, "v6e": 2}


def use_cpu() -> None:
    """Keeps JAX on the CPU, where libtpu would make it look for a TPU.

    Takes effect only before JAX is first used.
    """
    jax.config.update("jax_platforms", "cpu")
    for name, value in dict(
        ALLOW_MULTIPLE_LIBTPU_LOAD="1",  # there is no TPU to fight over
        TPU_STDERR_LOG_LEVEL="3",
        TPU_MIN_LOG_LEVEL="3",
        # what libtpu would otherwise ask a cloud machine, and complain
        TPU_SKIP_MDS_QUERY="1",
        TPU_WORKER_HOSTNAMES="localhost",
        TPU_ACCELERATOR_TYPE="v5litepod-4",
    ).items():
        os.environ.setdefault(name, value)


def parse_topology(text: str) -> tuple[chips.Chip, tuple[int, ...]]:
    """'v5e:4x4' -> the chip and (4, 4).

    Raises:
        UsageError: an unknown family, or a shape that is none of its.
    """
    family, _, shape = text.partition(":")
    sizes = tuple(int(n) for n in shape.split("x") if n.isdigit())
    well_formed = shape == "x".join(map(str, sizes)) and all(sizes)
    if family not in DIMENSIONS or len(sizes) != DIMENSIONS[family] or not well_formed:
        raise UsageError(
            f"--plan.topology={text!r}: expected <family>:<shape>, two numbers for v5e "
            "and v6e, three for v4 and v5p: such as v5e:4x4, v6e:16x16 or v5p:2x2x2"
        )
    return chips.FAMILIES[family], sizes


def open_topology(text: str) -> tuple[chips.Chip, Sequence[Any]]:
    """The chip, and one JAX device a chip to compile for.

    Raises:
        UsageError: see `parse_topology`; libtpu missing; a shape that it does not know.
    """
    chip, sizes = parse_topology(text)
    if importlib.util.find_spec("libtpu") is None:
        raise UsageError(
            "--mode=plan compiles with libtpu, which is not installed: "
            "pip install 'cdcd_jax[tpu-plan]' (no TPU is needed)"
        )
    from jax.experimental import topologies

    # else the two cores of a v4 chip are two devices
    options = {"chip_config_name": "megacore"} if chip is chips.V4 else {}
    try:
        devices = topologies.get_topology_desc(
            platform="tpu", topology_name=text, **options
        ).devices
    except jax.errors.JaxRuntimeError as error:
        if "INVALID_ARGUMENT" not in str(error):
            raise
        raise UsageError(
            f"--plan.topology={text}: libtpu does not know this shape ({error}); "
            "choose one that is sold, such as v5e:4x4, v6e:16x16 or v5p:2x2x2"
        ) from None
    if len(devices) != math.prod(sizes):
        raise UsageError(
            f"--plan.topology={text}: libtpu made {len(devices)} devices of "
            f"{math.prod(sizes)} chips: choose another topology"
        )
    return chip, devices
