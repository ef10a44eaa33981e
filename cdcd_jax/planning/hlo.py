"""Counts a compiled program: FLOPs, collectives, memory traffic, transfers to the host.

XLA's own `cost_analysis` counts the body of a loop once; here loops count as often as
they run. All figures are per device: a partitioned program has the shapes of one
device.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from cdcd_jax.planning.hlo_text import (
    Computation,
    Instruction,
    Shape,
    convolution_flops,
    integers,
    parse,
    trip_count,
)

COLLECTIVES = frozenset(
    "all-reduce all-gather reduce-scatter all-to-all ragged-all-to-all "
    "collective-permute collective-broadcast".split()
)
# What moves no bytes of its own. The traffic of an asynchronous pair is its start's.
FREE = frozenset(
    "after-all bitcast call conditional constant domain get-tuple-element iota "
    "opt-barrier parameter partition-id replica-id tuple while".split()
)
FREE_TARGETS = {"AllocateBuffer", "ConcatBitcast"}
MATMUL_TARGETS = ("gemm", "matmul")  # of cuBLAS custom calls
# Fused attention on TPUs: how many products of L x S x C each kernel does.
SPLASH_PRODUCTS = {"splash_mha_fwd": 2, "splash_mha_dq": 3, "splash_mha_dkv": 4}
KERNEL_TARGETS = ("tpu_custom_call", "fmha", "triton", "mosaic", "conv")
HOST_MEMORY = 5  # XLA's numbers of memory spaces, S(n) in a layout; 0 is the device's


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
        self.started = set(self._started_channels())

    def visit(self, computation: Computation, times: int, fused: bool = False) -> None:
        """Adds `times` runs; inside a fusion only arithmetic and collectives count."""
        program = self.program
        for i in computation.instructions.values():
            shapes = self._operand_shapes(computation, i)
            program.flops += times * self._flops(i, shapes, times)
            kind = i.opcode.removesuffix("-start")
            if kind in COLLECTIVES and self._counts(computation, i, fused):
                program.collectives.append(
                    _collective(kind, i, shapes, computation, times)
                )
            if _is_host_transfer(i, shapes):
                program.host_transfers.append(f"{i.opcode} {i.target or i.op_name}")
            if not fused:
                program.bytes += times * self._bytes(computation, i, shapes)
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

    # -- arithmetic

    def _flops(
        self, i: Instruction, operands: list[tuple[Shape, ...]], times: int
    ) -> float:
        """Of one run; notes kernels that do not say, `times` over."""
        if i.opcode == "dot":
            return 2.0 * i.shapes[0].size * _over(operands, i, "lhs_contracting_dims")
        if i.opcode == "convolution":
            return convolution_flops(i, operands[1][0])
        if i.opcode == "custom-call":
            if any(word in i.target for word in MATMUL_TARGETS):
                found = re.search(
                    r'"lhs_contracting_dimensions":\[([^\]]*)\]', i.attributes
                )
                if found:
                    dims = integers(found.group(1).replace('"', ""))
                    lhs = operands[0][0].dims
                    return 2.0 * i.shapes[0].size * math.prod(lhs[d] for d in dims)
            if any(name in i.op_name for name in SPLASH_PRODUCTS):
                return _splash_flops(i, operands)
            said = re.search(r'"flops":\s*"?(\d+)', i.attributes)
            if said:
                return float(said.group(1))
            if any(word in i.target.lower() for word in KERNEL_TARGETS):
                self.program.kernels[i.target] += times
        return 0.0

    # -- collectives

    def _started_channels(self) -> Iterator[str]:
        """Channels of collectives that TPU programs run beside other fusions.

        Such a collective stands in a fusion with AsyncCollectiveStart, again in each
        fusion that runs meanwhile, and in one with AsyncCollectiveDone.
        """
        for computation in self.computations.values():
            if _starts(computation):
                for i in computation.instructions.values():
                    if i.opcode in COLLECTIVES:
                        yield i.attribute("channel_id")

    def _counts(self, computation: Computation, i: Instruction, fused: bool) -> bool:
        if not fused or i.attribute("channel_id") not in self.started:
            return True
        return _starts(computation)

    # -- memory

    def _bytes(
        self, computation: Computation, i: Instruction, operands: list[tuple]
    ) -> float:
        if i.opcode in FREE or i.opcode.endswith(("-done", "-update")):
            return 0
        if i.target in FREE_TARGETS or i.opcode == "async-start":
            return 0
        if i.opcode == "fusion":
            return self._fusion_bytes(i, operands)
        if i.opcode.removesuffix("-start") in COLLECTIVES or i.opcode == "copy-start":
            results = i.shapes[: len(operands)]
            if i.opcode in ("all-gather-start", "collective-permute-start"):
                results = i.shapes[len(operands) : 2 * len(operands)]
            return _main_memory(results) + sum(map(_main_memory, operands))
        if i.opcode == "slice-start":  # ((source), slice, context)
            piece = i.shapes[len(operands)]
            return piece.bytes * ((piece.space == 0) + (operands[0][0].space == 0))
        reads = [
            self._read(computation, i, n, shape) for n, shape in enumerate(operands)
        ]
        return sum(reads) + self._written(computation, i, i.shapes)

    def _fusion_bytes(self, i: Instruction, operands: list[tuple]) -> float:
        inner = self.computations[i.attribute("calls")]
        total = 0.0
        for number, shapes in enumerate(operands):
            total += self._read_inside(inner, number, shapes)
        root = inner.instructions[inner.root]
        if root.opcode == "tuple":
            known, at = inner.instructions, 0
            for name in root.operands:
                part = known[name]
                shapes = i.shapes[at : at + len(part.shapes)]
                at += len(part.shapes)
                total += self._written(inner, part, shapes)
            return total
        return total + self._written(inner, root, i.shapes)

    def _read_inside(
        self, inner: Computation, number: int, shapes: tuple[Shape, ...]
    ) -> float:
        """Bytes that a fusion reads of its operand: the slices if it only slices."""
        whole = _main_memory(shapes)
        name = inner.parameter(number)
        if not whole or name is None:
            return 0
        return min(whole, self._read_by_users(inner, name, shapes))

    def _read_by_users(
        self, inner: Computation, name: str, shapes: tuple[Shape, ...]
    ) -> float:
        total = 0.0
        for user in inner.users(name):
            for number, operand in enumerate(user.operands):
                if operand == name:
                    total += self._read(inner, user, number, shapes)
        return total

    def _read(
        self,
        computation: Computation,
        user: Instruction,
        number: int,
        shapes: tuple[Shape, ...],
    ) -> float:
        """Bytes that `user` reads of its operand `number`, which has these shapes."""
        whole = _main_memory(shapes)
        if not whole or user.opcode == "tuple":  # a tuple passes it on
            return 0
        if user.opcode == "bitcast":
            return self._read_by_users(computation, user.name, shapes)
        if user.opcode == "fusion":
            inner = self.computations[user.attribute("calls")]
            return self._read_inside(inner, number, shapes)
        if user.opcode in ("dynamic-slice", "slice", "gather") and number == 0:
            return min(whole, sum(s.bytes for s in user.shapes))
        if user.opcode == "dynamic-update-slice" and number == 0:
            return 0
        if user.opcode == "scatter" and number == 0:  # in place
            updates = computation.instructions[user.operands[-1]].shapes
            return min(whole, sum(s.bytes for s in updates))
        if user.attribute("channel_id") in self.started and not _starts(computation):
            return 0
        return whole

    def _written(
        self, computation: Computation, i: Instruction, shapes: tuple[Shape, ...]
    ) -> float:
        """Bytes that a result takes, which instruction `i` makes in `computation`."""
        whole = _main_memory(shapes)
        known = computation.instructions
        if not whole or i.opcode == "parameter":  # passed on
            return 0
        if i.opcode in ("bitcast", "get-tuple-element") and i.operands[0] in known:
            return min(whole, self._written(computation, known[i.operands[0]], shapes))
        if i.opcode == "dynamic-update-slice":
            return min(whole, sum(s.bytes for s in known[i.operands[1]].shapes))
        if i.opcode == "scatter":
            return min(whole, sum(s.bytes for s in known[i.operands[-1]].shapes))
        if i.opcode == "fusion" and len(shapes) == 1:
            inner = self.computations[i.attribute("calls")]
            root = inner.instructions[inner.root]
            return (
                whole if root.opcode == "tuple" else self._written(inner, root, shapes)
            )
        if i.opcode in COLLECTIVES and not _starts(computation):
            return 0 if i.attribute("channel_id") in self.started else whole
        return whole


def _splash_flops(i: Instruction, operands: list[tuple[Shape, ...]]) -> float:
    """Of queries [..., L, C] and keys [..., S, C], the first large operands."""
    q, k, *_ = (o[0] for o in operands if len(o[0].dims) > 2 and o[0].dims[-1] > 1)
    products = max(n for name, n in SPLASH_PRODUCTS.items() if name in i.op_name)
    return 2.0 * products * q.size * k.dims[-2]


def _main_memory(shapes: Iterable[Shape]) -> int:
    return sum(s.bytes for s in shapes if s.space == 0)


def _over(operands: list[tuple[Shape, ...]], i: Instruction, key: str) -> int:
    return math.prod(operands[0][0].dims[d] for d in i.numbers(key))


def _starts(computation: Computation) -> bool:
    last = computation.instructions[computation.root]
    return last.target == "AsyncCollectiveStart"


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


def _collective(
    kind: str,
    i: Instruction,
    operands: list[tuple[Shape, ...]],
    computation: Computation,
    times: int,
) -> Collective:
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
