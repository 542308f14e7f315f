"""The original's `.pth` in PyTorch itself: strict, without arbitrary code, mapped or not.

The networks are timm's and torchvision's, whose names are the original's, in the wrappers that
its main_dino.py puts around them; its own scripts were run by hand (docs/weights.md).
"""

import argparse
import importlib
import pathlib
from typing import Any

import numpy as np
import pytest

from dino_jax.config import HeadConfig, ModelConfig
from dino_jax.interop.formats import dino
from dino_jax.interop.network import Network, Weights
from tests.interop import made

pytestmark = pytest.mark.interop

KINDS = {
    "vit": (made.TINY, made.HEAD),
    "trained scale": (made.TINY, HeadConfig(12, 8, 4, norm_last_layer=False)),
    "bn in head": (made.TINY, HeadConfig(12, 8, 4, batch_norm=True)),
    "resnet": (made.RESNET, made.HEAD),
}


def backbone(model: ModelConfig) -> Any:
    """The same network in PyTorch, without a classifier."""
    if model.arch == "resnet50":
        torchvision = importlib.import_module("torchvision")
        built = torchvision.models.resnet50()
        built.fc = importlib.import_module("torch").nn.Identity()
        return built
    timm = importlib.import_module("timm")
    return timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=1, img_size=64)


def wrapped(model: ModelConfig, head: HeadConfig) -> Any:
    """Backbone and head registered as the original's MultiCropWrapper and DINOHead do."""
    nn = importlib.import_module("torch").nn
    inputs = 2048 if model.arch == "resnet50" else 192
    layers: list[Any] = []
    for wide in (inputs, head.hidden):
        layers.append(nn.Linear(wide, head.hidden))
        layers += [nn.BatchNorm1d(head.hidden)] * head.batch_norm + [nn.GELU()]
    last = nn.Module()
    last.register_parameter("weight_g", nn.Parameter(nn.Linear(1, head.prototypes).weight.data))
    last.register_parameter("weight_v", nn.Parameter(nn.Linear(head.bottleneck, 12).weight.data))
    last.weight_g.requires_grad = not head.norm_last_layer
    both, projection = nn.Module(), nn.Module()
    projection.mlp = nn.Sequential(*layers, nn.Linear(head.hidden, head.bottleneck))
    projection.last_layer = last
    both.backbone, both.head = backbone(model), projection
    return both


def parallel(module: Any) -> Any:
    """Under `module.`, as DistributedDataParallel puts it."""
    outer = importlib.import_module("torch").nn.Module()
    outer.module = module
    return outer


def optimiser_of(student: Any, name: str) -> Any:
    """The original's two groups: what decays, then biases and whatever has one axis."""
    torch = importlib.import_module("torch")
    trained = [(n, p) for n, p in student.named_parameters() if p.requires_grad]
    plain = [p for n, p in trained if n.endswith(".bias") or p.ndim == 1]
    others = [p for n, p in trained if not (n.endswith(".bias") or p.ndim == 1)]
    groups = [{"params": others}, {"params": plain, "weight_decay": 0.0}]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=0, momentum=0.9)
    return torch.optim.AdamW(groups)


def equal(module: Any, network: Network, *, prefix: str = "") -> None:
    """Assert that a module of PyTorch's holds the network's tensors."""
    held = {**network.params, **network.stats}
    state = {n.removeprefix(prefix): tensor.numpy() for n, tensor in module.state_dict().items()}
    made.same(held, state)


@pytest.mark.parametrize(
    ("kind", "optimiser"), [(kind, "sgd" if kind == "resnet" else "adamw") for kind in KINDS]
)
def test_a_full_checkpoint_loads_strictly_and_comes_back(
    tmp_path: pathlib.Path, kind: str, optimiser: str
) -> None:
    torch = importlib.import_module("torch")
    model, head = KINDS[kind]
    weights = made.run(model, head, optimiser_name=optimiser)
    dino.save(weights, tmp_path)
    tree = torch.load(tmp_path / dino.MAIN, weights_only=True, mmap=kind == "vit")
    student, teacher = parallel(wrapped(model, head)), wrapped(model, head)
    if any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in teacher.modules()):
        teacher = parallel(teacher)
    student.load_state_dict(tree["student"], strict=True)
    teacher.load_state_dict(tree["teacher"], strict=True)
    equal(student, weights.network("student"), prefix="module.")
    equal(teacher, weights.network("teacher"), prefix="module.")
    stepping = optimiser_of(student, optimiser)
    stepping.load_state_dict(tree["optimizer"])
    names = {parameter: n.removeprefix("module.") for n, parameter in student.named_parameters()}
    expected = weights.optimiser
    assert expected is not None
    assert {names[p] for p in stepping.state} == set(next(iter(expected.moments.values())))
    for parameter, slots in stepping.state.items():
        for moment, held in expected.moments.items():
            np.testing.assert_array_equal(slots[moment].numpy(), held[names[parameter]])
    again = {
        "student": student.state_dict(),
        "teacher": teacher.state_dict(),
        "optimizer": stepping.state_dict(),
        "epoch": tree["epoch"],
        "args": argparse.Namespace(norm_last_layer=head.norm_last_layer, lr=np.float64(0.1)),
        "dino_loss": {"center": tree["dino_loss"]["center"]},
    }
    torch.save(again, tmp_path / "again.pth")
    back = dino.load(tmp_path / "again.pth")
    made.alike(weights, back)
    assert back.facts["arguments"]["lr"] == 0.1
    stepping.step()


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("model", [made.TINY, made.RESNET], ids=["vit", "resnet"])
def test_a_bare_file_loads_strictly(
    tmp_path: pathlib.Path, model: ModelConfig, mapped: bool
) -> None:
    torch = importlib.import_module("torch")
    network = made.network(model, None)
    dino.save(Weights({"teacher": network}), tmp_path)
    state = torch.load(tmp_path / dino.MAIN, weights_only=True, mmap=mapped)
    assert type(state).__name__ == "OrderedDict"
    module = backbone(model)
    module.load_state_dict(state, strict=True)
    bare = Network(
        network.model,
        network.size,
        {name.removeprefix("backbone."): value for name, value in network.params.items()},
        {name.removeprefix("backbone."): value for name, value in network.stats.items()},
    )
    equal(module, bare)


@pytest.mark.parametrize("legacy", [False, True])
def test_what_pytorch_saves_is_read(tmp_path: pathlib.Path, legacy: bool) -> None:
    """A DeiT file as its training wrote it, in both of PyTorch's file formats."""
    torch = importlib.import_module("torch")
    timm = importlib.import_module("timm")
    module = timm.create_model("vit_tiny_patch16_224", num_classes=5, depth=1, img_size=64)
    path = tmp_path / "deit.pth"
    torch.save(
        {"model": module.state_dict(), "epoch": 3}, path, _use_new_zipfile_serialization=not legacy
    )
    network = dino.load(path).network()
    assert dict(network.classifier).keys() == {"weight", "bias"}
    state = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    made.same(dict(network.classifier), {n: state.pop(f"head.{n}") for n in ("weight", "bias")})
    made.same(network.params, {f"backbone.{name}": value for name, value in state.items()})
