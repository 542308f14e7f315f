"""The vision transformer as an ONNX graph (reference: `vision_transformer.py`)."""

import jax.numpy as jnp
import numpy as np

from dino_jax.config import UserError
from dino_jax.config.architectures import architecture_of
from dino_jax.interop.network import Network
from dino_jax.interop.onnx.graph import Graph
from dino_jax.interop.onnx.layers import (
    Outputs,
    layer_norm,
    linear,
    mlp,
    put_out,
    with_class_token,
)
from dino_jax.models.posembed import interpolate


def positions(network: Network, size: tuple[int, int], patch: int) -> np.ndarray:
    """The position table for images of `size`, (1, patches + 1, width) float32.

    It is interpolated here as the original does; what runtimes offer does otherwise.

    Raises:
        UserError: the network's own table is not that of a square image, and `size` is another.
    """
    table = network.params["backbone.pos_embed"]
    if size == network.size:
        return table
    if network.size[0] != network.size[1]:
        own, asked = ("x".join(map(str, each)) for each in (network.size, size))
        raise UserError(
            f"these weights hold the positions of {own} pixels, which are not interpolated again: "
            f"{asked} can be written from the weights they were made from"
        )
    return np.asarray(interpolate(jnp.asarray(table), *size, patch))


def _attention(graph: Graph, x: str, name: str, *, tokens: int, heads: int, width: int) -> str:
    each = width // heads
    qkv = graph.split(linear(graph, x, f"{name}.qkv"), [width] * 3, axis=-1)
    query, key, value = (graph.reshape(part, 0, tokens, heads, each) for part in qkv)
    query = graph.op("Transpose", query, perm=[0, 2, 1, 3])
    query = graph.op("Mul", query, graph.constant(each**-0.5))
    key = graph.op("Transpose", key, perm=[0, 2, 3, 1])
    value = graph.op("Transpose", value, perm=[0, 2, 1, 3])
    attention = graph.op("Softmax", graph.op("MatMul", query, key), axis=-1)
    mixed = graph.op("Transpose", graph.op("MatMul", attention, value), perm=[0, 2, 1, 3])
    return linear(graph, graph.reshape(mixed, 0, tokens, width), f"{name}.proj")


def write_vit(graph: Graph, images: str, network: Network, size: tuple[int, int]) -> Outputs:
    """Add everything from the images (batch, channels, *size) to `cls` and `patches`.

    Rows and columns of pixels beyond the last whole patch are not read, as in the original.

    Raises:
        UserError: an image smaller than a patch, or positions that cannot be had for it.
    """
    width, _, patch, _ = graph.take("patch_embed.proj.weight").shape
    outputs = Outputs(width, (size[0] // patch) * (size[1] // patch))
    if outputs.positions == 0:
        raise UserError(
            f"an image of {size[0]}x{size[1]} pixels holds no patch of {patch}: raise the size"
        )
    tokens = 1 + outputs.positions
    x = graph.op(
        "Conv",
        images,
        graph.weight("patch_embed.proj.weight"),
        graph.weight("patch_embed.proj.bias"),
        kernel_shape=[patch, patch],
        strides=[patch, patch],
    )
    x = graph.op("Transpose", graph.reshape(x, 0, width, -1), perm=[0, 2, 1])
    graph.ignore("pos_embed")
    table = graph.store("pos_embed", positions(network, size, patch))
    x = graph.op("Add", with_class_token(graph, x, images), table)
    heads = architecture_of(network.model).heads
    block = 0
    while graph.has(f"blocks.{block}.norm1.weight"):
        name = f"blocks.{block}"
        normed = layer_norm(graph, x, f"{name}.norm1")
        mixed = _attention(graph, normed, f"{name}.attn", tokens=tokens, heads=heads, width=width)
        x = graph.op("Add", x, mixed)
        x = graph.op("Add", x, mlp(graph, layer_norm(graph, x, f"{name}.norm2"), f"{name}.mlp"))
        block += 1
    return put_out(graph, layer_norm(graph, x, "norm"), outputs)
