"""The training step as a flat list of operations on sized values, traced without any array."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Optional

import jax
from jax.extend import core

Value = int
"""Index into `Graph.values`."""


class Form(NamedTuple):
    """Shape of a value and bytes of an entry."""

    shape: tuple[int, ...]
    itemsize: int

    @property
    def elements(self) -> int:
        """How many entries."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes, as they lie one after the other."""
        return self.elements * self.itemsize


class Node(NamedTuple):
    """One operation; a loop has a `body` that it runs `rounds` times."""

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    stack: str
    """Where it was written; what differentiation put there has `BACKWARD` in it."""
    flops: float = 0.0
    """Of its matrix products, two a multiplication, in all rounds."""
    small: bool = False
    """Whether it is a product for every image and head."""
    body: Optional["Graph"] = None
    rounds: int = 1
    whole: int = 0
    """How many of a loop's arguments its body takes as they are; of the others it takes slices."""
    carried: int = 0
    """How many of these, the last, go from round to round and come out as the first results."""


class Graph(NamedTuple):
    """A program: arguments and results are values too."""

    values: list[Form]
    nodes: list[Node]
    arguments: tuple[Value, ...]
    results: tuple[Value, ...]


BACKWARD = "transpose("
"""In the stack of every operation that differentiation put there."""
SAME = frozenset(
    "reshape squeeze expand_dims optimization_barrier stop_gradient copy copy_p pvary name "
    "sharding_constraint mesh_cast".split()
)
"""What changes no byte: its results are its arguments."""
LOOPS = ("scan", "while")
CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
"""Where an equation keeps the program it stands for."""


def traced(function: Callable[..., Any], *shapes: Any, platform: str) -> Graph:
    """The operations of `function` on arguments of these shapes, as they are on a platform.

    `platform` is jax's name ("cpu", "cuda", "tpu"), by which the branches of
    `platform_dependent` are chosen. Nothing is computed, no array is made.
    """
    return _Flattening(platform).whole(jax.make_jaxpr(function)(*shapes).jaxpr)


def users(graph: Graph) -> dict[Value, list[int]]:
    """Which operations read each value, in their order."""
    found: dict[Value, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        for value in dict.fromkeys(node.inputs):
            found.setdefault(value, []).append(index)
    return found


class _Flattening:
    """Writes nested programs out as one list; `known` says which variable is which value."""

    def __init__(self, platform: str) -> None:
        self.platform = platform
        self.values: list[Form] = []
        self.nodes: list[Node] = []

    def whole(self, jaxpr: Any) -> Graph:
        known = {v: self._new(v.aval) for v in (*jaxpr.constvars, *jaxpr.invars)}
        arguments = tuple(known.values())
        self._add(jaxpr, known, "")
        return Graph(
            self.values,
            self.nodes,
            arguments,
            tuple(known[v] for v in jaxpr.outvars if not isinstance(v, core.Literal)),
        )

    def _new(self, aval: Any) -> Value:
        # The types that numpy does not know, such as keys, are of 8 bytes.
        self.values.append(Form(tuple(aval.shape), getattr(aval.dtype, "itemsize", 8)))
        return len(self.values) - 1

    def _add(self, jaxpr: Any, known: dict[Any, Value], stack: str) -> None:
        for equation in jaxpr.eqns:
            self._add_one(equation, known, f"{stack}/{equation.source_info.name_stack}")

    def _add_one(self, equation: Any, known: dict[Any, Value], stack: str) -> None:
        def value_of(atom: Any) -> Value:
            return self._new(atom.aval) if isinstance(atom, core.Literal) else known[atom]

        name = equation.primitive.name
        called = self._called(equation)
        if called is not None:
            body, skipped = called
            inputs = map(value_of, equation.invars[skipped:])
            own = dict(zip(body.invars, inputs, strict=True))
            own |= {v: self._new(v.aval) for v in body.constvars}
            self._add(body, own, stack)
            for outer, inner in zip(equation.outvars, body.outvars, strict=True):
                literal = isinstance(inner, core.Literal)
                known[outer] = self._new(outer.aval) if literal else own[inner]
        elif name in SAME:
            known |= dict(zip(equation.outvars, map(value_of, equation.invars), strict=False))
        else:
            known |= {v: self._new(v.aval) for v in equation.outvars}
            read = tuple(map(value_of, equation.invars))
            made = tuple(known[v] for v in equation.outvars)
            self.nodes.append(self._node(equation, read, made, stack))

    def _called(self, equation: Any) -> tuple[Any, int] | None:
        """The program an equation stands for, and how many arguments before that program's."""
        name, given = equation.primitive.name, equation.params
        if name in LOOPS:
            return None
        if name == "cond":
            platforms = given.get("branches_platforms") or (None,) * len(given["branches"])
            for branch, names in zip(given["branches"], platforms, strict=True):
                if names is None or self.platform in names:
                    return branch.jaxpr, 1
        found = next((given[key] for key in CALLS if key in given), None)
        return None if found is None else (getattr(found, "jaxpr", found), 0)

    def _node(
        self, equation: Any, read: tuple[Value, ...], made: tuple[Value, ...], stack: str
    ) -> Node:
        name, given = equation.primitive.name, equation.params
        if name not in LOOPS:
            small = name == "dot_general" and bool(given["dimension_numbers"][1][0])
            return Node(name, read, made, stack, _flops(equation), small)
        inner = given["jaxpr"] if name == "scan" else given["body_jaxpr"]
        body = _Flattening(self.platform).whole(inner.jaxpr)
        rounds = given.get("length", 1)
        flops = rounds * sum(node.flops for node in body.nodes)
        carried = given.get("num_carry", len(made))
        whole = given.get("num_consts", len(read) - carried) + carried
        return Node(
            name, read, made, stack, flops, body=body, rounds=rounds, whole=whole, carried=carried
        )


def _flops(equation: Any) -> float:
    out = math.prod(equation.outvars[0].aval.shape)
    if equation.primitive.name == "dot_general":
        left, over = equation.invars[0].aval.shape, equation.params["dimension_numbers"][0][0]
        return 2.0 * out * math.prod(left[axis] for axis in over)
    if equation.primitive.name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
        return 2.0 * out * math.prod(kernel) / features
    return 0.0
