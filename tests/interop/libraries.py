"""The real timm, transformers and torchvision: what they make of an export, beside what we do."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"

import numpy as np

from dino_jax.config.architectures import architecture_of
from dino_jax.interop.formats import timm, torchvision, transformers
from dino_jax.interop.network import Network
from tests import golden
from tests.interop.networks import Size, features, weights

Outputs = dict[str, np.ndarray]
"""By name: `cls`, `patches`, `block 0` …, `attention`."""
Errors = dict[str, float]
"""By the same name: the norm of the difference over the norm."""


def images(size: Size, channels: int = 3) -> np.ndarray:
    """Two normalised images, (2, height, width, channels); one where they are large."""
    number = 1 if size[0] * size[1] > 300 * 300 else 2
    draw = np.random.default_rng(3)
    return draw.standard_normal((number, *size, channels), np.float32)


def ours(one: Network, size: Size) -> Outputs:
    """Class token, patches, every block through the final norm, and the last attention."""
    pictures = images(size, one.model.channels)
    family, depth = architecture_of(one.model).family, architecture_of(one.model).depth
    blocks = {"vit": depth, "xcit": 2, "resnet": 0}[family]
    found = features(one, pictures, blocks=blocks, attention=blocks > 0)
    outputs = {"cls": found.cls, "patches": found.patches}
    outputs |= {f"block {index}": block for index, block in enumerate(found.blocks)}
    if found.attention is not None:
        outputs["attention"] = found.attention
    return {name: np.asarray(output) for name, output in outputs.items()}


def in_timm(one: Network, folder: pathlib.Path, size: Size) -> Outputs:
    """Write for timm, open it by name, once more strictly, and run it."""
    import timm as library
    import torch

    timm.save(weights(one), folder, size=size)
    family = architecture_of(one.model).family
    with _own_attention(library):
        model = library.create_model(f"local-dir:{folder}", pretrained=True).eval()
    _load_strictly(model, folder / timm.MAIN)
    last = {"vit": "blocks", "xcit": "cls_attn_blocks"}.get(family)
    layers = list(getattr(model, last)) if last else []
    found: dict[str, Any] = {}
    with (
        _hooks(
            [(layer, f"block {index}") for index, layer in enumerate(layers)]
            + [(layer.attn.attn_drop, "attention") for layer in layers[-1:]],
            found,
        ),
        torch.no_grad(),
    ):
        maps = model.forward_features(_pictures(one, size))
        found["cls"] = model.forward_head(maps, pre_logits=True)
        for name in [name for name in found if name.startswith("block")]:
            found[name] = model.norm(found[name])
    found["patches"] = maps.flatten(2).transpose(1, 2) if maps.ndim == 4 else maps[:, 1:]
    return _arrays(found)


def in_transformers(one: Network, folder: pathlib.Path, size: Size) -> Outputs:
    """The same of transformers; nothing may be missing, unexpected or mismatched."""
    import torch
    import transformers as library

    transformers.save(weights(one), folder, size=size)
    model, report = library.ViTModel.from_pretrained(
        folder,
        add_pooling_layer=False,
        attn_implementation="eager",
        output_loading_info=True,
    )
    assert not any(report.values()), report
    found: dict[str, Any] = {}
    layers = getattr(model, "layers", None) or model.encoder.layer
    # Its own `output_attentions` keeps the maps of every block: gigabytes where images are large.
    with _hooks([(layers[-1].attention, "attention")], found), torch.no_grad():
        out = model.eval()(_pictures(one, size), output_hidden_states=True)
        found["cls"], found["patches"] = out.last_hidden_state[:, 0], out.last_hidden_state[:, 1:]
        for index, state in enumerate(out.hidden_states[1:]):
            found[f"block {index}"] = model.layernorm(state)
    found["attention"] = found["attention"][1]
    return _arrays(found)


def in_torchvision(one: Network, folder: pathlib.Path, size: Size) -> Outputs:
    """The same of torchvision's ResNet-50."""
    import torch
    import torchvision as library

    torchvision.save(weights(one), folder)
    model = library.models.resnet50().eval()
    model.fc = torch.nn.Identity()
    state = torch.load(folder / torchvision.MAIN, weights_only=True)
    assert str(model.load_state_dict(state, strict=True)) == "<All keys matched successfully>"
    found: dict[str, Any] = {}
    with _hooks([(model.layer4, "patches")], found), torch.no_grad():
        found["cls"] = model(_pictures(one, size))
    found["patches"] = found["patches"].flatten(2).transpose(1, 2)
    return _arrays(found)


LIBRARIES: dict[str, Callable[[Network, pathlib.Path, Size], Outputs]] = {
    "timm": in_timm,
    "transformers": in_transformers,
    "torchvision": in_torchvision,
}


def state_of(model: Any) -> dict[str, np.ndarray]:
    """The state dict of a torch module as arrays of their own."""
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


def parity(library: str, one: Network, folder: pathlib.Path, size: Size) -> Errors:
    """How far a library's outputs are from ours, of the network itself at that size."""
    return errors(ours(one, size), LIBRARIES[library](one, folder, size))


def errors(ours: Outputs, theirs: Outputs) -> Errors:
    """Of every output; both have the same."""
    assert ours.keys() == theirs.keys()
    return {name: golden.relative_error(theirs[name], ours[name]) for name in ours}


def _arrays(found: dict[str, Any]) -> Outputs:
    return {name: tensor.numpy() for name, tensor in found.items()}


def _pictures(one: Network, size: Size) -> Any:
    import torch

    return torch.from_numpy(images(size, one.model.channels).transpose(0, 3, 1, 2).copy())


def _load_strictly(model: Any, path: pathlib.Path) -> None:
    from safetensors.torch import load_file

    answer = model.load_state_dict(load_file(path), strict=True)
    assert str(answer) == "<All keys matched successfully>"


@contextlib.contextmanager
def _own_attention(library: Any) -> Iterator[None]:
    """timm's attention step by step, so that its maps can be seen; models remember it."""
    library.layers.set_fused_attn(False)
    try:
        yield
    finally:
        library.layers.set_fused_attn(True)


@contextlib.contextmanager
def _hooks(modules: list[tuple[Any, str]], found: dict[str, Any]) -> Iterator[None]:
    """Keep the output of each module under its name."""

    def keep(name: str) -> Callable:
        return lambda module, inputs, output: found.update({name: output})

    handles = [module.register_forward_hook(keep(name)) for module, name in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
