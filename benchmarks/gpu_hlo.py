"""What an optimised HLO text would cost on a GPU: bytes and FLOPs of every kernel, by a roofline.

A model, not a measurement. Every kernel is taken to read each of its operands once and write its
result once at the card's full bandwidth, or to multiply at the full rate of its type, whichever
takes longer, and to cost a fixed gap. Caches, occupancy and strided access are left out; what the
compiler would have chosen with a GPU at hand (cuBLAS for its own products) is not known.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping

SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4,
         "u32": 4, "f64": 8, "s64": 8, "u64": 8, "s4": 1, "u4": 1}  # fmt: skip
NO_KERNEL = frozenset(
    "parameter constant get-tuple-element tuple bitcast while conditional call after-all iota "
    "partition-id replica-id opt-barrier".split()
)
SLICES = frozenset({"slice", "dynamic-slice", "gather"})
FREE = frozenset({"bitcast", "reshape"})

_INSTRUCTION = re.compile(r"^\s*(ROOT )?%(\S+) = (.*)$")
_SHAPE = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_OPERANDS = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"(?:calls|body|to_apply)=%([\w.\-]+)")
_DIMENSIONS = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
_CUBLAS = re.compile(r'"lhs_contracting_dimensions":\[([^\]]*)\]')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_NAME = re.compile(r'op_name="((?:[^"\\]|\\.)*)"')


@dataclasses.dataclass(frozen=True)
class Card:
    """Peak figures of a card: bytes a second, operations a second by type, seconds a kernel."""

    bandwidth: float = 3.35e12
    rates: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {"bf16": 989e12, "tf32": 494e12, "f32": 60e12}
    )
    gap: float = 2e-6


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    opcode: str
    result: str
    operands: tuple[str, ...]
    line: str
    root: bool

    @property
    def called(self) -> str | None:
        found = _CALLED.search(self.line)
        return found[1] if found else None

    @property
    def op_name(self) -> str:
        found = _NAME.search(self.line)
        return found[1] if found else ""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One launch: what it moves and multiplies, how often it runs in a step."""

    name: str
    op_name: str
    opcode: str
    bytes: float
    flops: Mapping[str, float]
    times: int

    def seconds(self, card: Card) -> float:
        """Of all its runs: the longer of moving and multiplying, and the gap."""
        multiplying = sum(count / card.rates[kind] for kind, count in self.flops.items())
        return self.times * (max(self.bytes / card.bandwidth, multiplying) + card.gap)


Computation = dict[str, Instruction]


def kernels(text: str) -> list[Kernel]:
    """The kernels of an optimised module, loops by their known number of rounds."""
    computations, entry = parse(text)
    return list(_kernels(computations, entry, 1))


def parse(text: str) -> tuple[dict[str, Computation], str]:
    """The computations by name, and the entry's name."""
    computations: dict[str, Computation] = {}
    entry, current = "", None
    for line in text.splitlines():
        if line.startswith(("%", "ENTRY")) and line.endswith("{"):
            name = line.removeprefix("ENTRY ").removeprefix("%").split(" ")[0].split("(")[0]
            current = computations.setdefault(name, {})
            entry = name if line.startswith("ENTRY") else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (found := _instruction(line)) is not None:
            current[found.name] = found
    return computations, entry


def _instruction(line: str) -> Instruction | None:
    match = _INSTRUCTION.match(line)
    if match is None:
        return None
    result, rest = _result(match[3])
    opcode, _, rest = rest.partition("(")
    inside = rest[: rest.find(")")]
    operands = tuple(_OPERANDS.findall(inside))
    return Instruction(match[2], opcode.strip(), result, operands, line, match[1] is not None)


def _result(text: str) -> tuple[str, str]:
    """The type, which may be a tuple of types with layouts in parentheses, and what follows."""
    if not text.startswith("("):
        result, _, rest = text.partition(" ")
        return result, rest
    depth = 0
    for place, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0:
            return text[: place + 1], text[place + 2 :]
    return text, ""


def size(shape: str) -> float:
    """Bytes of a type as it is written, the sum over a tuple."""
    total = 0.0
    for kind, dimensions in _SHAPE.findall(shape):
        total += SIZES.get(kind, 0) * _count(dimensions)
    return total


def _count(dimensions: str) -> float:
    count = 1.0
    for length in filter(None, dimensions.split(",")):
        count *= int(length)
    return count


def _kernels(computations: dict[str, Computation], name: str, times: int) -> Iterator[Kernel]:
    own = computations[name]
    for step in own.values():
        if step.opcode == "while" and step.called is not None:
            trips = _TRIPS.search(step.line)
            yield from _kernels(computations, step.called, times * (int(trips[1]) if trips else 1))
        elif step.opcode == "call" and step.called is not None:
            yield from _kernels(computations, step.called, times)
        elif step.opcode not in NO_KERNEL:
            inner = computations.get(step.called) if step.called else None
            yield Kernel(
                step.name,
                step.op_name,
                step.opcode,
                _moved(own, step, inner),
                _multiplied(own, step, inner, computations),
                times,
            )


def _moved(own: Computation, step: Instruction, inner: Computation | None) -> float:
    """Bytes in and out; of what a fusion only takes slices of, those."""
    if inner is None or step.opcode != "fusion":
        return size(step.result) + sum(size(own[name].result) for name in step.operands)
    parameters = {
        int(line.line.split("parameter(")[1].split(")")[0]): line
        for line in inner.values()
        if line.opcode == "parameter"
    }
    moved = _written(step, inner)
    for place, operand in enumerate(step.operands):
        whole = size(own[operand].result)
        parameter = parameters.get(place)
        moved += whole if parameter is None else min(whole, _read(inner, parameter.name, whole))
    return moved


def _written(step: Instruction, inner: Computation) -> float:
    """The result, or of an update in place the part that is updated."""
    root = next((line for line in inner.values() if line.root), None)
    if root is not None and root.opcode == "dynamic-update-slice":
        return size(inner[root.operands[1]].result)
    return size(step.result)


def _read(inner: Computation, name: str, whole: float) -> float:
    users = [line for line in inner.values() if name in line.operands]
    total = 0.0
    for user in users:
        if user.opcode in SLICES:
            total += size(user.result)
        elif user.opcode == "dynamic-update-slice" and user.operands[0] == name:
            continue
        elif user.opcode in FREE:
            total += _read(inner, user.name, whole)
        else:
            return whole
    return total


def _multiplied(
    own: Computation,
    step: Instruction,
    inner: Computation | None,
    computations: dict[str, Computation],
) -> dict[str, float]:
    """FLOPs of the matrix products by the type whose rate they run at."""
    if step.opcode == "custom-call":
        return _custom(own, step)
    found: dict[str, float] = {}
    pairs = [(own, step)] if inner is None else [(inner, line) for line in inner.values()]
    for place, line in pairs:
        if line.opcode == "dot":
            contracted = _DIMENSIONS.search(line.line)
            lengths = _SHAPE.findall(place[line.operands[0]].result)[0][1].split(",")
            each = 2.0
            for axis in filter(None, (contracted[1] if contracted else "").split(",")):
                each *= int(lengths[int(axis)])
            kind = _kind(place[line.operands[0]].result, line.line)
            work = each * _count(_SHAPE.findall(line.result)[0][1])
            found[kind[0]] = found.get(kind[0], 0.0) + work * kind[1]
        elif line is not step and (line.opcode == "custom-call" or line.called in computations):
            nested = _multiplied(place, line, computations.get(line.called or ""), computations)
            for key, value in nested.items():
                found[key] = found.get(key, 0.0) + value
    return found


def _kind(operand: str, line: str) -> tuple[str, int]:
    """The rate a product runs at, and how many products stand for it."""
    if operand.startswith(("bf16", "f16")):
        return "bf16", 1
    for text, kind, products in (
        ("bf16_bf16_f32_x9", "bf16", 9), ("bf16_bf16_f32_x6", "bf16", 6),
        ("bf16_bf16_f32_x3", "bf16", 3), ("tf32_tf32_f32_x3", "tf32", 3),
        ("bf16_bf16_f32", "bf16", 1), ("tf32_tf32_f32", "tf32", 1), ("highest", "f32", 1),
    ):  # fmt: skip
        if text in line.lower():
            return kind, products
    return ("tf32", 1) if operand.startswith("f32") else ("f32", 1)


def _custom(own: Computation, step: Instruction) -> dict[str, float]:
    """cuBLAS's products, and cuDNN's attention: two products forward, five backward."""
    shapes = [_lengths(own[name].result) for name in step.operands[:2]]
    if "fmha" in step.line:
        batch, queries, heads, depth = shapes[0]
        products = 5 if "Backward" in step.line else 2
        return {"bf16": 2.0 * products * batch * heads * queries * shapes[1][1] * depth}
    contracted = _CUBLAS.search(step.line)
    if "__cublas" not in step.line or contracted is None:
        return {}
    each = 2.0
    for axis in re.findall(r"\d+", contracted[1]):
        each *= shapes[0][int(axis)]
    kind, products = _kind(own[step.operands[0]].result, step.line)
    return {kind: products * each * _count(_SHAPE.findall(step.result)[0][1])}


def _lengths(shape: str) -> list[int]:
    return [int(length) for length in filter(None, _SHAPE.findall(shape)[0][1].split(","))]
