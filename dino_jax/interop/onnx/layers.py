"""The layers that the backbones share, as ONNX operations over our parameter names."""

from typing import NamedTuple

import numpy as np

from dino_jax.interop.onnx.graph import Graph

LAYER_NORM_EPSILON = 1e-6
BATCH_NORM_EPSILON = 1e-5


class Outputs(NamedTuple):
    """What a graph puts out beside its batch: `cls` (width,), `patches` (positions, width)."""

    width: int
    positions: int


def affine(graph: Graph, x: str, weight: np.ndarray, bias: np.ndarray, name: str) -> str:
    """x Wᵀ + b over the last axis; `weight` (out, in) is stored transposed as `name`.weight."""
    product = graph.op("MatMul", x, graph.store(f"{name}.weight", weight.T))
    return graph.op("Add", product, graph.store(f"{name}.bias", bias))


def linear(graph: Graph, x: str, name: str) -> str:
    """The linear layer of this name."""
    return affine(graph, x, graph.take(f"{name}.weight"), graph.take(f"{name}.bias"), name)


def layer_norm(graph: Graph, x: str, name: str) -> str:
    """Layer normalisation over the last axis, epsilon 1e-6."""
    inputs = (x, graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias"))
    return graph.op("LayerNormalization", *inputs, axis=-1, epsilon=LAYER_NORM_EPSILON)


def gelu(graph: Graph, x: str) -> str:
    """The exact GELU, x (1 + erf(x / √2)) / 2; Gelu itself is of opset 20."""
    erf = graph.op("Erf", graph.op("Mul", x, graph.constant(0.5**0.5)))
    half = graph.op("Mul", x, graph.constant(0.5))
    return graph.op("Mul", half, graph.op("Add", erf, graph.constant(1.0)))


def mlp(graph: Graph, x: str, name: str) -> str:
    """Two linear layers with a GELU between them."""
    return linear(graph, gelu(graph, linear(graph, x, f"{name}.fc1")), f"{name}.fc2")


def convolution(graph: Graph, x: str, name: str, *, stride: int = 1, groups: int = 1) -> str:
    """The convolution of this name with PyTorch's symmetric padding of (kernel − 1) / 2."""
    kernel = graph.take(f"{name}.weight").shape[2:]
    inputs = [x, graph.weight(f"{name}.weight")]
    if graph.has(f"{name}.bias"):
        inputs.append(graph.weight(f"{name}.bias"))
    return graph.op(
        "Conv",
        *inputs,
        kernel_shape=list(kernel),
        strides=[stride, stride],
        pads=[side // 2 for side in kernel] * 2,
        group=groups,
    )


def batch_norm(graph: Graph, x: str, name: str) -> str:
    """Batch normalisation by the running statistics, channels on axis 1, epsilon 1e-5."""
    leaves = ("weight", "bias", "running_mean", "running_var")
    graph.ignore(f"{name}.num_batches_tracked")
    inputs = [graph.weight(f"{name}.{leaf}") for leaf in leaves]
    return graph.op("BatchNormalization", x, *inputs, epsilon=BATCH_NORM_EPSILON)


def with_class_token(graph: Graph, x: str, images: str) -> str:
    """Put the class token before the tokens `x` of every image."""
    token = graph.weight("cls_token")
    batch = graph.op("Shape", images, start=0, end=1)
    rest = graph.constant(list(graph.take("cls_token").shape[1:]))
    shape = graph.op("Concat", batch, rest, axis=0)
    return graph.op("Concat", graph.op("Expand", token, shape), x, axis=1)


def put_out(graph: Graph, tokens: str, outputs: Outputs) -> Outputs:
    """Name the class token `cls` and the others `patches`."""
    token, _ = graph.split(tokens, [1, outputs.positions], axis=1, last="patches")
    graph.reshape(token, 0, outputs.width, out="cls")
    return outputs
