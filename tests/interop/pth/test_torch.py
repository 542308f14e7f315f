"""Beside torch: what it saves is read equal, what is written it opens in each of its ways."""

import argparse
import collections
import copy
import importlib
import pathlib
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from dino_jax.interop.pth import read_pth, write_pth
from tests.interop.pth import trees
from tests.interop.pth.same import assert_plain, assert_same

pytestmark = pytest.mark.interop
torch: Any = None
"""Imported by the first test, so that the file is collected where there is no torch."""

SAVES: dict[str, dict[str, Any]] = {
    "zip": {},
    "old": {"_use_new_zipfile_serialization": False},
    "protocol-3": {"pickle_protocol": 3},
    "protocol-4": {"pickle_protocol": 4},
    "old-4": {"pickle_protocol": 4, "_use_new_zipfile_serialization": False},
}
LOADS: dict[str, dict[str, Any]] = {
    "default": {},
    "safe": {"weights_only": True},
    "whole": {"weights_only": False},
    "mapped": {"weights_only": True, "mmap": True},
    "mapped-whole": {"weights_only": False, "mmap": True},
    "to-device": {"map_location": "cpu"},
}


@pytest.fixture(autouse=True, scope="module")
def _imported() -> None:
    globals()["torch"] = importlib.import_module("torch")


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "weights.pth"


def plain(value: Any) -> Any:
    """What `read_pth` should give for an object of torch's."""
    if isinstance(value, torch.Tensor):
        return array(value.detach().contiguous())
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    return value.item() if isinstance(value, np.generic) else value


def array(tensor: Any) -> np.ndarray:
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def network() -> Any:
    """With a batch norm, a weight norm of the old kind, tied weights and a frozen parameter."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.Flatten(),
        torch.nn.LazyLinear(5),
    )
    net(torch.randn(2, 3, 6, 6))
    net.append(torch.nn.Linear(5, 5, bias=False))
    net.append(torch.nn.Linear(5, 5, bias=False))
    net[5].weight = net[4].weight
    return net


def optimiser(name: str, net: Any) -> Any:
    """After a step; one parameter has none."""
    weights = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim == 1]
    groups = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    if name == "sgd":
        made = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    else:
        made = torch.optim.AdamW(groups, lr=0.1)
    net(torch.randn(2, 3, 6, 6)).sum().backward()
    weights[0].grad = None
    made.step()
    for group in made.param_groups:
        group["lr"] = np.float64(0.0123)
    return made


def checkpoint(name: str = "adamw") -> dict[str, Any]:
    """As the original saves it."""
    net = network()
    arguments = argparse.Namespace(
        arch="vit_small", use_fp16=True, lr=5e-4, local_crops_scale=(0.05, 0.4), gpu=0, none=None
    )
    scaler = torch.amp.GradScaler("cpu", enabled=True)
    return {
        "student": torch.nn.DataParallel(net).state_dict(),
        "teacher": copy.deepcopy(net).state_dict(),
        "optimizer": optimiser(name, net).state_dict(),
        "epoch": 3,
        "args": arguments,
        "dino_loss": {"center": torch.randn(1, 5)},
        "fp16_scaler": scaler.state_dict(),
        "best_acc": np.float32(0.5),
    }


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("way", SAVES)
def test_full_checkpoint_is_read(way: str, name: str, path: pathlib.Path) -> None:
    saved = checkpoint(name)
    torch.save(saved, path, **SAVES[way])
    found = read_pth(path)
    assert_same(found, plain(saved))
    assert_plain(found)
    assert found["teacher"]["4.weight"] is found["teacher"]["5.weight"]


@pytest.mark.parametrize("way", SAVES)
@pytest.mark.parametrize(
    "dtype",
    [
        *("float32", "float64", "float16", "bfloat16", "bool", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64"),
    ],
)
def test_every_dtype_shape_and_view_is_read(dtype: str, way: str, path: pathlib.Path) -> None:
    kind = getattr(torch, dtype)
    base = torch.arange(120).reshape(4, 5, 6).to(kind)
    saved = {
        "base": base,
        "slice": base[1:3],
        "columns": base[:, :, 2:4],
        "steps": base[::2, ::3, ::5],
        "turned": base.permute(2, 0, 1),
        "row": base[2, 3],
        "element": base[1, 2, 3],
        "empty": base[:0],
        "diagonal": torch.diagonal(base[:, :4, 0]),
        "scalar": torch.tensor(1, dtype=kind),
        "none": torch.zeros(0, dtype=kind),
        "own": base[0].clone(),
        "last": base.to(memory_format=torch.contiguous_format)[..., None],
    }
    torch.save(saved, path, **SAVES[way])
    found = read_pth(path)
    assert_same(found, plain(saved))
    assert_plain(found)


def test_channels_last_and_parameters_are_read(path: pathlib.Path) -> None:
    image = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    buffer = torch.nn.Parameter(torch.ones(3), requires_grad=False)
    saved = [image, torch.nn.Parameter(image), buffer, torch.Size((1, 2))]
    torch.save(saved, path)
    assert_same(read_pth(path), plain(saved))


@pytest.mark.parametrize("way", SAVES)
def test_numbers_and_arrays_of_numpy_are_read(way: str, path: pathlib.Path) -> None:
    kinds = "float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool".split()
    saved = {kind: np.dtype(kind).type(1) for kind in kinds}
    grid = np.arange(12, dtype=np.float64).reshape(3, 4)
    saved |= {
        "grid": grid,
        "fortran": np.asfortranarray(grid),
        "part": grid[::2, 1:],
        "0-d": grid[0, 0, None][0],
    }
    torch.save(saved, path, **SAVES[way])
    found = read_pth(path)
    assert_same(found, plain(saved))
    assert_plain(found)


def test_expanded_lazy_and_sparse_tensors_are_refused(path: pathlib.Path) -> None:
    whole = torch.randn(3)
    odd = torch.view_as_complex(torch.randn(3, 2)).conj().imag  # lazily negated
    for tensor in (
        whole.expand(4, 3),
        odd,
        torch.eye(3).to_sparse(),
        torch.zeros(2, device="meta"),
    ):
        torch.save({"a": tensor}, path)
        with pytest.raises(ValueError, match=r"^cannot read .*; "):
            read_pth(path)


def test_module_and_script_are_refused(path: pathlib.Path) -> None:
    for options in SAVES.values():
        torch.save(network(), path, **options)
        with pytest.raises(ValueError, match="asks for"):
            read_pth(path)


def opened(path: pathlib.Path) -> Any:
    """By every way of loading, which must agree."""
    found = [torch.load(path, **options) for options in LOADS.values()]
    for other in found[1:]:
        assert_same(plain(other), plain(found[0]))
    return found[0]


@pytest.mark.parametrize("tree", [trees.checkpoint(), trees.tensors()], ids=["full", "tensors"])
def test_what_is_written_torch_opens(tree: dict[str, Any], path: pathlib.Path) -> None:
    write_pth(path, tree)
    assert_same(plain(opened(path)), tree)


def test_state_dicts_are_what_torch_makes(path: pathlib.Path) -> None:
    net = network()
    made = {"teacher": plain(net.state_dict()), "epoch": 1, "state": {0: {"step": np.ones(())}}}
    write_pth(path, made)
    found = opened(path)
    assert type(found) is dict
    assert type(found["teacher"]) is collections.OrderedDict
    for value in net.state_dict().values():
        value.zero_()
    net.load_state_dict(found["teacher"], strict=True)
    assert_same(plain(net.state_dict()), made["teacher"])


def test_optimiser_goes_on_from_what_was_written(path: pathlib.Path) -> None:
    net = network()
    made = optimiser("adamw", net)
    write_pth(path, plain(made.state_dict()))
    other = torch.optim.AdamW([{"params": g["params"]} for g in made.param_groups])
    other.load_state_dict(opened(path))
    assert_same(plain(other.state_dict()), plain(made.state_dict()))


def test_weights_that_torch_opened_may_be_written_to(path: pathlib.Path) -> None:
    write_pth(path, {"a": np.ones(3, np.float32)})
    found = torch.load(path)
    found["a"] += 1
    assert found["a"].tolist() == [2, 2, 2]
