"""Which values a program holds at once: what is computed and kept, and when it is let go."""

from typing import NamedTuple

from dino_jax.train.planning.graph import Graph, Node, Value, users

ELEMENTWISE = frozenset(
    "add sub mul div neg abs sign max min and or xor not eq ne lt le gt ge lt_to select_n "
    "convert_element_type broadcast_in_dim iota square sqrt rsqrt exp exp2 expm1 log log1p "
    "erf erfc erf_inv tanh logistic sin cos pow integer_pow rem floor ceil round is_finite clamp "
    "transpose slice rev pad add_any shift_left shift_right_logical shift_right_arithmetic cbrt "
    "nextafter bitcast_convert_type population_count real imag split dynamic_slice "
    "reduce_precision random_bits random_wrap random_unwrap random_fold_in random_seed "
    "threefry2x32".split()
)
"""What a compiler merges into the loop of what reads it."""
DEAR = frozenset(
    "div sqrt rsqrt exp exp2 expm1 log log1p erf erfc erf_inv tanh logistic sin cos pow rem cbrt "
    "random_bits threefry2x32".split()
)
"""What it does not compute twice for two readers."""
REDUCTIONS = frozenset(
    "reduce_sum reduce_max reduce_min reduce_and reduce_or argmax argmin reduce_prod".split()
)
"""What reads its arguments in the loop that makes them."""


class Rules(NamedTuple):
    """What a platform's compiler merges."""

    sums_merge: bool
    """Whether a sum computes what it adds; XLA:CPU's library of sums reads it from memory."""
    functions_again: bool = False
    """Whether exponentials, error functions and the like are computed again rather than kept."""


class Live(NamedTuple):
    """The largest total of bytes held at once, and what is held then."""

    peak: int
    at: int
    """Index of the operation that runs then."""
    held: frozenset[Value]
    inner: int
    """Bytes that only this operation takes."""


class Written(NamedTuple):
    """What is written to memory, and what every loop reads of it."""

    values: frozenset[Value]
    reads: tuple[frozenset[Value], ...]
    """For every operation whose results are written: the written values that its loop reads."""


def written(graph: Graph, *, rules: Rules) -> Written:
    """The values that are written to memory; all others exist within one loop only.

    As a compiler does it: what is cheap is computed anew in every loop that reads it, if all its
    readers are loops or it reads but one array as large; what is dear is where one loop reads it.
    """
    readers, results, repeated = users(graph), set(graph.results), _repeated(graph)
    summands = set() if rules.sums_merge else _summands(graph, readers)
    found: set[Value] = set(graph.arguments)
    loops: dict[Value, set[int]] = {}

    def read_by(value: Value) -> tuple[set[int], bool]:
        """The loops that read a value, and whether anything else does."""
        inside: set[int] = set()
        alone = False
        for reader in readers.get(value, ()):
            node = graph.nodes[reader]
            if node.name in ELEMENTWISE and reader not in summands:
                for out in node.outputs:
                    inside |= {reader} if out in found else set()
                    inside |= loops[out] if out not in found or reader in repeated else set()
            elif node.name in REDUCTIONS and rules.sums_merge:
                inside.add(reader)
            else:
                alone = True
        return inside, alone

    for index in range(len(graph.nodes) - 1, -1, -1):
        node = graph.nodes[index]
        dear = node.name in DEAR and not rules.functions_again
        for value in node.outputs:
            loops[value], alone = read_by(value)
            if index in summands:
                loops[value] = {index}
                continue
            twice = dear and len(loops[value]) > 1
            if node.name not in ELEMENTWISE or value in results or alone or twice:
                found.add(value)
    return Written(frozenset(found), _reads(graph, found, repeated, summands))


def _summands(graph: Graph, readers: dict[Value, list[int]]) -> set[int]:
    """Products and differences that sums alone read, and make themselves of what is in memory."""
    found = set()
    for index, node in enumerate(graph.nodes):
        after = readers.get(node.outputs[0], ()) if node.name in ("mul", "sub", "square") else ()
        if after and all(graph.nodes[each].name == "reduce_sum" for each in after):
            found.add(index)
    return found


def _repeated(graph: Graph) -> set[int]:
    """Operations whose written result is nevertheless computed anew in loops: it costs no reading.

    That is what is cheap and made of at most one array of its own size, broadcasts not counted.
    """
    spread = {node.outputs[0] for node in graph.nodes if node.name in ("broadcast_in_dim", "iota")}
    found = set()
    for index, node in enumerate(graph.nodes):
        if node.name in ELEMENTWISE - DEAR and len(node.outputs) == 1:
            whole = graph.values[node.outputs[0]].elements
            large = [v for v in set(node.inputs) - spread if graph.values[v].elements >= whole]
            if len(large) <= 1:
                found.add(index)
    return found


def _reads(
    graph: Graph, found: set[Value], repeated: set[int], summands: set[int]
) -> tuple[frozenset[Value], ...]:
    through: dict[Value, frozenset[Value]] = {}
    read: list[frozenset[Value]] = []
    for index, node in enumerate(graph.nodes):
        merges = node.name in ELEMENTWISE | REDUCTIONS and index not in summands
        inputs: set[Value] = set()
        for value in node.inputs:
            inputs |= through[value] if value in through and merges else {value}
        own = frozenset(inputs)
        for value in node.outputs:
            if value not in found or index in repeated:
                through[value] = own
        read.append(own if any(value in found for value in node.outputs) else frozenset())
    return tuple(read)


def moved(graph: Graph, *, rules: Rules) -> float:
    """Bytes that all operations read and write."""
    found = written(graph, rules=rules)
    return sum(
        traffic(graph, node, reads, found, rules=rules)
        for node, reads in zip(graph.nodes, found.reads, strict=True)
    )


def traffic(
    graph: Graph, node: Node, reads: frozenset[Value], found: Written, *, rules: Rules
) -> float:
    """Bytes that one operation reads and writes, in all rounds if it is a loop."""
    if node.body is not None:
        return node.rounds * moved(node.body, rules=rules)
    out = [value for value in node.outputs if value in found.values]
    return sum(graph.values[value].size for value in (*reads, *out)) if out else 0


def live(graph: Graph, *, rules: Rules) -> Live:
    """Walk the operations in order; arguments are there from first to last.

    A result takes the place of an argument, as those of a step do that takes the state over.
    """
    found = written(graph, rules=rules)
    fixed, results = set(graph.arguments), set(graph.results)
    last: dict[Value, int] = {}
    for index, reads in enumerate(found.reads):
        last |= dict.fromkeys(reads, index)
    leaving: dict[int, list[Value]] = {}
    for value, index in last.items():
        leaving.setdefault(index, []).append(value)
    held = set(fixed)
    total = sum(graph.values[value].size for value in held)
    best = Live(total, 0, frozenset(held), 0)
    for index, node in enumerate(graph.nodes):
        replaced = _replaced(node, index, last)
        for value in found.values.intersection(node.outputs) - results:
            if value in last and value not in replaced:
                held.add(value)
                total += graph.values[value].size
        inner = _inside(node, rules=rules)
        if total + inner > best.peak:
            best = Live(total + inner, index, frozenset(held), inner)
        for value in replaced:
            held.add(value)
            total += graph.values[value].size
        for value in leaving.get(index, ()):
            if value in held and value not in fixed:
                held.discard(value)
                total -= graph.values[value].size
    return best


def _replaced(node: Node, index: int, last: dict[Value, int]) -> set[Value]:
    """The results of a loop that lie where what it began with lay, which nobody reads again."""
    starts = node.inputs[node.whole - node.carried : node.whole]
    pairs = zip(starts, node.outputs, strict=False)
    return {out for start, out in pairs if last.get(start) == index and out in last}


def _inside(node: Node, *, rules: Rules) -> int:
    """Bytes that a loop's body takes beside what the loop is given whole."""
    if node.body is None:
        return 0
    body = node.body
    given = sum(body.values[value].size for value in set(body.arguments[: node.whole]))
    return max(0, live(body, rules=rules).peak - given)
