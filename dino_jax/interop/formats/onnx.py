"""One backbone as an ONNX file for images of one size, any number at once; written, never read."""

import json
import logging
import pathlib

from dino_jax.config.architectures import architecture_of
from dino_jax.interop.hub import normalisation
from dino_jax.interop.network import Weights
from dino_jax.interop.onnx.graph import OPSET, Graph
from dino_jax.interop.onnx.resnet import write_resnet
from dino_jax.interop.onnx.vit import write_vit
from dino_jax.interop.onnx.xcit import write_xcit
from dino_jax.interop.positions import at_size
from dino_jax.models.naming import BACKBONE, under

MAIN = "model.onnx"
INPUT = "images"

WRITERS = {"vit": write_vit, "resnet": write_resnet, "xcit": write_xcit}


def _facts(weights: Weights, network: str, size: tuple[int, int]) -> dict[str, str]:
    """What the file says about itself, by name."""
    mean, std = normalisation(weights)
    model = weights.network(network).model
    facts = {
        "architecture": model.arch,
        "opset": OPSET,
        "image_size": f"{size[0]}x{size[1]}",
        "mean": json.dumps(mean),
        "std": json.dumps(std),
        "network": network,
        "source": weights.facts.get("source", "not known"),
    }
    if architecture_of(model).family != "resnet":
        facts["patch_size"] = model.patch_size
    return {name: str(value) for name, value in facts.items()}


def _text(facts: dict[str, str]) -> str:
    """The same in a few sentences, for whoever opens the file."""
    patch = f" of patch size {facts['patch_size']}" if "patch_size" in facts else ""
    return (
        f"{facts['architecture']}{patch} without a head, written by dino_jax; source: "
        f"{facts['source']} ({facts['network']}). {INPUT}: any number of images of "
        f"{facts['image_size']} (height x width), float32, channels first (RGB), in [0, 1] and "
        f"then normalised by mean {facts['mean']} and std {facts['std']}. cls: one vector an "
        f"image; patches: one vector a position, row by row. Opset {facts['opset']}; the image "
        "size is fixed."
    )


def save(
    weights: Weights,
    folder: pathlib.Path,
    *,
    network: str = "teacher",
    size: tuple[int, int] | None = None,
) -> None:
    """Write `model.onnx` (opset 17, IR 8) for images of `size`, or of the network's own.

    Input `images` (batch, channels, height, width), normalised float32; outputs `cls` (batch,
    width) and `patches` (batch, positions, width). The position table is that of `size`. A
    ResNet's `cls` is its pooled features and its `patches` are the last map. A projection head or
    a classifier is left out, and the log says so.

    Raises:
        UserError: the onnx package is missing, there is no such network, or no such size.
    """
    chosen = at_size(weights.network(network), size)
    size = size or chosen.size
    graph = Graph(under(BACKBONE, {**chosen.params, **chosen.stats}))
    write = WRITERS[architecture_of(chosen.model).family]
    outputs = write(graph, INPUT, chosen, size)
    facts = _facts(weights, network, size)
    content = graph.serialise(
        {INPUT: (chosen.model.channels, *size)},
        {"cls": (outputs.width,), "patches": (outputs.positions, outputs.width)},
        name=chosen.model.arch,
        text=_text(facts),
        facts=facts,
    )
    (folder / MAIN).write_bytes(content)
    left_out = [
        what
        for what, there in (("projection head", chosen.head), ("classifier", chosen.classifier))
        if there
    ]
    if left_out:
        logging.getLogger("dino_jax").info(
            "the ONNX file holds the backbone alone, without the %s", " and the ".join(left_out)
        )
