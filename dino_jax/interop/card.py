"""The model card beside an export: what the weights are, where from, and how they are opened."""

import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import dino_jax
from dino_jax.config import UserError, from_dict
from dino_jax.config.architectures import architecture_of
from dino_jax.interop import hub
from dino_jax.interop.formats.safetensors import described
from dino_jax.interop.network import Network, Weights
from dino_jax.interop.positions import at_size
from dino_jax.models.naming import BACKBONE

README = "README.md"
OURS = "dino_jax"
"""The key of `config.json` under which all that is known lies, for programs."""
FORMAT_VERSION = 1
UNKNOWN = "not known"

BAKED = ("timm", "transformers", "onnx", "safetensors")
"""Formats whose positions are those of the size that was asked for."""
FIXED = ("timm", "transformers", "onnx")
"""Those that are opened by who interpolates in another way, or not at all."""

LOAD = {
    "timm": """
import timm, torch
model = timm.create_model("local-dir:PATH", pretrained=True).eval()
images = torch.zeros(1, {channels}, {height}, {width})
features = model(images)  # (1, {features})
""",
    "transformers": """
import torch, transformers
model = transformers.ViTModel.from_pretrained("PATH", add_pooling_layer=False).eval()
images = torch.zeros(1, {channels}, {height}, {width})
features = model(images).last_hidden_state[:, 0]  # (1, {features})
""",
    "torchvision": """
import torch, torchvision
model = torchvision.models.resnet50().eval()
model.fc = torch.nn.Identity()
model.load_state_dict(torch.load("PATH/resnet50.pth"))
features = model(torch.zeros(1, {channels}, {height}, {width}))  # (1, {features})
""",
    "onnx": """
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("PATH/model.onnx", providers=["CPUExecutionProvider"])
images = np.zeros((1, {channels}, {height}, {width}), np.float32)
features, patches = session.run(["cls", "patches"], {{"images": images}})  # (1, {features}), …
""",
    "dino-pth": """
import torch
state = torch.load("PATH/checkpoint.pth")
state = state.get("{network}", state)  # of a full checkpoint: one network's
print(len(state), "tensors by the original's names")
""",
}
"""By format; each ends in the `features` of one image, but that of the original's files."""

LOAD_OURS = """
import jax.numpy as jnp
from dino_jax.interop.spec import load_model
model, params, stats, config = load_model("PATH")
images = jnp.zeros((1, {height}, {width}, {channels}))
features = model.features({{**params, **stats}}, images).cls  # (1, {features})
"""
"""What is opened by dino_jax itself."""


def write_card(
    weights: Weights,
    network: str,
    folder: pathlib.Path,
    *,
    format: str,  # noqa: A002  (as the command's flag says)
    size: tuple[int, int] | None,
) -> None:
    """Write `README.md` and `config.json` beside what a format wrote into `folder`.

    The card says data, recipe, steps and scores as far as `weights.facts` knows them, how the
    files are opened, and for which images they were made. Where the library has a `config.json`
    of its own it gets one more key, `dino_jax`; else that is its only one.

    Raises:
        UserError: there is no such network.
    """
    chosen = at_size(weights.network(network), size if format in BAKED else None)
    images = chosen.size if size is None else size
    config = hub.read_config(folder / hub.CONFIG)
    config[OURS] = {
        "format_version": FORMAT_VERSION,
        "version": dino_jax.__version__,
        "format": format,
        "network": network,
        "images": list(images),
        **described(chosen),
        "epoch": weights.epoch,
        "facts": dict(weights.facts),
    }
    hub.write_config(folder / hub.CONFIG, config)
    native = weights.network(network).size
    text = "\n".join(_lines(weights, chosen, network, format, images, native))
    (folder / README).write_text(text + "\n")


def _lines(
    weights: Weights,
    network: Network,
    name: str,
    form: str,
    images: tuple[int, int],
    native: tuple[int, int],
) -> Iterator[str]:
    model, found = network.model, architecture_of(network.model)
    patches = f" with patches of {model.patch_size} pixels" if found.family != "resnet" else ""
    if form in ("timm", "transformers"):
        yield f"---\nlibrary_name: {form}\ntags:\n- image-feature-extraction\n- dino\n---\n"
    yield f"# {model.arch}{patches}\n"
    yield (
        f"The {name} network of `{weights.facts.get('source', UNKNOWN)}` in the format `{form}`, "
        f"written by dino_jax {dino_jax.__version__}. "
        + ("It has a classifier." if network.classifier else "It gives features, not classes.")
    )
    yield "\n| | |\n|---|---|"
    for label, value in _facts(weights, network):
        yield f"| {label} | {value} |"
    yield "\n## Scores\n"
    yield from _scores(weights.facts)
    yield "\n## Load\n"
    yield "`PATH` is the folder of these files, which may have been given other names.\n"
    yield f"```python\n{load_lines(network, name, form, images)}\n```\n"
    mean, std = hub.normalisation(weights)
    yield (
        f"Images are RGB in [0, 1], normalised by mean {mean} and standard deviation {std}: "
        "first the short side resized to 256/224 of the size below (bicubic), then the centre cut "
        "out."
    )
    yield "\n## Image size\n"
    yield from _size(network, form, images, native)
    yield "\n## Licence\n"
    yield (
        "The terms of these weights are those of what they were made from: the images, and the "
        "weights they began as or are. dino_jax, which wrote these files, is under Apache-2.0 and "
        "adds none."
    )


def load_lines(network: Network, name: str, form: str, images: tuple[int, int]) -> str:
    """The few lines of Python that open an export of this format; `PATH` stands for its folder.

    Raises:
        UserError: there is no such format.
    """
    if form not in (*LOAD, "orbax", "safetensors"):
        raise UserError(f"there is no format {form!r} to write a card for")
    width, classes = architecture_of(network.model).width, len(network.classifier.get("bias", ()))
    lines = LOAD.get(form, LOAD_OURS)
    if classes:
        lines = lines.replace("resnet50()", f"resnet50(num_classes={classes})")
        lines = lines.replace("model.fc = torch.nn.Identity()\n", "")
        lines = lines.replace("ViTModel", "ViTForImageClassification")
        lines = lines.replace(", add_pooling_layer=False", "")
        lines = lines.replace("last_hidden_state[:, 0]", "logits")
    outputs = classes if classes and form in ("timm", "transformers", "torchvision") else width
    return lines.strip("\n").format(
        network=name,
        channels=network.model.channels,
        height=images[0],
        width=images[1],
        features=outputs,
    )


def _facts(weights: Weights, network: Network) -> Iterator[tuple[str, str]]:
    facts, found = weights.facts, architecture_of(network.model)
    count = sum(
        math.prod(tensor.shape)
        for key, tensor in network.params.items()
        if key.startswith(BACKBONE)
    )
    depth = f"{found.depth} blocks, {found.heads} heads" if found.heads else f"{found.depth} blocks"
    yield "network", f"{depth}, {found.width} features, {count:,} parameters of the backbone"
    if "address" in facts:
        yield "address", str(facts["address"])
    made_by, arguments = facts.get("config"), facts.get("arguments")
    config = from_dict(made_by) if isinstance(made_by, Mapping) else None
    data = facts.get("data") or (config.data.train if config else None)
    if data is None and isinstance(arguments, Mapping):
        data = arguments.get("data_path")
    number = f" ({facts['images']:,} images)" if isinstance(facts.get("images"), int) else ""
    yield "data", f"{data}{number}" if data else UNKNOWN
    yield "recipe", _recipe(config, arguments)
    yield "steps", f"{facts['steps']:,}" if isinstance(facts.get("steps"), int) else UNKNOWN
    yield "epochs", UNKNOWN if weights.epoch is None else str(weights.epoch)
    if network.classifier:
        yield "classifier", str(facts.get("features", f"of {found.width} features"))


def _recipe(config: Any, arguments: Any) -> str:
    """The settings that matter most; `config.json` has all that are known."""
    if config is not None:
        crops = config.crops
        return (
            f"{config.optim.name}, {config.epochs:g} epochs of batches of {config.batch_size}, "
            f"learning rate {config.optim.learning_rate:g} per 256 images, 2 views of "
            f"{crops.global_size} and {crops.local_number} crops of {crops.local_size} pixels, "
            f"{config.head.prototypes} prototypes, seed {config.seed}"
        )
    if isinstance(arguments, Mapping) and arguments:
        told = ("optimizer", "epochs", "batch_size_per_gpu", "lr", "local_crops_number", "out_dim")
        return ", ".join(f"{name} {arguments[name]}" for name in told if name in arguments)
    return UNKNOWN


def _scores(facts: Mapping[str, Any]) -> Iterator[str]:
    scores = facts.get("scores")
    if not isinstance(scores, Mapping) or not scores:
        yield f"{UNKNOWN.capitalize()}."
        return
    if "address" in facts:
        yield "As its publisher says; they were not measured here.\n"
    yield "| score | % |\n|---|---|"
    for name, value in scores.items():
        yield f"| {name} | {value:.2f} |" if isinstance(value, float) else f"| {name} | {value} |"


def _size(
    network: Network, form: str, images: tuple[int, int], native: tuple[int, int]
) -> Iterator[str]:
    size = f"{images[0]}×{images[1]}"
    if architecture_of(network.model).family != "vit":
        if form == "onnx":
            yield f"The graph takes images of {size} (height × width) alone, any number at once."
        else:
            yield "Any: there is no table of positions. The lines above use one size of many."
        return
    own = f"{network.size[0]}×{network.size[1]}"
    yield f"The positions are those of images of {own} pixels (height × width)."
    if network.size != native:
        yield (
            f"They were interpolated from {native[0]}×{native[1]} as the original does it, so that "
            "outputs at this size equal its; an export without `--size` holds the table itself."
        )
    if form in FIXED:
        yield (
            "At any other size the library refuses images or interpolates in a way of its own, "
            "and outputs differ by up to 0.4 %: export for the size that is used."
        )
        if form == "transformers" and network.size[0] != network.size[1]:
            yield "`interpolate_pos_encoding=True` fails, since the table is not square."
    elif network.size[0] != network.size[1]:
        yield "Since they are not square, images have to be of that size."
    else:
        yield "They are interpolated at use for images of any other."
