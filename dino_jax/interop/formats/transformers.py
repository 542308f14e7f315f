"""Hugging Face transformers: a folder that `ViTModel.from_pretrained` opens.

Names, keys and how sizes are treated: docs/development/formats.md, section 2.
"""

import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from dino_jax.config import ModelConfig, UserError
from dino_jax.config.architectures import ARCHITECTURES, architecture_of
from dino_jax.interop import hub
from dino_jax.interop.infer import network_from
from dino_jax.interop.names import TABLES, called, inward, outward
from dino_jax.interop.network import Arrays, Network, Weights
from dino_jax.interop.positions import at_size
from dino_jax.interop.record import pair
from dino_jax.interop.strict import check_network
from dino_jax.models.naming import BACKBONE, prefixed, under

MAIN = hub.MAIN

FILES = (MAIN, "pytorch_model.bin")
PROCESSOR = "preprocessor_config.json"
PREFIX = "vit."
"""Of the backbone's tensors where a model with a head of its own holds it."""
CLASSIFIER = "classifier."
IGNORED = ("pooler.dense.weight", "pooler.dense.bias")
"""Left out by name: a layer behind the class token that no network here has."""
EPSILON = 1e-6
"""Of the norms of our networks."""
FIXED = {"hidden_act": "gelu", "qkv_bias": True}
"""What has to be so for the outputs to be ours; both are the defaults."""
BICUBIC = 3


def load(path: pathlib.Path, *, tensors: Arrays | None = None) -> Weights:
    """Read a folder of `ViTModel` or `ViTForImageClassification`, or its file of tensors.

    The names of both generations are read, with `vit.` before them or without. `tensors` are
    those of a file that has been read already.

    Raises:
        UserError: what cannot be read, another model, or tensors that do not match.
    """
    held = hub.read_held(path, FILES, tensors)
    source = str(held.file)
    model, size = _told(held.config, source)
    backbone, classifier = _apart(held.tensors, source)
    newer = any(name.startswith("layers.") for name in backbone)
    generation = "transformers 5" if newer else "transformers"
    table = TABLES[generation, "vit"]
    network = network_from(
        inward(table, backbone, source=source),
        source=source,
        model=model,
        size=size or held.size,
        heads=held.heads if model is None else None,
        classifier=classifier,
        called=lambda name: called(table, name),
    )
    read = hub.read_config if held.file.name in FILES else hub.read_beside
    processor = read(held.file.parent / PROCESSOR)
    said = processor.get("image_mean"), processor.get("image_std")
    return Weights({"teacher": network}, facts=hub.with_normalisation(held.facts, *said))


def save(
    weights: Weights,
    folder: pathlib.Path,
    *,
    network: str = "teacher",
    size: tuple[int, int] | None = None,
) -> None:
    """Write the folder for images of `size` (height, width), or of the network's own.

    The names are those up to 5.0, which every version reads. With a classifier it is a
    `ViTForImageClassification`, else a `ViTModel`.

    Raises:
        UserError: no such network, another one than a vision transformer, tensors that do not
            match it, or a classifier of other features than the last class token.
    """
    chosen = at_size(weights.network(network), size)
    if architecture_of(chosen.model).family != "vit":
        raise UserError(
            f"transformers is written of vision transformers alone, and this is "
            f"{chosen.model.arch}: timm takes it"
        )
    check_network(chosen, source=f"the {network}")
    held = prefixed(BACKBONE, under(BACKBONE, chosen.params))
    tensors = outward(TABLES["transformers", "vit"], held, source=f"the {network}")
    classifier = hub.classifier_of(chosen, "transformers")
    if classifier:
        tensors = prefixed(PREFIX, tensors) | prefixed(CLASSIFIER, classifier)
    hub.write_held(folder, tensors, _config(chosen), chosen)
    hub.write_config(folder / PROCESSOR, _processor(weights, chosen.size))


def _config(network: Network) -> dict[str, Any]:
    found, (height, width) = architecture_of(network.model), network.size
    config: dict[str, Any] = {
        "architectures": ["ViTForImageClassification" if network.classifier else "ViTModel"],
        "model_type": "vit",
        "hidden_size": found.width,
        "num_hidden_layers": found.depth,
        "num_attention_heads": found.heads,
        "intermediate_size": 4 * found.width,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "layer_norm_eps": EPSILON,
        "image_size": height if height == width else [height, width],
        "patch_size": network.model.patch_size,
        "num_channels": network.model.channels,
        "qkv_bias": True,
        "encoder_stride": network.model.patch_size,
        "torch_dtype": "float32",
    }
    if network.classifier:
        labels = [f"LABEL_{index}" for index in range(len(network.classifier["bias"]))]
        config["id2label"] = {str(index): label for index, label in enumerate(labels)}
        config["label2id"] = {label: index for index, label in enumerate(labels)}
    return config


def _processor(weights: Weights, size: tuple[int, int]) -> dict[str, Any]:
    """How images are prepared; the class's own defaults are others."""
    mean, std = hub.normalisation(weights)
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": size[0], "width": size[1]},
        "resample": BICUBIC,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": mean,
        "image_std": std,
    }


def _apart(tensors: Arrays, source: str) -> tuple[Arrays, Arrays]:
    """The backbone's tensors without `vit.`, and the classifier's."""
    classifier = under(CLASSIFIER, tensors)
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(CLASSIFIER)}
    if all(name.startswith(PREFIX) for name in rest):
        rest = under(PREFIX, rest)
    ignored = [name for name in IGNORED if rest.pop(name, None) is not None]
    if ignored:
        logging.getLogger("dino_jax").info(
            "%s: left out, since no network here has a pooler: %s", source, ", ".join(ignored)
        )
    return rest, classifier


def _told(
    config: Mapping[str, Any], source: str
) -> tuple[ModelConfig | None, tuple[int, int] | None]:
    """The network and the image size that a `config.json` says, None where there is none."""
    if not config:
        return None, None
    if config.get("model_type") != "vit":
        raise UserError(
            f"{source}: config.json is of a model_type {config.get('model_type')!r}, expected 'vit'"
        )
    for name, value in FIXED.items():
        if config.get(name, value) != value:
            raise UserError(
                f"{source}: config.json says {name} {config[name]!r}; networks here have {value!r}"
            )
    epsilon = config.get("layer_norm_eps", 1e-12)  # the class's default
    if epsilon != EPSILON:
        logging.getLogger("dino_jax").warning(
            "%s: config.json says layer_norm_eps %s; the norms here have %s, as the original's",
            source,
            epsilon,
            EPSILON,
        )
    size = pair(config.get("image_size", 224), name="image_size", source=source)
    patch = pair(config.get("patch_size", 16), name="patch_size", source=source)
    if patch[0] != patch[1]:
        raise UserError(f"{source}: config.json says patches of {patch}, which are not square")
    width, depth, heads, channels = (
        _whole(config.get(name, default), name, source)
        for name, default in (
            ("hidden_size", 768),
            ("num_hidden_layers", 12),
            ("num_attention_heads", 12),
            ("num_channels", 3),
        )
    )
    model = ModelConfig(
        arch=_nearest(width),
        patch_size=patch[0],
        width=width,
        depth=depth,
        heads=heads,
        channels=channels,
    )
    return model, size


def _nearest(width: int) -> str:
    named = {name: found.width for name, found in ARCHITECTURES.items() if found.family == "vit"}
    return min(named, key=lambda name: abs(named[name] - width))


def _whole(value: Any, name: str, source: str) -> int:
    if not isinstance(value, int) or value < 1:
        raise UserError(f"{source}: config.json says {name} {value!r}, expected a positive number")
    return value
