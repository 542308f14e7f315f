"""The formula of the golden tensors, and the original's networks at a size for tests.

Nothing of the originals is copied: DINO and XCiT are imported from the checkouts that the caller
names, ResNet from torchvision. XCiT also wants six names of timm's old folders, which
`supply_timm` gives it in the plainest form.
"""

import importlib
import pathlib
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from tests import golden

BATCH, VIEWS, LOCALS, STEPS = 3, 2, 4, 5
EPOCHS, PER_EPOCH = 3, 2
GLOBAL, LOCAL = 48, 24
HEAD = {"hidden_dim": 48, "bottleneck_dim": 16}
PROTOTYPES = 64
RESNET = {"block": "Bottleneck", "layers": [1, 2, 1, 1], "planes": [4, 8, 16, 32]}
XCIT = {
    "img_size": 48,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 4,
    "mlp_ratio": 4,
    "qkv_bias": True,
    "eta": 1.0,
    "num_classes": 0,
}
TAG = {"resnet": "resnet_k", "xcit": "xcit"}
"""Names of the inputs begin so. The ReLU makes gradients jump where an activation crosses 0: with
these inputs no activation of any training pass lies within 5.6e-6 of 0, and no two entries of a
max pool window within 1.6e-5 of each other (measured in float64). Other letters came as near as
2e-8, and there float32 and float64 gradients differ by 1e-2."""

Shape = tuple[int, ...]
Arrays = dict[str, np.ndarray]
Originals = types.SimpleNamespace
"""The modules `main_dino`, `utils`, `vision_transformer` of DINO, and `xcit`."""


def statistic(key: str, shape: Shape, *, used: bool) -> np.ndarray | None:
    """A buffer of batch normalisation, at its initial value or as of a used network; else None."""
    if key.endswith("num_batches_tracked"):
        return np.asarray(7 if used else 0)
    if key.endswith("running_mean"):
        return (0.2 * golden.uniform(key, shape) if used else np.zeros(shape)).astype(np.float32)
    if key.endswith("running_var"):
        return (1 + 0.5 * golden.uniform(key, shape) if used else np.ones(shape)).astype(np.float32)
    return None


def weight(
    key: str, shape: Shape, *, norm_last_layer: bool = True, used_stats: bool = False
) -> np.ndarray:
    """The value of one parameter or buffer; `used_stats` is for evaluation mode."""
    buffer = statistic(key, shape, used=used_stats)
    if buffer is not None:
        return buffer
    return golden.weight(key, shape, norm_last_layer=norm_last_layer)


def inputs(name: str, shape: Shape, scale: float = 1.5) -> torch.Tensor:
    """An input by its name without the `input:` mark."""
    return torch.from_numpy((scale * golden.uniform(f"input:{name}", shape)).astype(np.float32))


@torch.no_grad()
def fill(module: nn.Module, prefix: str = "", **options: bool) -> Any:
    """Set every parameter and buffer by the formula, in place."""
    for name, value in module.state_dict().items():  # shares memory with the module
        value.copy_(torch.as_tensor(weight(prefix + name, tuple(value.shape), **options)))
    return module


class Mlp(nn.Module):
    """Two linear maps around an activation, under timm's names."""

    def __init__(self, in_features: int, hidden_features: int, **options: Any) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden_features)
        self.act = options["act_layer"]()
        self.fc2 = nn.Linear(hidden_features, in_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.act(self.fc1(x)))


class NoDropPath(nn.Identity):
    """Stands for timm's DropPath; the golden runs are without."""

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        if rate:
            raise ValueError(f"the golden runs have no drop path, not {rate}")


def supply_timm() -> None:
    """Put what xcit.py imports of timm where it looks for it."""
    contents: dict[str, dict[str, Any]] = {
        "timm": {},
        "timm.models": {},
        "timm.models.vision_transformer": {"_cfg": lambda **_: {}, "Mlp": Mlp},
        "timm.models.registry": {"register_model": lambda function: function},
        "timm.models.layers": {
            "DropPath": NoDropPath,
            "trunc_normal_": nn.init.trunc_normal_,
            "to_2tuple": lambda x: x if isinstance(x, tuple) else (x, x),
        },
    }
    for name, content in contents.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        sys.modules[name] = module


def load_originals(dino: pathlib.Path, xcit: pathlib.Path) -> Originals:
    """Import both checkouts, with the two collectives of the loss made those of one process."""
    supply_timm()
    sys.path[:0] = [str(dino), str(xcit)]
    # Both checkouts have a main and a utils; DINO's comes first, and xcit.py imports neither.
    names = ("main_dino", "utils", "vision_transformer", "xcit")
    modules = {name: importlib.import_module(name) for name in names}
    found = pathlib.Path(str(modules["utils"].__file__)).resolve().parent
    if found != dino.resolve():
        raise SystemExit(f"utils was imported from {found}, not from {dino}")
    torch.distributed.all_reduce = lambda tensor: None
    torch.distributed.get_world_size = lambda *_: 1
    return Originals(**modules)


class TinyResNet(ResNet):
    """torchvision's ResNet, made narrower: its stem and its four layers are replaced."""

    def __init__(self, layers: list[int], planes: list[int]) -> None:
        super().__init__(Bottleneck, layers)
        self.inplanes = planes[0]
        stem = {name: getattr(self.conv1, name) for name in ("kernel_size", "stride", "padding")}
        self.conv1 = nn.Conv2d(3, planes[0], bias=False, **stem)
        self.bn1 = nn.BatchNorm2d(planes[0])
        for i, (count, width) in enumerate(zip(layers, planes, strict=True)):
            made = self._make_layer(Bottleneck, width, count, stride=2 if i else 1)
            setattr(self, f"layer{i + 1}", made)
        self.fc = nn.Identity()


def tiny(originals: Originals, kind: str, **variant: Any) -> tuple[nn.Module, int]:
    """A small backbone of either kind and the width of its features."""
    if kind == "resnet":
        planes = RESNET["planes"]
        return TinyResNet(RESNET["layers"], planes), planes[-1] * Bottleneck.expansion
    options = XCIT | {"patch_size": 8, "tokens_norm": True} | variant
    return originals.xcit.XCiT(**options), XCIT["embed_dim"]


def of_type(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Float64 throughout, but for the Fourier table, which xcit.py makes in float32."""
    module = module.to(dtype)
    if dtype == torch.float64:
        for name, part in module.named_modules():
            if name.endswith("token_projection"):
                part.register_forward_pre_hook(lambda _, args: (args[0].double(),))
    return module


def networks(
    originals: Originals, kind: str, dtype: torch.dtype, *, batch_norm: bool, norm_last_layer: bool
) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Student, teacher and loss as main_dino.py makes them, filled by the formula."""

    def build(frozen: bool) -> nn.Module:
        backbone, width = tiny(originals, kind)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # weight_norm is deprecated
            head = originals.vision_transformer.DINOHead(
                width, PROTOTYPES, use_bn=batch_norm, norm_last_layer=frozen, **HEAD
            )
        return originals.utils.MultiCropWrapper(backbone, head)

    student, teacher = build(norm_last_layer), build(True)  # main_dino.py:183-192
    fill(student, norm_last_layer=norm_last_layer)
    teacher.load_state_dict(student.state_dict())
    for parameter in teacher.parameters():
        parameter.requires_grad = False
    loss = originals.main_dino.DINOLoss(PROTOTYPES, VIEWS + LOCALS, 0.04, 0.07, 2, EPOCHS)
    return of_type(student, dtype).train(), of_type(teacher, dtype).train(), loss.to(dtype)


def crops(kind: str, step: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """The crops of one step, global ones first."""
    sides = [(f"g{i}", GLOBAL) for i in range(VIEWS)] + [(f"l{i}", LOCAL) for i in range(LOCALS)]
    return [
        inputs(f"{TAG[kind]}_tr{step}_{name}", (BATCH, 3, side, side)).to(dtype)
        for name, side in sides
    ]


def statistics(module: nn.Module) -> tuple[Arrays, dict[str, int]]:
    """Every running mean and variance, and every counter, by name."""
    values, counts = {}, {}
    for name, value in module.named_buffers():
        if name.endswith("num_batches_tracked"):
            counts[name] = int(value)
        elif name.endswith(("running_mean", "running_var")):
            values[name] = value.numpy().copy()
    return values, counts


def true_builders(originals: Originals) -> dict[str, Callable[[], nn.Module]]:
    """What makes each of the named networks."""
    names = [f"xcit_{size}_p{patch}" for size in ("small_12", "medium_24") for patch in (16, 8)]
    resnet50 = importlib.import_module("torchvision").models.resnet50
    return {"resnet50": resnet50} | {name: getattr(originals.xcit, name) for name in names}


def without_values(make: Callable[[], nn.Module]) -> nn.Module:
    """A named network without `fc` and `head`, as shapes only."""
    with torch.device("meta"):
        network = make()
    network.fc, network.head = nn.Identity(), nn.Identity()
    return network


def plain(value: torch.Tensor) -> np.ndarray:
    """A tensor as float32, or as it is where it is an integer."""
    array = value.detach().cpu().numpy()
    return array if value.dtype == torch.int64 else array.astype(np.float32)


def exact(value: torch.Tensor) -> np.ndarray:
    """A tensor in its own precision."""
    return value.detach().numpy()
