"""Folders as the Hugging Face hub holds them: a file of tensors and a `config.json` beside it."""

import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dino_jax.config import Config, DataConfig, UserError, from_dict
from dino_jax.config.architectures import ARCHITECTURES, architecture_of
from dino_jax.interop.formats.safetensors import read_safetensors, write_safetensors
from dino_jax.interop.network import Arrays, Network, Weights
from dino_jax.interop.prefixes import state_dict
from dino_jax.interop.pth import read_pth
from dino_jax.interop.record import NORMALISATION, OURS, SIZES, facts_of, normalisation_of, sizes_of

CONFIG = "config.json"
MAIN = "model.safetensors"
INDEX = "model.safetensors.index.json"
METADATA = {"format": "pt"}
"""Of their safetensors files: whose layout the tensors have."""
LONGEST = 16 << 20
"""Bytes of a `config.json`; one of 21,841 named classes has 2 million."""
KEYS = ("architecture", "model_type", OURS)
"""Of these a `config.json` of timm's, of transformers' and of ours has one; others are none."""


class Held(NamedTuple):
    """What such a folder, or the file alone, holds."""

    file: pathlib.Path
    tensors: Arrays
    config: Mapping[str, Any]
    """Empty where there is no `config.json`."""
    heads: int | None = None
    """As an export of ours says in the file too; None where it is of another or has none."""
    size: tuple[int, int] | None = None
    """The same of the images."""

    @property
    def facts(self) -> dict[str, Any]:
        """What an export of ours says of where its weights are from; of others, their path."""
        ours, source = self.config.get(OURS), str(self.file)
        told = ours.get("facts") if isinstance(ours, dict) else None
        return {"source": source, **facts_of(told, source=source)}


def read_held(path: pathlib.Path, files: Sequence[str], tensors: Arrays | None = None) -> Held:
    """Read the first of `files` that the folder `path` has, or the file `path` itself.

    A file ending in `.safetensors` is one, any other is read as `.pth`; `tensors` are those of a
    file that has been read already.

    Raises:
        UserError: nothing there, or what cannot be read.
    """
    file = _found(path, files) if path.is_dir() else path
    metadata: Mapping[str, str] = {}
    if tensors is None and file.suffix == ".safetensors":
        tensors, metadata = read_safetensors(file)
    elif tensors is None:
        tensors = state_dict(read_pth(file), source=str(file))
    sizes = sizes_of(metadata, source=str(file))
    return Held(file, tensors, config_of(file, files=files), *sizes)


def config_of(
    file: pathlib.Path, *, files: Sequence[str], known: Sequence[str] = KEYS
) -> dict[str, Any]:
    """The configuration of a file of weights, an empty one where there is none.

    It is `NAME.config.json`, of a file that was written by itself, or the folder's `config.json`.
    One that has none of the keys `known` is of something else. Where the file bears none of the
    names `files`, by which a library finds it, the folder's may be so too and is no mistake.

    Raises:
        UserError: the file's own cannot be read.
    """
    own, beside = file.with_name(f"{file.stem}.{CONFIG}"), file.with_name(CONFIG)
    if own.is_file():
        config = read_config(own)
    elif file.name in files:
        config = read_config(beside)
    else:
        config = read_beside(beside)
    return config if any(key in config for key in known) else {}


def read_beside(path: pathlib.Path) -> dict[str, Any]:
    """A JSON object, an empty one where there is none: what does not have to be ours."""
    try:
        return read_config(path)
    except UserError as error:
        logging.getLogger("dino_jax").info("%s: it is not used", error)
        return {}


def read_config(path: pathlib.Path) -> dict[str, Any]:
    """A JSON object, an empty one where there is no such file.

    Raises:
        UserError: the file holds something else, or far more than any has.
    """
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST + 1)
        if len(text) > LONGEST:
            raise ValueError(f"it is longer than {LONGEST} bytes")
        config = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no JSON object")
    return config


def write_config(path: pathlib.Path, config: Mapping[str, Any]) -> None:
    """Write a JSON object for people to read too."""
    path.write_text(json.dumps(config, indent=2, default=str) + "\n", encoding="utf-8")


def write_held(
    folder: pathlib.Path, tensors: Arrays, config: Mapping[str, Any], network: Network
) -> None:
    """Write both files; the first says by itself what of the second its reader cannot miss."""
    sizes = {"heads": architecture_of(network.model).heads, "size": list(network.size)}
    told = {SIZES: json.dumps(sizes, sort_keys=True)} if sizes["heads"] else {}
    write_safetensors(folder / MAIN, tensors, {**METADATA, **told})
    write_config(folder / CONFIG, config)


def normalisation(weights: Weights) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of the images: of the run, or ImageNet's."""
    if NORMALISATION in weights.facts:
        mean, std = weights.facts[NORMALISATION]
        return list(mean), list(std)
    made_by = weights.facts.get("config")
    data = from_dict(made_by).data if isinstance(made_by, Mapping) else DataConfig()
    return list(data.mean), list(data.std)


def normalised(config: Config, weights: Weights) -> Config:
    """The configuration with images normalised as the weights were made for."""
    mean, std = normalisation(weights)
    config.data.mean, config.data.std = tuple(mean), tuple(std)
    return config


def with_normalisation(facts: dict[str, Any], mean: Any, std: Any) -> dict[str, Any]:
    """The facts, with how images have to be normalised where a file says other than is assumed."""
    said = normalisation_of(mean, std)
    if said is None:  # it says nothing
        return facts
    if said == normalisation(Weights({}, facts=facts)):
        return facts
    logging.getLogger("dino_jax").warning(
        "%s was made for images normalised by mean %s and standard deviation %s: set data.mean and "
        "data.std so where they are not", facts["source"], *said
    )  # fmt: skip
    return {**facts, NORMALISATION: said}


def classifier_of(network: Network, library: str) -> Mapping[str, Any]:
    """The classifier, which such a library feeds the last class token or the pooled features.

    Raises:
        UserError: it takes others.
    """
    inputs = network.classifier["weight"].shape[1] if network.classifier else None
    width = architecture_of(network.model).width
    if inputs not in (None, width):
        raise UserError(
            f"the classifier takes {inputs} features, put together of several, and {library}'s "
            f"takes the {width} of the last: convert the backbone without it"
        )
    if network.head is not None:
        logging.getLogger("dino_jax").info(
            "%s has no place for the projection head: the backbone alone is written", library
        )
    return network.classifier


def check_resnet(network: Network, library: str) -> None:
    """A ResNet has to be of the width that others build.

    Raises:
        UserError: it is narrower or wider.
    """
    found, named = architecture_of(network.model), ARCHITECTURES[network.model.arch]
    if found.family == "resnet" and found.width != named.width:
        raise UserError(
            f"{library} has no {network.model.arch} of {found.width} features, only of "
            f"{named.width}: convert to safetensors or onnx"
        )


def _found(folder: pathlib.Path, files: Sequence[str]) -> pathlib.Path:
    for name in files:
        if (folder / name).is_file():
            return folder / name
    if (folder / INDEX).is_file():
        raise UserError(f"{folder} holds its tensors in several files: save it as one")
    raise UserError(f"{folder} holds no weights: expected {', '.join(files)}")
