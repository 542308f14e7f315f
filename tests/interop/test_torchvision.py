"""torchvision's ResNet-50 without torchvision."""

import dataclasses
import logging
import pathlib

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.interop.formats import torchvision
from dino_jax.interop.network import Network
from dino_jax.interop.pth import read_pth, write_pth
from tests.interop.networks import HEAD, RESNET, VIT, differences, names_in, network, weights


@pytest.fixture(scope="module")
def resnet() -> Network:
    return network(RESNET)


def theirs(one: Network) -> dict[str, np.ndarray]:
    held = {**one.params, **one.stats}
    return {name.removeprefix("backbone."): array for name, array in held.items()}


@pytest.mark.parametrize("classes", [0, 3])
def test_round_trip(classes: int, tmp_path: pathlib.Path) -> None:
    expected = network(RESNET, classes=classes)
    torchvision.save(weights(expected), tmp_path)
    assert names_in(tmp_path) == [torchvision.MAIN]
    for path in (tmp_path, tmp_path / torchvision.MAIN):
        assert differences(torchvision.load(path).network(), expected) == []
    held = read_pth(tmp_path / torchvision.MAIN)
    assert len(held) == 318 + (2 if classes else 0)
    assert held["bn1.num_batches_tracked"].dtype == np.int64
    assert held["bn1.num_batches_tracked"].shape == ()


def test_the_head_is_left_out(tmp_path: pathlib.Path, resnet: Network) -> None:
    torchvision.save(weights(network(RESNET, head=HEAD)), tmp_path, size=(96, 160))
    assert differences(torchvision.load(tmp_path).network(), resnet) == []


def test_files_of_before_the_counters(
    tmp_path: pathlib.Path, resnet: Network, caplog: pytest.LogCaptureFixture
) -> None:
    old = {name: array for name, array in theirs(resnet).items() if "tracked" not in name}
    write_pth(tmp_path / "old.pth", {"state_dict": old})
    with caplog.at_level(logging.INFO, "dino_jax"):
        found = torchvision.load(tmp_path / "old.pth").network()
    assert "they begin at 0" in caplog.text
    counters = [name for name in found.stats if name.endswith("tracked")]
    assert len(counters) == 53
    assert all(found.stats.pop(name) == 0 and resnet.stats[name] for name in counters)
    assert all((found.stats[name] == resnet.stats[name]).all() for name in found.stats)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bn1.bias": None}, r"missing: bn1\.bias$"),
        ({"bn1.num_batches_tracked": None}, r"missing: bn1\.num_batches_tracked$"),
        ({"layer1.3.bn1.bias": np.zeros(3, np.float32)}, r"unexpected: layer1\.3\.bn1\.bias$"),
        ({"maxpool.bias": np.zeros(3, np.float32)}, r"unexpected: maxpool\.bias$"),
        ({"bn1.bias": np.zeros(3, np.float32)}, r"bn1\.bias is \(3,\), expected \(64,\)$"),
        ({"bn1.num_batches_tracked": np.zeros(1, np.int64)}, r"tracked is \(1,\), expected \(\)$"),
        ({"bn1.num_batches_tracked": np.asarray(1 << 31)}, r"expected a count from 0 to below"),
        ({"fc.weight": np.zeros((3, 2048), np.float32)}, "holds a classifier of"),
        ({"conv1.weight": None}, "holds no ResNet-50, found bn1"),
    ],
)
def test_strict(change: dict, words: str, tmp_path: pathlib.Path, resnet: Network) -> None:
    tensors = {**theirs(resnet), **change}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    write_pth(tmp_path / "x.pth", tensors)
    with pytest.raises(UserError, match=words):
        torchvision.load(tmp_path / "x.pth")


def test_nothing_is_written_of_what_does_not_match(tmp_path: pathlib.Path, resnet: Network) -> None:
    fewer = {
        name: array for name, array in resnet.stats.items() if name != "backbone.bn1.running_var"
    }
    for broken, words in (
        (resnet._replace(stats=fewer), "missing: backbone.bn1.running_var"),
        (network(VIT, (32, 32)), "ResNet-50 alone, and this is vit_tiny"),
        (network(RESNET, classes=2, inputs=7), "takes 7 features"),
        (network(dataclasses.replace(RESNET, width=64)), "no resnet50 of 64 features"),
    ):
        with pytest.raises(UserError, match=words):
            torchvision.save(weights(broken), tmp_path)
    assert names_in(tmp_path) == []
