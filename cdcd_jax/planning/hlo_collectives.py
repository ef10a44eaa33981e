"""Collectives of a compiled program: which bytes they send, and which are one.

TPU programs run a collective beside other fusions: it stands in a fusion with
AsyncCollectiveStart, again in each fusion that runs meanwhile, and in one with
AsyncCollectiveDone. Only the first counts.
"""

import dataclasses
import math
import re
from collections.abc import Mapping

from cdcd_jax.planning.hlo_text import Computation, Instruction, Shape

COLLECTIVES = frozenset(
    "all-reduce all-gather reduce-scatter all-to-all ragged-all-to-all "
    "collective-permute collective-broadcast".split()
)


@dataclasses.dataclass(frozen=True)
class Collective:
    """One instruction by which devices exchange data."""

    kind: str  # a member of COLLECTIVES
    operands: tuple[Shape, ...]  # of one device
    results: tuple[Shape, ...]
    group_size: int  # devices that take part together; 2 for collective-permute
    count: int  # times it runs in a call of the program
    op_name: str  # where it comes from in the Python code, "" if unknown

    @property
    def operand_bytes(self) -> int:
        return sum(s.bytes for s in self.operands)

    @property
    def bytes(self) -> int:
        """Of one result."""
        return sum(s.bytes for s in self.results)

    @property
    def network_bytes(self) -> float:
        """What a device sends each time it runs, by a ring algorithm."""
        share = (self.group_size - 1) / self.group_size
        if self.kind == "all-reduce":
            return 2 * share * self.bytes
        if self.kind in ("all-gather", "collective-broadcast"):
            return share * self.bytes
        if self.kind == "collective-permute":
            return self.operand_bytes
        return share * self.operand_bytes


def started_channels(computations: Mapping[str, Computation]) -> set[str]:
    """Channels of the collectives that run beside other fusions."""
    return {
        i.attribute("channel_id")
        for computation in computations.values()
        if starts(computation)
        for i in computation.instructions.values()
        if i.opcode in COLLECTIVES
    }


def starts(computation: Computation) -> bool:
    """Whether a fusion begins such a collective."""
    last = computation.instructions[computation.root]
    return last.target == "AsyncCollectiveStart"


def read_collective(
    kind: str,
    i: Instruction,
    operands: list[tuple[Shape, ...]],
    computation: Computation,
    times: int,
) -> Collective:
    """Instruction `i` of a kind, which runs `times` in a call of the program."""
    given = tuple(s for shapes in operands for s in shapes)
    results = i.shapes
    if i.opcode in ("all-gather-start", "collective-permute-start"):
        results = i.shapes[len(given) : 2 * len(given)]
    root = computation.instructions[computation.root]
    if kind == "all-reduce" and root.opcode == "dynamic-slice":
        if root.operands[0] == i.name:  # TPU: a fusion that reduces and keeps a shard
            kind, results = "reduce-scatter", root.shapes
    return Collective(kind, given, results, _group_size(i), times, i.op_name)


def _group_size(i: Instruction) -> int:
    """Devices of a replica group, in any of XLA's three notations."""
    text = i.attributes
    if "source_target_pairs" in text:
        return 2
    if found := re.search(r"replica_groups=\[\d+,(\d+)\]<=", text):
        return int(found.group(1))
    if found := re.search(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}", text):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", found.group(1)))
        axes = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", found.group(2))
        return math.prod(int(part or sizes[name]) for name, part in axes)
    if found := re.search(r"replica_groups=\{\{([\d,]+)\}", text):
        return len(found.group(1).split(","))
    return 1
