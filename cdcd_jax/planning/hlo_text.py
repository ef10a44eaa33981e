"""The text of a compiled XLA module as data: computations, instructions, shapes, loops.

What `hlo.py` counts, it reads through this file.
"""

import dataclasses
import math
import re
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Shape:
    """An array as the device holds it; padding by tiled layouts is not counted."""

    dtype: str
    dims: tuple[int, ...]
    space: int = 0  # 0 main memory, 1 on-chip memory (TPU), 5 host

    @property
    def size(self) -> int:
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        bits = re.match(r"[a-z]+(\d+)", self.dtype)  # pred has none, nor have tokens
        return -(-self.size * int(bits.group(1) if bits else 8) // 8)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.dims))}]"


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of the text."""

    name: str
    opcode: str
    shapes: tuple[Shape, ...]  # of the result, tuples flattened
    operands: tuple[str, ...]
    attributes: str  # what follows the operands
    literal: str  # what stands between the parentheses

    def attribute(self, key: str) -> str:
        """The text of `key=...` up to a blank, comma or bracket; "" if absent."""
        found = re.search(rf"\b{key}=%?([^\s,{{}}]+)", self.attributes)
        return found.group(1) if found else ""

    def numbers(self, key: str) -> tuple[int, ...]:
        """The integers of `key={1,2}`."""
        found = re.search(rf"\b{key}={{([\d,]*)}}", self.attributes)
        return integers(found.group(1)) if found else ()

    @property
    def op_name(self) -> str:
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found.group(1) if found else ""

    @property
    def target(self) -> str:
        return self.attribute("custom_call_target").strip('"')


@dataclasses.dataclass(frozen=True)
class Computation:
    """A block of instructions by name, in the order of the text."""

    instructions: dict[str, Instruction]
    root: str

    def users(self, name: str) -> Iterator[Instruction]:
        return (i for i in self.instructions.values() if name in i.operands)

    def parameter(self, number: int) -> str | None:
        for i in self.instructions.values():
            if i.opcode == "parameter" and i.literal.strip() == str(number):
                return i.name
        return None


_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
_SHAPE = re.compile(r"(\w+)\[([\d,<=]*)\](?:\{([^{}]*)\})?")


def parse(text: str) -> tuple[dict[str, Computation], str]:
    """Computations by name, and the name of the entry."""
    computations: dict[str, Computation] = {}
    entry, name, root = "", "", ""
    instructions: dict[str, Instruction] = {}
    for line in _whole_lines(text):
        head = _HEAD.match(line)
        if head:
            name, instructions = head.group(2), {}
            entry = name if head.group(1) else entry
        elif line == "}" and name:
            computations[name] = Computation(instructions, root)
            name = ""
        elif name and (found := _LINE.match(line)):
            instruction = _instruction(found.group(2), line[found.end() :])
            instructions[instruction.name] = instruction
            if found.group(1):
                root = instruction.name
    if entry not in computations:
        raise ValueError("no entry computation: expected the text of a compiled module")
    return computations, entry


def _whole_lines(text: str) -> Iterator[str]:
    """Lines of the text; attributes of kernels that break lines are joined again."""
    held = ""
    for line in text.splitlines():
        if _LINE.match(line) or _HEAD.match(line) or line in ("}", ""):
            yield held
            held = line
        else:
            held += line
    yield held


def _instruction(name: str, text: str) -> Instruction:
    end = _closing(text, 0) if text.startswith("(") else text.index(" ")
    shapes = tuple(map(_shape, _SHAPE.finditer(text[:end])))
    start = text.index("(", end)
    stop = _closing(text, start)
    literal = text[start + 1 : stop - 1]
    opcode = text[end:start].strip()
    names = re.findall(r"%([\w.\-]+)", literal) if opcode != "constant" else ()
    return Instruction(name, opcode, shapes, tuple(names), text[stop:], literal)


def _closing(text: str, start: int) -> int:
    """The index behind the parenthesis that closes the one at `start`."""
    depth = 0
    for found in re.finditer(r"[()]", text[start:]):
        depth += 1 if found.group() == "(" else -1
        if not depth:
            return start + found.end()
    return len(text)


def _shape(found: re.Match) -> Shape:
    space = re.search(r"S\((\d+)\)", found.group(3) or "")
    dims = integers(found.group(2).replace("<=", ""))
    return Shape(found.group(1), dims, int(space.group(1)) if space else 0)


def integers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(",") if n)


# -- loops -----------------------------------------------------------------------------


def trip_count(
    computations: dict[str, Computation], computation: Computation, loop: Instruction
) -> int | None:
    """How often a `while` turns: as XLA noted, or from its counter; None if unknown."""
    noted = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)
    if noted:
        return int(noted.group(1))
    condition = computations[loop.attribute("condition")]
    test = condition.instructions[condition.root]
    if test.opcode != "compare" or "direction=LT" not in test.attributes:
        return None
    counter = condition.instructions[test.operands[0]]
    limit = _constant(condition, test.operands[1])
    if counter.opcode != "get-tuple-element" or limit is None:
        return None
    index = int(counter.attribute("index"))
    first = _element(computation, loop.operands[0], index)
    body = computations[loop.attribute("body")]
    step = _step(body, index)
    if first is None or step is None:
        return None
    return max(0, -(-(limit - first) // step))


def _element(computation: Computation, name: str, index: int) -> int | None:
    start = computation.instructions[name]
    if start.opcode != "tuple":
        return None
    return _constant(computation, start.operands[index])


def _step(body: Computation, index: int) -> int | None:
    """What a turn adds to the counter."""
    root = body.instructions[body.root]
    if root.opcode != "tuple":
        return None
    following = body.instructions[_source(body, root.operands[index])]
    if following.opcode != "add":
        return None
    found = [_constant(body, name) for name in following.operands]
    return next((n for n in found if n), None)


def _source(computation: Computation, name: str) -> str:
    """Where a value comes from, before copies."""
    i = computation.instructions[name]
    while i.opcode in ("copy", "copy-start", "copy-done", "bitcast", "convert"):
        i = computation.instructions[i.operands[0]]
    return i.name


def _constant(computation: Computation, name: str) -> int | None:
    i = computation.instructions[_source(computation, name)]
    literal = i.literal.strip()
    whole = i.opcode == "constant" and re.fullmatch(r"-?\d+", literal)
    return int(literal) if whole else None


# -- convolutions ----------------------------------------------------------------------
