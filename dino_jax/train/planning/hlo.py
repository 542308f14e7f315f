"""The collectives of a compiled program, read from its text."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
SIZES = {"pred": 1, "s4": 0.5, "u4": 0.5, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2} | {
    "bf16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16,
}  # fmt: skip
"""Bytes of a number of each type; those of 8 bits and fewer that are not here count as 1."""

PIECES = ("async_collective_fusion", "fused_computation")
"""How a TPU's program names the pieces of a collective that runs beside other work."""

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][a-z0-9\-]*)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]+[0-9]+\w*|pred)\[([0-9,]*)\]")
_CALLED = re.compile(r"(?:calls|body|to_apply|branch_computations)=\{?(%[\w.\-]+(?:, ?%[\w.\-]+)*)")
_TRIPS = re.compile(r'known_trip_count":\{"n":"(\d+)"')
_CHANNEL = re.compile(r"channel_id=\d+")
_OPERAND = re.compile(r"%([\w.\-]+)")


class Exchange(NamedTuple):
    """One collective: what a device gives in and gets back, in bytes, with how many others."""

    kind: str
    group: int
    """Devices that take part; 0: all."""
    payload: float
    """Bytes of the whole that is summed or put together, not of a part."""


class Instruction(NamedTuple):
    """A line of the program, as far as it matters here."""

    name: str
    result: str
    operation: str
    rest: str


def exchanges(text: str) -> Counter[Exchange]:
    """How often each collective runs in a step, loops counted as often as they turn.

    A reduce-scatter is counted as one where the program spells it as a fused all-reduce and slice.
    """
    computations, entry = _computations(text)
    found: dict[str, tuple[Exchange, int]] = {}
    _count(computations, entry, 1, found)
    return sum((Counter({each: times}) for each, times in found.values()), Counter())


def _computations(text: str) -> tuple[dict[str, list[Instruction]], str]:
    computations: dict[str, list[Instruction]] = {}
    current, entry = "", ""
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            current = head[2]
            computations[current] = []
            entry = current if head[1] else entry
        elif current and (found := _INSTRUCTION.match(line)):
            computations[current].append(Instruction(*found.groups()))
    return computations, entry


def _count(
    computations: dict[str, list[Instruction]],
    name: str,
    times: int,
    found: dict[str, tuple[Exchange, int]],
) -> None:
    """Add those of one computation to `found`; of pieces of one channel, one."""
    scattered = "all-reduce-scatter" in name
    results = {each.name: each.result for each in computations.get(name, ())}
    for each in computations.get(name, ()):
        kind = each.operation.removesuffix("-start")
        if kind in KINDS:
            one = _exchange(kind, each, results)
            one = one._replace(kind="reduce-scatter") if scattered else one
            channel = _CHANNEL.search(each.rest) if name.startswith(PIECES) else None
            key = f"{kind} {channel[0]}" if channel else f"{name} {each.name}"
            before = 0 if channel else found.get(key, (one, 0))[1]
            found[key] = one, before + times
            continue
        turns = _turns(computations, each) if each.operation == "while" else 1
        for called in _called(each):
            _count(computations, called, times * turns, found)


def _turns(computations: dict[str, list[Instruction]], loop: Instruction) -> int:
    """How often a loop turns: as it says, or as its condition counts from 0; else 1."""
    if said := _TRIPS.search(loop.rest):
        return int(said[1])
    condition = re.search(r"condition=%([\w.\-]+)", loop.rest)
    inside = computations.get(condition[1], []) if condition else []
    numbers = {
        each.name: each.rest.partition(")")[0] for each in inside if each.operation == "constant"
    }
    for each in inside:
        if each.operation == "compare" and "direction=LT" in each.rest:
            limits = [numbers[one] for one in _OPERAND.findall(each.rest) if one in numbers]
            if limits and limits[0].isdigit():
                return int(limits[0])
    return 1


def _called(instruction: Instruction) -> Iterator[str]:
    if instruction.operation in ("reduce", "scatter", "sort", "map", "reduce-window"):
        return
    for names in _CALLED.findall(instruction.rest):
        for name in names.split(","):
            yield name.strip().removeprefix("%")


def _exchange(kind: str, instruction: Instruction, results: dict[str, str]) -> Exchange:
    group = _group(instruction.rest)
    operands = _OPERAND.findall(instruction.rest.partition(")")[0])
    given = sum(_bytes(results.get(each, "")) for each in operands)
    payload = given * max(group, 1) if kind == "all-gather" else given
    return Exchange(kind, group, payload)


def _group(rest: str) -> int:
    """Devices of a group, in any of the three ways in which a program spells its groups."""
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\].*?\{('[^}]*)\}", rest):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", mesh[2]))
    if iota := re.search(r"replica_groups=\[\d+,(\d+)\]", rest):
        return int(iota[1])
    if listed := re.search(r"replica_groups=\{\{([0-9,]+)\}", rest):
        return len(listed[1].split(","))
    return 0


def _bytes(shape: str) -> float:
    return sum(
        math.prod(int(side) for side in sides.split(",") if side) * SIZES.get(kind, 1)
        for kind, sides in _ARRAY.findall(shape)
    )
