"""Bytes that the instructions of a compiled program read from and write to memory.

What stays inside of a fusion moves none; a fusion that only slices an operand reads the
slices; updates in place write what is new.
"""

from collections.abc import Iterable, Mapping

from cdcd_jax.planning.hlo_collectives import COLLECTIVES, starts
from cdcd_jax.planning.hlo_text import Computation, Instruction, Shape

# What moves no bytes of its own. The traffic of an asynchronous pair is its start's.
FREE = frozenset(
    "after-all bitcast call conditional constant domain get-tuple-element iota "
    "opt-barrier parameter partition-id replica-id tuple while".split()
)
FREE_TARGETS = {"AllocateBuffer", "ConcatBitcast"}


class Traffic:
    """Memory traffic of one program."""

    def __init__(
        self, computations: Mapping[str, Computation], started: set[str]
    ) -> None:
        """Args: all of the program's, and `started_channels` of them."""
        self.computations, self.started = computations, started

    def bytes(
        self, computation: Computation, i: Instruction, operands: list[tuple]
    ) -> float:
        """Of one run of an instruction that stands in no fusion."""
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
        if user.attribute("channel_id") in self.started and not starts(computation):
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
        if i.opcode in COLLECTIVES and not starts(computation):
            return 0 if i.attribute("channel_id") in self.started else whole
        return whole


def _main_memory(shapes: Iterable[Shape]) -> int:
    return sum(s.bytes for s in shapes if s.space == 0)
