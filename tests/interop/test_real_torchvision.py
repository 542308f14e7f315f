"""The real torchvision opens our ResNet-50 and gives our outputs, and we open its own."""

import pathlib

import numpy as np
import pytest

from dino_jax.interop.formats import timm, torchvision
from tests.interop.libraries import parity, state_of
from tests.interop.networks import RESNET, differences, network, weights

pytestmark = pytest.mark.interop

LIMIT = 1e-5


@pytest.mark.parametrize("size", [(96, 96), (50, 70)])
def test_strict_and_equal(size: tuple, tmp_path: pathlib.Path) -> None:
    errors = parity("torchvision", network(RESNET), tmp_path, size)
    assert errors
    assert max(errors.values()) < LIMIT, errors


def test_what_torchvision_saves_is_read(tmp_path: pathlib.Path) -> None:
    import torch
    from torchvision.models import resnet50

    model = resnet50(num_classes=3)
    torch.save(model.state_dict(), tmp_path / "theirs.pth")
    one = torchvision.load(tmp_path / "theirs.pth").network()
    torchvision.save(weights(one), tmp_path)
    again = resnet50(num_classes=3)
    state = torch.load(tmp_path / torchvision.MAIN, weights_only=True)
    assert str(again.load_state_dict(state, strict=True)) == "<All keys matched successfully>"
    for name, tensor in state_of(model).items():
        np.testing.assert_array_equal(state_of(again)[name], tensor)
    assert {
        key: str(tensor.dtype) for key, tensor in state.items() if "tracked" in key
    }.items() <= ({key: str(tensor.dtype) for key, tensor in model.state_dict().items()}.items())


def test_it_goes_through_timm(tmp_path: pathlib.Path) -> None:
    one = network(RESNET)
    timm.save(weights(one), tmp_path)
    there = timm.load(tmp_path)
    torchvision.save(there, tmp_path)
    assert differences(torchvision.load(tmp_path).network(), one) == []
