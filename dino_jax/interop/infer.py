"""From tensors under the original's names to a network: what it is, and that nothing is amiss."""

import dataclasses
import logging
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from dino_jax.config import HeadConfig, ModelConfig, UserError
from dino_jax.config.architectures import (
    ARCHITECTURES,
    RESNET_STRIDE,
    Architecture,
    Family,
    architecture_of,
)
from dino_jax.interop.network import Arrays, Network
from dino_jax.interop.strict import (
    Called,
    check_names,
    exact,
    expected_shapes,
    image_size,
    is_statistic,
    listed,
)
from dino_jax.models.build import Model, build
from dino_jax.models.naming import BACKBONE, HEAD, under

SIZE = (224, 224)
"""What a network without a position table says it was made for."""
BLOCK: Mapping[Family, int] = {"vit": 12, "resnet": 9, "xcit": 27}
"""Tensors of one block, at least."""


def network_from(
    tensors: Mapping[str, Any],
    *,
    source: str,
    model: ModelConfig | None = None,
    head: HeadConfig | None = None,
    size: tuple[int, int] | None = None,
    heads: int | None = None,
    classifier: Mapping[str, Any] | None = None,
    called: Called = str,
) -> Network:
    """A network of these tensors, after every name, shape and type was checked.

    `tensors` holds parameters and batch statistics together, named as the original names them
    behind `backbone.` and `head.`. What is not given is told from names and shapes: the
    architecture, its width, depth, patch size and channels, the projection head. `size` is the
    image (height, width) whose patches the position table has (None: square). The number of
    `heads` of a vision transformer is in no shape: it is that of the named architecture of this
    width unless it, or `model`, says otherwise. Floats of at most 32 bits become float32, which
    is exact; counters int64. `source` begins every message, and `called` names tensors in it.

    Raises:
        UserError: tensors that are missing, unexpected, of another shape or type, all counted and
        the first named; or a network that is none of ours.
    """
    if not tensors:
        raise UserError(f"{source} holds no tensors")
    backbone = {name: np.shape(tensor) for name, tensor in under(BACKBONE, tensors).items()}
    told = model is not None
    if model is None:
        model = _model_of_shapes(backbone, heads, source)
    else:
        model = filled(model if heads is None else dataclasses.replace(model, heads=heads))
    found = architecture_of(model)
    if found.family != "vit":
        size = SIZE
    elif size is None:
        size = _square(backbone.get("pos_embed", ()), model.patch_size, source, told=told)
    if head is None and any(name.startswith(HEAD) for name in tensors):
        head = _head_of(under(HEAD, tensors), source)
    _check_count(model, size, head, tensors, source)
    check_names(
        {name: np.shape(tensor) for name, tensor in tensors.items()},
        expected_shapes(model, size, head, source=source),
        source=source,
        called=called,
    )
    held = {name: exact(name, tensor, source, called) for name, tensor in tensors.items()}
    return Network(
        model=model,
        size=size,
        params={name: held[name] for name in held if not is_statistic(name)},
        stats={name: held[name] for name in held if is_statistic(name)},
        head=head,
        classifier=_classifier(classifier or {}, source),
    )


def model_of(network: Network, dtype: DTypeLike = jnp.float32) -> Model:
    """Our model of a network at its native size, with products in `dtype`; no path is dropped."""
    model, head = configs_of(network)
    return build(model, head, image_size=image_size(network.size), dtype=dtype)


def configs_of(network: Network) -> tuple[ModelConfig, HeadConfig]:
    """The fields `model` and `head` of a network; the default head where it has none."""
    return dataclasses.replace(network.model), dataclasses.replace(network.head or HeadConfig())


def filled(model: ModelConfig) -> ModelConfig:
    """The same configuration with the sizes that its architecture names written out."""
    found = architecture_of(model)
    if found.family == "resnet":  # the width is all that may be another
        return dataclasses.replace(model, patch_size=RESNET_STRIDE, width=found.width)
    return dataclasses.replace(model, width=found.width, depth=found.depth, heads=found.heads)


def family_of(names: Iterable[str]) -> Family | None:
    """The family of a backbone by the names of its tensors, which carry no prefix."""
    held = set(names)
    if {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight"} <= held:
        return "resnet"
    if "patch_embed.proj.0.0.weight" in held:
        return "xcit"
    return "vit" if "patch_embed.proj.weight" in held else None


def _check_count(
    model: ModelConfig,
    size: tuple[int, int],
    head: HeadConfig | None,
    tensors: Mapping[str, Any],
    source: str,
) -> None:
    """Refuse sizes far beyond what is there before anything is built of them."""
    found, patch = architecture_of(model), model.patch_size
    if min(patch, model.channels, *size) < 1:
        raise UserError(
            f"{source}: a network of {model.channels} channels, patches of {patch} and images of "
            f"{size[0]}x{size[1]} is none: expected positive numbers"
        )
    positions = math.prod(side // patch for side in size)
    least = found.width * found.width // 4  # of a ResNet's last convolution
    if found.family != "resnet":
        least = 12 * found.width * found.width  # of one block
    if found.family == "vit":
        least += found.width * (positions + model.channels * patch * patch)
    else:  # the first convolution has fewer outputs than the features are wide
        least += found.width * model.channels // 64
    names = found.depth * BLOCK[found.family]
    if head is not None:
        names += head.layers
        between = head.hidden * (found.width + (head.layers - 2) * head.hidden)
        least += head.prototypes * head.bottleneck + (between if head.layers > 1 else 0)
    numbers = sum(math.prod(np.shape(tensor)) for tensor in tensors.values())
    # Half of it may be missing: then it is named.
    if names > 2 * len(tensors) or least > 2 * numbers:
        raise UserError(
            f"{source} holds {len(tensors)} tensors of {numbers} numbers, far too few for a "
            f"network of width {found.width}, depth {found.depth}, {model.channels} channels and "
            f"{positions} positions"
        )


def _model_of_shapes(
    shapes: Mapping[str, tuple[int, ...]], heads: int | None, source: str
) -> ModelConfig:
    family = family_of(shapes)
    if family == "resnet":
        width = _axis(shapes, "layer4.0.conv3.weight", 0) or None
        channels = _axis(shapes, "conv1.weight", 1)
        return filled(ModelConfig(arch="resnet50", width=width, channels=channels))
    if family is None:
        raise UserError(
            f"{source} holds none of our networks: expected the backbone of a vision transformer, "
            f"a ResNet-50 or an XCiT, found {listed(shapes) or 'no backbone'}"
        )
    depth = _count(r"blocks\.(\d+)\.", shapes)
    if family == "xcit":
        stem = _count(r"patch_embed\.proj\.(\d+)\.", shapes)
        width = _axis(shapes, "cls_token", -1) or _axis(shapes, "norm.weight", 0)
        heads = heads or _axis(shapes, "blocks.0.attn.temperature", 0)
        channels = _axis(shapes, "patch_embed.proj.0.0.weight", 1)
        patch = 16 if stem == 4 else 8  # a convolution of stride 2 for each doubling
    else:
        width, channels, patch, _ = (
            _axis(shapes, "patch_embed.proj.weight", axis) for axis in range(4)
        )
    if not (width and depth and patch and channels):
        raise UserError(f"{source} holds no whole backbone: found {listed(shapes)}")
    arch = min(
        (name for name, found in ARCHITECTURES.items() if found.family == family),
        key=lambda name: _distance(ARCHITECTURES[name], width, depth),
    )
    if heads is None:
        if ARCHITECTURES[arch].width != width:
            raise UserError(
                f"{source} is a vision transformer of width {width}, and no shape says how many "
                "heads it has: give the config.json it was written with"
            )
        heads = ARCHITECTURES[arch].heads
        logging.getLogger("dino_jax").info(
            "%s does not say how many heads it has: %d are assumed, those of %s",
            source,
            heads,
            arch,
        )
    return ModelConfig(
        arch=arch, patch_size=patch, width=width, depth=depth, heads=heads, channels=channels
    )


def _distance(named: Architecture, width: int, depth: int) -> tuple[int, int]:
    return abs(named.width - width), abs(named.depth - depth)


def _axis(shapes: Mapping[str, tuple[int, ...]], name: str, axis: int) -> int:
    """The size of one axis, 0 where there is no such tensor or axis."""
    shape = shapes.get(name, ())
    return shape[axis] if -len(shape) <= axis < len(shape) else 0


def _count(pattern: str, names: Iterable[str]) -> int:
    """How many numbers the pattern finds (not the largest: a file may claim any)."""
    return len({hit[1] for name in names if (hit := re.match(pattern, name))})


def _square(table: tuple[int, ...], patch_size: int, source: str, *, told: bool) -> tuple[int, int]:
    patches = table[1] - 1 if len(table) == 3 else 0
    side = math.isqrt(max(patches, 0))
    if side < 1:
        raise UserError(f"{source} holds no position table (pos_embed is {table or 'missing'})")
    if side * side != patches:
        raise UserError(
            f"{source} has positions of {patches} patches, which is no square: the image size "
            "that they are of has to come with it, in a config.json"
        )
    pixels = side * patch_size
    if not told:
        logging.getLogger("dino_jax").info(
            "%s does not say of which images its positions are: square ones are assumed, of %dx%d",
            source,
            pixels,
            pixels,
        )
    return pixels, pixels


def _head_of(tensors: Mapping[str, Any], source: str) -> HeadConfig:
    """The projection head by its names and shapes; its scale is frozen where it is 1."""
    shapes = {name: np.shape(tensor) for name, tensor in tensors.items()}
    if "last_layer.weight_v" not in shapes:
        raise UserError(f"{source} holds no whole projection head: found {listed(shapes)}")
    batch_norm = any(is_statistic(name) for name in shapes)
    layers = sum(name.startswith("mlp.") and len(shape) == 2 for name, shape in shapes.items())
    scale = np.asarray(tensors.get("last_layer.weight_g", 1.0))
    return HeadConfig(
        prototypes=_axis(shapes, "last_layer.weight_v", 0),
        bottleneck=_axis(shapes, "last_layer.weight_v", 1),
        hidden=_axis(shapes, "mlp.0.weight", 0) if layers > 1 else HeadConfig.hidden,
        layers=layers,
        norm_last_layer=bool((scale == 1).all()),
        batch_norm=batch_norm,
    )


def _classifier(tensors: Mapping[str, Any], source: str) -> Arrays:
    shapes = {name: np.shape(tensor) for name, tensor in tensors.items()}
    if not shapes:
        return {}
    weight, bias = shapes.get("weight", ()), shapes.get("bias", ())
    if set(shapes) != {"weight", "bias"} or len(weight) != 2 or bias != weight[:1]:
        raise UserError(
            f"{source} holds a classifier of {shapes}: expected weight (classes, features) and "
            "bias (classes,)"
        )
    return {name: exact(name, tensor, source) for name, tensor in tensors.items()}
