"""The few lines of Python that open an export, for its card: one text a format and family."""

from dino_jax.config import UserError
from dino_jax.config.architectures import ARCHITECTURES, architecture_of
from dino_jax.interop.formats.timm import built_by
from dino_jax.interop.network import Network

FILES = {
    "onnx": "model.onnx",
    "torchvision": "resnet50.pth",
    "dino-pth": "checkpoint.pth",
    "safetensors": "model.safetensors",
}
"""The main file of those that are opened by it, where it lies in a folder of its own."""

_TIMM = """
import timm, torch
model = timm.create_model("local-dir:PATH", pretrained=True).eval()
"""
_TIMM_FILE = """
import timm, torch
model = timm.create_model({timm}).eval()
timm.models.load_checkpoint(model, "PATH/{file}")
"""
_TIMM_BUILT = """
model = timm.create_model({timm}).eval()
"""
_TORCHVISION_BUILT = """
model = torchvision.models.resnet50().eval()
model.fc = torch.nn.Identity()
"""
_XCIT_BUILT = """
model = torch.hub.load("facebookresearch/xcit:main", "{arch}", num_classes={classes}).eval()
"""
_TORCH = """
features = model(torch.zeros(1, {channels}, {height}, {width}))  # (1, {features})
"""
_TRANSFORMERS = """
import torch, transformers
model = transformers.ViTModel.from_pretrained("PATH", add_pooling_layer=False).eval()
images = torch.zeros(1, {channels}, {height}, {width})
features = model(images).last_hidden_state[:, 0]  # (1, {features})
"""
_ONNX = """
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("PATH/{file}", providers=["CPUExecutionProvider"])
images = np.zeros((1, {channels}, {height}, {width}), np.float32)
features, patches = session.run(["cls", "patches"], {{"images": images}})  # (1, {features}), …
"""
_OURS = """
import jax.numpy as jnp
from dino_jax.interop.spec import load_model
model, params, stats, config = load_model("PATH{ours}")
images = jnp.zeros((1, {height}, {width}, {channels}))
features = model.features({{**params, **stats}}, images).cls  # (1, {features})
"""
_TENSORS = """
from safetensors.numpy import load_file
tensors = load_file("PATH/{file}")  # by the original's names, behind "backbone." and "head."
"""
_STATE = 'state = torch.load("PATH/{file}")\n'
_STATE_OF = """state = torch.load("PATH/{file}")["{network}"]
state = {{name.split("backbone.")[1]: x for name, x in state.items() if "backbone." in name}}
"""
_STRICT = "model.load_state_dict(state, strict=True)"


def load_lines(
    network: Network,
    name: str,
    form: str,
    images: tuple[int, int],
    *,
    file: str = "",
    full: bool = False,
) -> str:
    """The lines that open an export of the format `form`; `PATH` stands for its folder.

    They end in the `features` of one image of the size `images`. `file` is the name of the main
    file where it was written by itself; `full` says that a `.pth` holds student and teacher.

    Raises:
        UserError: there is no such format.
    """
    classes = len(network.classifier.get("bias", ()))
    text = _text(network, form, single=bool(file), full=full)
    torch = form in ("timm", "transformers", "torchvision") or "model.load_state_dict" in text
    if classes:
        text = text.replace("resnet50()", f"resnet50(num_classes={classes})")
        text = text.replace("model.fc = torch.nn.Identity()\n", "")
        text = text.replace("ViTModel", "ViTForImageClassification")
        text = text.replace(", add_pooling_layer=False", "")
        text = text.replace("last_hidden_state[:, 0]", "logits")
    built, arguments = built_by(network.model, network.size)
    told = {"num_classes": classes, **arguments}
    return text.format(
        network=name,
        file=file or FILES.get(form, ""),
        ours=f"/{file}" if file else "",
        arch=arch_of(network),
        classes=classes,
        timm=", ".join([f'"{built}"', *(f"{key}={value}" for key, value in told.items())]),
        channels=network.model.channels,
        height=images[0],
        width=images[1],
        features=classes if classes and torch else architecture_of(network.model).width,
    )


def arch_of(network: Network) -> str:
    """What the original's `--arch` calls a network of these sizes; empty: nothing.

    Its scripts build ViTs for images of 224×224 and load no table of another size.
    """
    model = network.model
    found, named = architecture_of(model), ARCHITECTURES[model.arch]
    sizes = (found.width, found.depth, found.heads) == (named.width, named.depth, named.heads)
    positions = (224 // model.patch_size) ** 2
    height, width = (side // model.patch_size for side in network.size)
    if not sizes or model.channels != 3:
        return ""
    if found.family == "vit" and (height != width or height * width != positions):
        return ""
    return f"{model.arch}_p{model.patch_size}" if found.family == "xcit" else model.arch


def _text(network: Network, form: str, *, single: bool, full: bool) -> str:
    if form == "timm":
        parts = [_TIMM_FILE if single else _TIMM, _TORCH]
    elif form == "torchvision":
        parts = ["import torch, torchvision", _STATE, _TORCHVISION_BUILT, _STRICT, _TORCH]
    elif form == "dino-pth":
        parts = _original(network, full=full)
    elif form == "safetensors":
        parts = [_OURS, "\n# or the tensors alone:\n", _TENSORS]
    elif form in ("transformers", "onnx", "orbax"):
        parts = [{"transformers": _TRANSFORMERS, "onnx": _ONNX, "orbax": _OURS}[form]]
    else:
        raise UserError(f"there is no format {form!r} to write a card for")
    return "\n".join(part.strip("\n") for part in parts)


def _original(network: Network, *, full: bool) -> list[str]:
    """Of the original's names: what builds a network that has them, else dino_jax."""
    found = architecture_of(network.model)
    named = ARCHITECTURES[network.model.arch]
    state = _STATE_OF if full else _STATE
    if found.family == "vit":
        return ["import timm, torch", state, _TIMM_BUILT, _STRICT, _TORCH]
    if found.family == "resnet" and found.width == named.width and network.model.channels == 3:
        return ["import torch, torchvision", state, _TORCHVISION_BUILT, _STRICT, _TORCH]
    if found.family == "xcit" and arch_of(network):
        return ["import torch", state, _XCIT_BUILT, _STRICT, _TORCH]
    # `load_model` takes the file: the folder may hold another's.
    return [_OURS.replace("PATH{ours}", "PATH/{file}")]
