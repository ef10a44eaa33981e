"""Counts a compiled program: FLOPs, collectives, memory traffic, transfers to the host.

XLA's own `cost_analysis` counts the body of a loop once; here loops count as often as
they run. All figures are per device: a partitioned program has the shapes of one
device.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator

from cdcd_jax.planning.hlo_collectives import (
    COLLECTIVES,
    Collective,
    read_collective,
    started_channels,
    starts,
)
from cdcd_jax.planning.hlo_flops import product_flops
from cdcd_jax.planning.hlo_memory import Traffic
from cdcd_jax.planning.hlo_text import (
    Computation,
    Instruction,
    Shape,
    parse,
    trip_count,
)

HOST_MEMORY = 5  # XLA's numbers of memory spaces, S(n) in a layout; 0 is the device's


@dataclasses.dataclass
class Program:
    """What one call of a compiled program does, per device."""

    flops: float = 0.0  # of matrix products and convolutions, 2 per multiply-add
    bytes: float = 0.0  # read from and written to main memory
    collectives: list[Collective] = dataclasses.field(default_factory=list)
    host_transfers: list[str] = dataclasses.field(default_factory=list)
    # custom kernels whose FLOPs the text does not say: name -> times called
    kernels: Counter = dataclasses.field(default_factory=Counter)
    unknown_loops: int = 0  # whose number of turns is not in the text; counted once

    @property
    def network_bytes(self) -> float:
        """What a device sends."""
        return sum(c.count * c.network_bytes for c in self.collectives)

    def by_kind(self) -> dict[str, dict[str, float]]:
        """kind -> count, result bytes and network bytes, all runs together."""
        out: dict[str, dict[str, float]] = {}
        for c in self.collectives:
            row = out.setdefault(c.kind, dict(count=0, bytes=0, network_bytes=0.0))
            row["count"] += c.count
            row["bytes"] += c.count * c.bytes
            row["network_bytes"] += c.count * c.network_bytes
        return out


def analyse(text: str) -> Program:
    """Reads the text of one compiled module, `compiled.as_text()`.

    Raises:
        ValueError: the text has no entry computation.
    """
    computations, entry = parse(text)
    walker = _Walker(computations)
    walker.visit(computations[entry], 1)
    return walker.program


class _Walker:
    """Adds up a program, computation by computation."""

    def __init__(self, computations: dict[str, Computation]):
        self.computations = computations
        self.program = Program()
        self.started = started_channels(computations)
        self.traffic = Traffic(computations, self.started)

    def visit(self, computation: Computation, times: int, fused: bool = False) -> None:
        """Adds `times` runs; inside a fusion only arithmetic and collectives count."""
        program = self.program
        for i in computation.instructions.values():
            shapes = self._operand_shapes(computation, i)
            flops = product_flops(i, shapes)
            if flops is None:
                program.kernels[i.target] += times
            else:
                program.flops += times * flops
            kind = i.opcode.removesuffix("-start")
            if kind in COLLECTIVES and self._counts(computation, i, fused):
                program.collectives.append(
                    read_collective(kind, i, shapes, computation, times)
                )
            if _is_host_transfer(i, shapes):
                program.host_transfers.append(f"{i.opcode} {i.target or i.op_name}")
            if not fused:
                program.bytes += times * self.traffic.bytes(computation, i, shapes)
            for called, runs in self._called(computation, i):
                inside = fused or i.opcode == "fusion"
                self.visit(self.computations[called], times * runs, inside)

    def _operand_shapes(
        self, computation: Computation, i: Instruction
    ) -> list[tuple[Shape, ...]]:
        known = computation.instructions
        return [known[name].shapes for name in i.operands if name in known]

    def _called(
        self, computation: Computation, i: Instruction
    ) -> Iterator[tuple[str, int]]:
        """Computations that an instruction runs, and how often."""
        if i.opcode == "while":
            turns = trip_count(self.computations, computation, i)
            self.program.unknown_loops += turns is None
            yield i.attribute("body"), 1 if turns is None else turns
        elif i.opcode in ("fusion", "call", "async-start"):
            yield i.attribute("calls") or i.attribute("to_apply"), 1
        elif i.opcode == "conditional":  # an upper bound: every branch
            found = re.search(r"branch_computations={([^}]*)}", i.attributes)
            branches = found.group(1).replace("%", "").split(",") if found else ()
            both = (i.attribute("true_computation"), i.attribute("false_computation"))
            for name in branches or both:
                yield name.strip(), 1

    def _counts(self, computation: Computation, i: Instruction, fused: bool) -> bool:
        if not fused or i.attribute("channel_id") not in self.started:
            return True
        return starts(computation)


def _is_host_transfer(i: Instruction, operands: list[tuple[Shape, ...]]) -> bool:
    if i.opcode in ("infeed", "outfeed"):
        return True
    if i.opcode in ("send", "recv"):
        return "is_host_transfer=true" in i.attributes
    if i.opcode == "custom-call" and "callback" in i.target:
        return True
    if i.opcode in ("copy", "copy-start"):
        spaces = {s.space for s in i.shapes} | {s.space for o in operands for s in o}
        return HOST_MEMORY in spaces
    return False
