"""The vision transformer as an ONNX graph (reference: `vision_transformer.py`)."""

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

    The network's position table is that of `size`. Rows and columns of pixels beyond the last
    whole patch are not read, as in the original.
    """
    width, _, patch, _ = graph.take("patch_embed.proj.weight").shape
    outputs = Outputs(width, (size[0] // patch) * (size[1] // patch))
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
    x = graph.op("Add", with_class_token(graph, x, images), graph.weight("pos_embed"))
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
