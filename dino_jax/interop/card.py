"""The model card beside an export: what the weights are, where from, and how they are opened."""

import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import dino_jax
from dino_jax.config import Config, from_dict
from dino_jax.config.architectures import ARCHITECTURES, architecture_of
from dino_jax.interop import hub
from dino_jax.interop.formats.safetensors import described
from dino_jax.interop.network import Network, Weights
from dino_jax.interop.opening import load_lines
from dino_jax.interop.positions import at_size
from dino_jax.interop.record import OURS
from dino_jax.interop.scored import TRAINED, score_lines
from dino_jax.interop.sections import Card, data_of, licence, preparation, scripts, size_lines
from dino_jax.models.naming import BACKBONE

README = "README.md"
FORMAT_VERSION = 1
UNKNOWN = "not known"

BAKED = ("timm", "transformers", "onnx", "safetensors")
"""Formats whose positions are those of the size that was asked for."""


def write_card(
    weights: Weights,
    network: str,
    folder: pathlib.Path,
    *,
    format: str,  # noqa: A002  (as the command's flag says)
    size: tuple[int, int] | None,
    file: str = "",
    part: str | None = None,
) -> None:
    """Write `README.md` and `config.json` beside what a format wrote into `folder`.

    The card says data, recipe, steps and scores as far as `weights.facts` knows them, how the
    files are opened, and for which images they were made. Where the library has a `config.json`
    of its own it gets one more key, `dino_jax`; else that is its only one. `file` is the name that
    the main file will have where it is kept by itself; `part` is that of a `.pth` ("full" or
    "backbone"; None: all that the weights hold).

    Raises:
        UserError: there is no such network or format.
    """
    chosen = at_size(weights.network(network), size if format in BAKED else None)
    made_by, facts = weights.facts.get("config"), dict(weights.facts)
    run = from_dict(made_by) if isinstance(made_by, Mapping) else None
    whole = {"student", "teacher"} <= set(weights.networks) and network == "teacher"
    card = Card(
        chosen,
        _name(facts, network),
        format,
        facts,
        run,
        weights.epoch,
        images_of(weights, chosen, format, size),
        weights.network(network).size,
        file,
        full=format == "dino-pth" and (part == "full" if part else whole),
    )
    text = "\n".join(_lines(card, hub.normalisation(weights)))
    config = hub.read_config(folder / hub.CONFIG)
    config[OURS] = {
        "format_version": FORMAT_VERSION,
        "version": dino_jax.__version__,
        "format": format,
        "network": network,
        "images": list(card.images),
        **described(chosen),
        "epoch": weights.epoch,
        "facts": facts,
    }
    hub.write_config(folder / hub.CONFIG, config)
    # A path may be in no encoding: its bytes are then escaped.
    (folder / README).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def images_of(
    weights: Weights, network: Network, form: str, size: tuple[int, int] | None
) -> tuple[int, int]:
    """The size (height, width) to prepare images for: the one written, else that of training.

    A ResNet and an XCiT take any; only an ONNX file is made for one.
    """
    made_by = weights.facts.get("config")
    if size is not None:
        return size
    if architecture_of(network.model).family == "vit" or form == "onnx" or made_by is None:
        return network.size
    return (from_dict(made_by).crops.global_size,) * 2


def _lines(card: Card, normalisation: tuple[list[float], list[float]]) -> Iterator[str]:
    if card.form in ("timm", "transformers"):
        yield f"---\nlibrary_name: {card.form}\ntags:\n- image-feature-extraction\n- dino\n---\n"
    yield f"# {_title(card.network)}\n"
    what = "student, teacher and centre" if card.full else f"{card.name} network"
    yield (
        f"The {what} of `{card.facts.get('source', UNKNOWN)}` in the format `{card.form}`, "
        f"written by dino_jax {dino_jax.__version__}. "
        + ("It has a classifier." if card.network.classifier else "It gives features, not classes.")
    )
    yield "\n| | |\n|---|---|"
    for label, value in _facts(card):
        yield f"| {label} | {value} |"
    yield "\n## Scores\n"
    yield from score_lines(card.facts, card.name)
    yield "\n## Load\n"
    folder = f"the folder that `{card.file}` lies in" if card.file else "the folder of these files"
    yield f"`PATH` is {folder}.\n"
    held = card.network, card.name, card.form, card.images
    yield f"```python\n{load_lines(*held, file=card.file, full=card.full)}\n```\n"
    if card.form == "dino-pth":
        yield scripts(card) + "\n"
    yield from preparation(card, *normalisation)
    yield "\n## Image size\n"
    yield from size_lines(card)
    yield "\n## Licence\n"
    yield licence(card)


def _name(facts: Mapping[str, Any], network: str) -> str:
    """Student or teacher: a network that was kept alone says which one it was."""
    told = facts.get("network")
    return str(told) if told in TRAINED.values() else network


def _title(network: Network) -> str:
    """The architecture's name, with the sizes that are others than its."""
    model, found = network.model, architecture_of(network.model)
    named = ARCHITECTURES[model.arch]
    sizes = {"wide": "width", "blocks": "depth", "heads": "heads"}
    others = [
        f"{getattr(found, size)} {word}"
        for word, size in sizes.items()
        if getattr(found, size) != getattr(named, size)
    ]
    title = ", ".join([model.arch, *others])
    if found.family == "resnet":
        return title
    return f"{title}{',' if others else ''} with patches of {model.patch_size} pixels"


def _facts(card: Card) -> Iterator[tuple[str, str]]:
    facts, config, found = card.facts, card.config, architecture_of(card.network.model)
    count = sum(
        math.prod(tensor.shape)
        for key, tensor in card.network.params.items()
        if key.startswith(BACKBONE)
    )
    depth = f"{found.depth} blocks, {found.heads} heads" if found.heads else f"{found.depth} blocks"
    yield "network", f"{depth}, {found.width} features, {count:,} parameters of the backbone"
    if "address" in facts:
        yield "address", str(facts["address"])
    data, images = data_of(card), facts.get("images")
    number = f" ({images:,} images)" if isinstance(images, int) else ""
    yield "data", f"{data}{number}" if data else UNKNOWN
    if config is not None and config.init_from:
        without = "" if config.init_head else ", without its head"
        yield "began from", f"`{config.init_from}`{without}"
    yield "recipe", _recipe(config, facts.get("arguments"))
    steps = facts.get("steps")
    if config is None or not isinstance(steps, int):
        yield "steps", f"{steps:,}" if isinstance(steps, int) else UNKNOWN
        yield "epochs", UNKNOWN if card.epoch is None else str(card.epoch)
    else:
        planned = f" of {config.steps:,} planned," if (config.steps or 0) > steps else ""
        yield "steps", f"{steps:,}{planned} of batches of {config.batch_size:,} images"
        yield "epochs", _epochs(steps, int(config.batch_size), images)
    if card.network.classifier:
        yield "classifier", str(facts.get("features", f"of {found.width} features"))


def _epochs(steps: int, batch: int, images: Any) -> str:
    """Passes over the data, whatever the epochs are that the schedule counts in."""
    if not isinstance(images, int) or images < 1:
        return UNKNOWN
    passes = steps * batch / images
    shown = f"{passes:,.1f}" if passes >= 0.05 or not steps else "less than 0.1"
    return f"{shown} of the data (steps × batch / images)"


def _recipe(config: Config | None, arguments: Any) -> str:
    """The settings that matter most; `config.json` has all that are known."""
    if config is not None:
        crops = config.crops
        return (
            f"{config.optim.name}, learning rate {config.optim.learning_rate:g} per 256 images, "
            f"2 views of {crops.global_size} and {crops.local_number} crops of {crops.local_size} "
            f"pixels, {config.head.prototypes} prototypes, seed {config.seed}"
        )
    if isinstance(arguments, Mapping) and arguments:
        told = ("optimizer", "epochs", "batch_size_per_gpu", "lr", "local_crops_number", "out_dim")
        return ", ".join(f"{name} {arguments[name]}" for name in told if name in arguments)
    return UNKNOWN
