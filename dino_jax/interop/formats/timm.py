"""timm: `model.safetensors` and `config.json`, opened by `timm.create_model("local-dir:…")`.

Names, models and keys: docs/development/formats.md, section 1.
"""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

from dino_jax.config import ModelConfig, UserError
from dino_jax.config.architectures import ARCHITECTURES, architecture_of
from dino_jax.interop import hub
from dino_jax.interop.infer import family_of, network_from
from dino_jax.interop.names import TABLES, called, inward, outward
from dino_jax.interop.network import Arrays, Network, Weights
from dino_jax.interop.positions import at_size
from dino_jax.interop.record import pair
from dino_jax.interop.strict import check_network, listed
from dino_jax.models.naming import BACKBONE, prefixed, under

MAIN = hub.MAIN

FILES = (MAIN, "pytorch_model.bin", "pytorch_model.pth", "model.pth")
"""In the order in which timm looks for them."""

CLASSIFIER = {"vit": "head", "xcit": "head", "resnet": "fc"}
POOLED = {"vit": "token", "xcit": "token", "resnet": "avg"}
"""timm's `global_pool`: what of the last tokens, or of the last map, the features are."""
FIRST = {"vit": "patch_embed.proj", "xcit": "patch_embed.proj.0.0", "resnet": "conv1"}
"""timm's `first_conv`: what it changes for another number of channels."""

OTHERS = {"embed_dim": "width", "depth": "depth", "num_heads": "heads", "in_chans": "channels"}
"""Arguments of timm's models and our fields, where a network has other sizes than are named."""
HARMLESS = {"img_size", "num_classes", "patch_size", "dynamic_img_size", "drop_path_rate", *OTHERS}
"""Arguments that are read, or change no output in evaluation."""

CROP = 224 / 256
"""Of the side that an image is resized to: how the evaluations here prepare images."""


def load(path: pathlib.Path, *, tensors: Arrays | None = None) -> Weights:
    """Read a folder or a file of timm's weights; a `config.json` beside a file is read too.

    `tensors` are those of a file that has been read already.

    Raises:
        UserError: what cannot be read, another architecture, or tensors that do not match.
    """
    held = hub.read_held(path, FILES, tensors)
    source = str(held.file)
    told = _told(held.config, source)
    family = architecture_of(told).family if told else family_of(held.tensors)
    if family is None:
        raise UserError(
            f"{source} holds none of our networks: expected a vision transformer, a ResNet-50 or "
            f"an XCiT, found {listed(held.tensors)}"
        )
    table = TABLES["timm", family]
    backbone, classifier = _apart(held.tensors, CLASSIFIER[family] + ".")
    network = network_from(
        inward(table, backbone, source=source),
        source=source,
        model=told,
        size=(_size(held.config, source) or held.size) if family == "vit" else None,
        heads=held.heads if told is None and family == "vit" else None,
        classifier=classifier,
        called=lambda name: called(table, name),
    )
    about = held.config.get("pretrained_cfg", held.config)
    said = (about.get("mean"), about.get("std")) if isinstance(about, dict) else (None, None)
    return Weights({"teacher": network}, facts=hub.with_normalisation(held.facts, *said))


def save(
    weights: Weights,
    folder: pathlib.Path,
    *,
    network: str = "teacher",
    size: tuple[int, int] | None = None,
) -> None:
    """Write both files for images of `size` (height, width), or of the network's own.

    Raises:
        UserError: no such network, tensors that do not match it, or a classifier of features that
            timm's takes not.
    """
    chosen = at_size(weights.network(network), size)
    hub.check_resnet(chosen, "timm")
    check_network(chosen, source=f"the {network}")
    found = architecture_of(chosen.model)
    held = prefixed(BACKBONE, under(BACKBONE, {**chosen.params, **chosen.stats}))
    tensors = outward(TABLES["timm", found.family], held, source=f"the {network}")
    tensors |= prefixed(CLASSIFIER[found.family] + ".", hub.classifier_of(chosen, "timm"))
    hub.write_held(folder, tensors, _config(weights, chosen, size or chosen.size), chosen)


def _apart(tensors: Arrays, prefix: str) -> tuple[Arrays, Arrays]:
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
    return rest, under(prefix, tensors)


def _config(weights: Weights, network: Network, size: tuple[int, int]) -> dict[str, Any]:
    model, found = network.model, architecture_of(network.model)
    mean, std = hub.normalisation(weights)
    name, arguments = built_by(model, size)
    classes = len(network.classifier["bias"]) if network.classifier else 0
    return {
        "architecture": name,
        "num_classes": classes,
        "num_features": found.width,
        "global_pool": POOLED[found.family],
        "model_args": arguments,
        "pretrained_cfg": {
            "tag": "dino",
            "custom_load": False,
            "input_size": [model.channels, *size],
            "fixed_input_size": found.family == "vit",
            "interpolation": "bicubic",
            "crop_pct": CROP,
            "crop_mode": "center",
            "mean": mean,
            "std": std,
            "num_classes": classes,
            "pool_size": [7, 7] if found.family == "resnet" else None,
            "first_conv": FIRST[found.family],
            "classifier": CLASSIFIER[found.family],
        },
    }


def built_by(model: ModelConfig, size: tuple[int, int]) -> tuple[str, dict[str, Any]]:
    """What `timm.create_model` builds this network of, for images of `size`: a name, arguments."""
    name, arguments = _named(model)
    if architecture_of(model).family == "vit" and size != (224, 224):
        arguments["img_size"] = list(size)
    return name, arguments


def _named(model: ModelConfig) -> tuple[str, dict[str, Any]]:
    """timm's architecture and the arguments that make it this network."""
    found = architecture_of(model)
    named = ARCHITECTURES[model.arch]
    arguments = {
        theirs: getattr(found, ours)
        for theirs, ours in OTHERS.items()
        if ours != "channels" and getattr(found, ours) != getattr(named, ours)
    }
    if model.channels != 3:
        arguments["in_chans"] = model.channels
    if found.family == "resnet":
        return model.arch, arguments
    if found.family == "xcit":
        return f"{model.arch}_p{model.patch_size}_224", arguments
    # There is no vit_tiny_patch8_224.
    patch = model.patch_size if (model.arch, model.patch_size) in _PATCHES else 16
    if patch != model.patch_size:
        arguments["patch_size"] = model.patch_size
    return f"{model.arch}_patch{patch}_224", arguments


_PATCHES = {("vit_small", 8), ("vit_base", 8)}


def _told(config: Mapping[str, Any], source: str) -> ModelConfig | None:
    """The network that a `config.json` names, None where there is none."""
    if not config:
        return None
    model = named_by(config)
    if model is None:
        named = str(config.get("architecture", "")).split(".")[0]
        raise UserError(
            f"{source}: config.json names the architecture {named[:80]!r}, expected vit_ or deit_ "
            "tiny, small or base, resnet50, xcit_small_12 or xcit_medium_24"
        )
    return _with_arguments(model, config.get("model_args") or {}, source)


def named_by(config: Mapping[str, Any]) -> ModelConfig | None:
    """The network of the architecture that a `config.json` names; None: none of ours."""
    named = str(config.get("architecture", "")).split(".")[0]
    for pattern, family in _NAMES.items():
        match = re.fullmatch(pattern, named)
        if match:
            model = ModelConfig(arch=family + match[1])
            model.patch_size = int(match[2] or model.patch_size)
            return model
    return None


_NAMES = {
    r"(?:vit|deit)_(tiny|small|base)_patch([1-9]\d?)_\d+(?:_in21k)?": "vit_",
    r"xcit_(small_12|medium_24)_p(8|16)_\d+(?:_dist)?": "xcit_",
    r"(resnet50)()": "",
}
"""timm's names, and how ours begins."""


def _with_arguments(model: ModelConfig, arguments: Any, source: str) -> ModelConfig:
    """The same with the sizes of timm's `model_args`; what we do not know might change outputs."""
    wrong = f"{source}: config.json's model_args hold "
    if not isinstance(arguments, dict):
        raise UserError(f"{wrong}no arguments by name")
    pooled = POOLED[architecture_of(model).family]
    unknown = [
        name
        for name, value in arguments.items()
        if name not in HARMLESS and (name, value) != ("global_pool", pooled)
    ]
    if unknown:
        raise UserError(f"{wrong}what may change outputs and is not known here: {listed(unknown)}")
    for theirs, ours in {**OTHERS, "patch_size": "patch_size"}.items():
        if theirs in arguments:
            value = arguments[theirs]
            if not isinstance(value, int) or value < 1:
                said = repr(value)[:80]
                raise UserError(f"{wrong}{theirs} {said}: expected a positive number")
            setattr(model, ours, value)
    return model


def _size(config: Mapping[str, Any], source: str) -> tuple[int, int] | None:
    """The images whose positions the table holds, None where that is not told."""
    arguments = config.get("model_args") or {}
    if arguments.get("img_size") is not None:
        return pair(arguments["img_size"], name="img_size", source=source)
    about = config.get("pretrained_cfg", config)
    size = about.get("input_size") if isinstance(about, dict) else None
    if size is None:
        return None
    if not isinstance(size, list) or len(size) != 3:
        raise UserError(
            f"{source}: input_size is {str(size)[:80]}, expected channels, height and width"
        )
    return pair(size[1:], name="input_size[1:]", source=source)
