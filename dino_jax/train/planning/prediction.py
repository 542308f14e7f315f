"""The memory of one device at its fullest, predicted, and what it goes to."""

import collections
import math
from collections.abc import Sequence
from typing import NamedTuple

from dino_jax.config import Resolved
from dino_jax.train.planning.graph import BACKWARD, Graph, Value
from dino_jax.train.planning.memory import Rules, live, written
from dino_jax.train.planning.stepping import GROUPS, Traced, trace_step


class Compiler(NamedTuple):
    """What is known of how a platform's compiler lays a program out; measured, see docs/plan.md."""

    rules: Rules
    packing: float
    """The compiler's total over the largest sum of values alive: gaps between buffers."""


COMPILERS = {
    "cpu": Compiler(Rules(sums_merge=False), packing=1.02),
    "gpu": Compiler(Rules(sums_merge=True), packing=1.05),
    "tpu": Compiler(Rules(sums_merge=True, functions_again=True), packing=1.0),
}

ROWS = (*GROUPS, "gradients", "activations", "loss and head", "gathered", "workspace")
"""What memory goes to."""
SHARED = ("parameters", "teacher", "optimiser")
"""What devices that share one copy of the state hold a part of."""
GATHERED = 3
"""Whole copies of the parameters that exist beside the parts when the device is fullest: student
and teacher gathered, and gradients not yet summed. ViT-B/8 on v5e:16x16 with `fsdp` 16 had 2.97."""


class Memory(NamedTuple):
    """Bytes of one device when it is fullest, by `ROWS`; `peak` is their sum."""

    peak: float
    parts: dict[str, float]


def predict_memory(
    resolved: Resolved, *, rows: int, platform: str, shards: int = 1
) -> tuple[Memory, Traced]:
    """Memory of the step on `rows` images of one device; `shards` share one copy of the state.

    The larger of what is alive while the loss is differentiated and after it, in the order in
    which the step is written.
    """
    step = trace_step(resolved, rows=rows, platform=platform)
    return memory_of(step, platform=platform, shards=shards), step


def memory_of(step: Traced, *, platform: str, shards: int = 1) -> Memory:
    """The memory of a traced step."""
    compiler = COMPILERS[platform]
    graph = step.graph
    found = live(graph, rules=compiler.rules)
    reads = written(graph, rules=compiler.rules).reads
    names = _names(step, graph, reads)
    parts: dict[str, float] = collections.defaultdict(float)
    for value in found.held:
        share = shards if names.get(value) in SHARED else 1
        parts[names.get(value, "workspace")] += graph.values[value].size / share
    if shards > 1:
        parts["gathered"] = GATHERED * 4.0 * sum(math.prod(shape) for shape in step.parameters)
    inner = "loss and head" if graph.nodes[found.at].name == "scan" else "workspace"
    parts[inner] += found.inner
    total = sum(parts.values())
    parts["workspace"] += total * (compiler.packing - 1)
    return Memory(total * compiler.packing, {row: parts[row] for row in ROWS})


def _names(step: Traced, graph: Graph, reads: Sequence[frozenset[Value]]) -> dict[Value, str]:
    """Which of `ROWS` every value belongs to; what is in none is workspace."""
    later: set[Value] = set()
    for node, values in zip(graph.nodes, reads, strict=True):
        if BACKWARD in node.stack:
            later |= values
    shapes = {tuple(sorted(shape)) for shape in step.parameters if math.prod(shape) > 1}
    names: dict[Value, str] = dict(step.groups)
    for node in graph.nodes:
        for value in node.outputs:
            shape = graph.values[value].shape
            if BACKWARD in node.stack and tuple(sorted(shape)) in shapes:
                names[value] = "gradients"
            elif step.prototypes in shape:
                names[value] = "loss and head"
            elif BACKWARD not in node.stack and value in later:
                names[value] = "activations"
    return names
