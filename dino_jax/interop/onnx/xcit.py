"""XCiT as an ONNX graph (reference: `xcit.py` of facebookresearch/xcit)."""

from typing import NamedTuple

import numpy as np

from dino_jax.interop.network import Network
from dino_jax.interop.onnx.graph import Graph
from dino_jax.interop.onnx.layers import (
    Outputs,
    affine,
    batch_norm,
    convolution,
    gelu,
    layer_norm,
    linear,
    mlp,
    put_out,
    with_class_token,
)
from dino_jax.models.xcit_tokens import fourier_table

SMALLEST_NORM = 1e-12
"""What a channel's norm is raised to before the division (torch's `normalize`)."""


class _Sizes(NamedTuple):
    """The grid of patches, and the width of a token."""

    rows: int
    columns: int
    width: int

    @property
    def patches(self) -> int:
        return self.rows * self.columns


def _stem(graph: Graph, x: str, size: tuple[int, int]) -> tuple[str, _Sizes]:
    """The map of patches: every 3×3 of stride 2 halves the sides, rounding up."""
    rows, columns = size
    index = width = 0
    while graph.has(f"patch_embed.proj.{index}.0.weight"):
        if index:
            x = gelu(graph, x)
        name = f"patch_embed.proj.{index}"
        x = batch_norm(graph, convolution(graph, x, f"{name}.0", stride=2), f"{name}.1")
        rows, columns, width = -(-rows // 2), -(-columns // 2), len(graph.take(f"{name}.1.weight"))
        index += 2
    return x, _Sizes(rows, columns, width)


def _positions(graph: Graph, sizes: _Sizes) -> str:
    """What is added to the patches, (1, patches, width): a constant, computed here."""
    name = "pos_embeder.token_projection"
    weight, bias = graph.take(f"{name}.weight")[:, :, 0, 0], graph.take(f"{name}.bias")
    table = fourier_table(sizes.rows, sizes.columns).astype(np.float64)
    encoded = (table @ weight.T.astype(np.float64) + bias[None, :]).astype(np.float32)
    return graph.store("pos_embeder", encoded[None])


def _to_tokens(graph: Graph, x: str, sizes: _Sizes) -> str:
    return graph.op("Transpose", graph.reshape(x, 0, sizes.width, -1), perm=[0, 2, 1])


def _scaled(graph: Graph, x: str, gamma: str) -> str:
    return graph.op("Mul", x, graph.weight(gamma))


def _over_its_norm(graph: Graph, x: str, axis: int) -> str:
    norm = graph.op("ReduceL2", x, axes=[axis], keepdims=1)
    return graph.op("Div", x, graph.op("Max", norm, graph.constant(SMALLEST_NORM)))


def _cross_covariance(graph: Graph, x: str, name: str, sizes: _Sizes) -> str:
    """Attention of channels to channels within a head; queries and keys have norm 1 over tokens."""
    heads = len(graph.take(f"{name}.temperature"))
    shape = (0, sizes.patches, heads, sizes.width // heads)
    qkv = graph.split(linear(graph, x, f"{name}.qkv"), [sizes.width] * 3, axis=-1)
    query, key, value = (graph.reshape(part, *shape) for part in qkv)
    query = _over_its_norm(graph, graph.op("Transpose", query, perm=[0, 2, 3, 1]), 3)
    key = _over_its_norm(graph, graph.op("Transpose", key, perm=[0, 2, 1, 3]), 2)
    value = graph.op("Transpose", value, perm=[0, 2, 3, 1])
    product = graph.op("MatMul", query, key)
    product = graph.op("Mul", product, graph.weight(f"{name}.temperature"))
    mixed = graph.op("MatMul", graph.op("Softmax", product, axis=-1), value)
    mixed = graph.op("Transpose", mixed, perm=[0, 3, 1, 2])
    return linear(graph, graph.reshape(mixed, 0, sizes.patches, sizes.width), f"{name}.proj")


def _local(graph: Graph, x: str, name: str, sizes: _Sizes) -> str:
    """Two depthwise 3×3 on the map of patches; the batch norm comes after the GELU."""
    x = graph.op("Transpose", x, perm=[0, 2, 1])
    x = graph.reshape(x, 0, sizes.width, sizes.rows, sizes.columns)
    x = gelu(graph, convolution(graph, x, f"{name}.conv1", groups=sizes.width))
    x = batch_norm(graph, x, f"{name}.bn")
    x = convolution(graph, x, f"{name}.conv2", groups=sizes.width)
    return _to_tokens(graph, x, sizes)


def _block(graph: Graph, x: str, name: str, sizes: _Sizes) -> str:
    """Attention, local interaction, MLP: numbered 1, 3, 2."""
    normed = layer_norm(graph, x, f"{name}.norm1")
    branch = _cross_covariance(graph, normed, f"{name}.attn", sizes)
    x = graph.op("Add", x, _scaled(graph, branch, f"{name}.gamma1"))
    branch = _local(graph, layer_norm(graph, x, f"{name}.norm3"), f"{name}.local_mp", sizes)
    x = graph.op("Add", x, _scaled(graph, branch, f"{name}.gamma3"))
    branch = mlp(graph, layer_norm(graph, x, f"{name}.norm2"), f"{name}.mlp")
    return graph.op("Add", x, _scaled(graph, branch, f"{name}.gamma2"))


def _class_attention(
    graph: Graph, x: str, first: str, name: str, *, heads: int, sizes: _Sizes
) -> str:
    """What the class token `first` gathers from all tokens `x`, (batch, 1, width)."""
    width, each = sizes.width, sizes.width // heads
    weight, bias = graph.take(f"{name}.qkv.weight"), graph.take(f"{name}.qkv.bias")
    query = affine(graph, first, weight[:width], bias[:width], f"{name}.q")
    both = affine(graph, x, weight[width:], bias[width:], f"{name}.kv")
    key, value = graph.split(both, [width, width], axis=-1)
    tokens = 1 + sizes.patches
    query = graph.op("Transpose", graph.reshape(query, 0, 1, heads, each), perm=[0, 2, 1, 3])
    query = graph.op("Mul", query, graph.constant(each**-0.5))
    key = graph.op("Transpose", graph.reshape(key, 0, tokens, heads, each), perm=[0, 2, 3, 1])
    value = graph.op("Transpose", graph.reshape(value, 0, tokens, heads, each), perm=[0, 2, 1, 3])
    attention = graph.op("Softmax", graph.op("MatMul", query, key), axis=-1)
    mixed = graph.op("Transpose", graph.op("MatMul", attention, value), perm=[0, 2, 1, 3])
    return linear(graph, graph.reshape(mixed, 0, 1, width), f"{name}.proj")


def _class_block(graph: Graph, x: str, name: str, *, heads: int, sizes: _Sizes) -> str:
    """Both residuals as in the original: patches get their normed selves, then are doubled."""
    halves = [1, sizes.patches]
    normed = layer_norm(graph, x, f"{name}.norm1")
    first, patches = graph.split(normed, halves, axis=1)
    gathered = _class_attention(graph, normed, first, f"{name}.attn", heads=heads, sizes=sizes)
    branch = graph.op("Concat", gathered, patches, axis=1)
    x = graph.op("Add", x, _scaled(graph, branch, f"{name}.gamma1"))
    first, patches = graph.split(layer_norm(graph, x, f"{name}.norm2"), halves, axis=1)
    branch = _scaled(graph, mlp(graph, first, f"{name}.mlp"), f"{name}.gamma2")
    first, patches = graph.op("Add", first, branch), graph.op("Add", patches, patches)
    return graph.op("Concat", first, patches, axis=1)


def write_xcit(graph: Graph, images: str, network: Network, size: tuple[int, int]) -> Outputs:
    """Add everything from the images (batch, 3, *size) to `cls` and `patches`, both normed.

    A patch that is only begun at the right or lower edge counts, as in the original.
    """
    x, sizes = _stem(graph, images, size)
    x = graph.op("Add", _to_tokens(graph, x, sizes), _positions(graph, sizes))
    heads = len(graph.take("blocks.0.attn.temperature"))
    block = 0
    while graph.has(f"blocks.{block}.gamma1"):
        x = _block(graph, x, f"blocks.{block}", sizes)
        block += 1
    x = with_class_token(graph, x, images)
    block = 0
    while graph.has(f"cls_attn_blocks.{block}.gamma1"):
        x = _class_block(graph, x, f"cls_attn_blocks.{block}", heads=heads, sizes=sizes)
        block += 1
    return put_out(graph, layer_norm(graph, x, "norm"), Outputs(sizes.width, sizes.patches))
