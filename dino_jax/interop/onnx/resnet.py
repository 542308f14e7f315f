"""ResNet-50 as an ONNX graph (torchvision's v1.5: a block's stride is in its 3×3)."""

from dino_jax.interop.network import Network
from dino_jax.interop.onnx.graph import Graph
from dino_jax.interop.onnx.layers import Outputs, batch_norm, convolution

LAYERS = 4


def _bottleneck(graph: Graph, x: str, name: str, *, stride: int) -> str:
    y = x
    for index, step in ((1, 1), (2, stride), (3, 1)):
        y = convolution(graph, y, f"{name}.conv{index}", stride=step)
        y = batch_norm(graph, y, f"{name}.bn{index}")
        if index < 3:
            y = graph.op("Relu", y)
    if graph.has(f"{name}.downsample.0.weight"):
        x = convolution(graph, x, f"{name}.downsample.0", stride=stride)
        x = batch_norm(graph, x, f"{name}.downsample.1")
    return graph.op("Relu", graph.op("Add", y, x))


def write_resnet(graph: Graph, images: str, network: Network, size: tuple[int, int]) -> Outputs:
    """Add everything from the images (batch, channels, *size) to `cls` and `patches`.

    `cls` is the mean over the positions of the last map, and `patches` are those positions, row
    by row.
    """
    x = convolution(graph, images, "conv1", stride=2)
    x = graph.op("Relu", batch_norm(graph, x, "bn1"))
    x = graph.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    name = ""
    for layer in range(1, LAYERS + 1):
        block = 0
        while graph.has(f"layer{layer}.{block}.conv1.weight"):
            name = f"layer{layer}.{block}"
            x = _bottleneck(graph, x, name, stride=2 if layer > 1 and block == 0 else 1)
            block += 1
    width = len(graph.take(f"{name}.bn3.weight"))
    graph.op("Flatten", graph.op("GlobalAveragePool", x), axis=1, out="cls")
    graph.op("Transpose", graph.reshape(x, 0, width, -1), perm=[0, 2, 1], out="patches")
    # Five times half, rounded up: stem, pool and the first blocks of three layers.
    rows, columns = (-(-side // 32) for side in size)
    return Outputs(width, rows * columns)
