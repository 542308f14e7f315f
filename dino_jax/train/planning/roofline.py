"""Time of a step: every operation takes as long as its arithmetic or its memory, the longer one."""

from typing import NamedTuple

from dino_jax.train.planning.devices import Device
from dino_jax.train.planning.graph import Graph
from dino_jax.train.planning.memory import DEAR, Rules, traffic, written

PRODUCTS = 0.5
"""Share of a peak that matrix products reach on an accelerator: modelled, not measured."""
SMALL_PRODUCTS = 0.25
"""The same of products for every image and head, as in attention: modelled."""
TRANSFERS = 0.8
"""Share of the memory's bandwidth that is reached: modelled."""
NETWORK = 0.7
"""Share of the links' bandwidth that is reached: modelled."""


class Rates(NamedTuple):
    """What one device does a second."""

    bfloat16: float
    float32: float
    small: float
    """Share of these that products for every image and head reach, of what large ones reach."""
    bandwidth: float
    functions: float
    """Elements of exponentials, roots, error functions and quotients."""
    links: float


def modelled(device: Device) -> Rates:
    """The rates of an accelerator, from its data sheet and the shares above."""
    return Rates(
        device.bfloat16 * PRODUCTS,
        device.float32 * PRODUCTS,
        SMALL_PRODUCTS / PRODUCTS,
        device.bandwidth * TRANSFERS,
        device.bandwidth,
        device.link * NETWORK,
    )


class Work(NamedTuple):
    """Seconds of a step of one device by what bounds them."""

    products: float
    memory: float
    functions: float
    flops: float

    @property
    def seconds(self) -> float:
        """All of it, one after the other."""
        return self.products + self.memory + self.functions


def work_of(graph: Graph, rates: Rates, *, rules: Rules) -> Work:
    """The roofline of a traced step."""
    found = written(graph, rules=rules)
    products = memory = functions = flops = 0.0
    for node, reads in zip(graph.nodes, found.reads, strict=True):
        values = [graph.values[value] for value in node.outputs]
        if node.name in DEAR:
            functions += sum(value.elements for value in values) / rates.functions
        out = [value for value in node.outputs if value in found.values]
        if not out:
            continue
        bytes_ = traffic(graph, node, reads, found, rules=rules)
        through = bytes_ / rates.bandwidth
        flops += node.flops
        wide = any(graph.values[value].itemsize > 2 for value in node.inputs)
        rate = rates.float32 if wide else rates.bfloat16
        computing = node.flops / (rate * (rates.small if node.small else 1.0))
        products += computing if computing >= through else 0.0
        memory += through if through > computing else 0.0
    return Work(products, memory, functions, flops)
