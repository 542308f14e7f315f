"""The real timm opens our exports and gives our outputs, and we open what it writes."""

import dataclasses
import pathlib

import numpy as np
import pytest

from dino_jax.config import ModelConfig
from dino_jax.interop.formats import timm
from dino_jax.interop.formats.safetensors import write_safetensors
from tests.interop.libraries import parity, state_of
from tests.interop.networks import RESNET, VIT, XCIT, differences, network, weights

pytestmark = pytest.mark.interop

LIMIT = 1e-5
CASES = [
    (VIT, (224, 224)),
    (VIT, (96, 160)),
    (VIT, (50, 70)),
    (ModelConfig("vit_small", 16, depth=3), (96, 96)),
    (ModelConfig("vit_base", 8, depth=1), (48, 80)),
    (dataclasses.replace(VIT, channels=1), (64, 64)),
    (ModelConfig("vit_tiny", 16), (224, 160)),
    (RESNET, (96, 160)),
    (XCIT, (96, 160)),
    (ModelConfig("xcit_medium_24", 16, depth=2), (64, 64)),
]


@pytest.mark.parametrize(("model", "size"), CASES, ids=str)
def test_strict_and_equal(model: ModelConfig, size: tuple, tmp_path: pathlib.Path) -> None:
    errors = parity("timm", network(model), tmp_path, size)
    assert errors
    assert max(errors.values()) < LIMIT, errors


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_small_patch16_224", {"depth": 2}),
        ("resnet50", {}),
        ("xcit_small_12_p8_224", {"depth": 1}),
    ],
)
def test_what_timm_saves_is_read(name: str, options: dict, tmp_path: pathlib.Path) -> None:
    import timm as library
    from timm.models import save_for_hf

    model = library.create_model(name, num_classes=5, **options)
    save_for_hf(model, tmp_path, model_args=options, safe_serialization=True)
    one = timm.load(tmp_path).network()
    assert one.classifier["bias"].shape == (5,)
    (tmp_path / "again").mkdir()
    timm.save(weights(one), tmp_path / "again")
    assert differences(timm.load(tmp_path / "again").network(), one) == []
    written = library.models.load_state_dict(str(tmp_path / "again" / timm.MAIN))
    for key, tensor in state_of(model).items():
        np.testing.assert_array_equal(written[key].numpy(), tensor)


def test_a_classifier_comes_along(tmp_path: pathlib.Path) -> None:
    import timm as library
    import torch

    one = network(VIT, (32, 32), classes=4)
    timm.save(weights(one), tmp_path)
    model = library.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    with torch.no_grad():
        images = torch.ones(1, 3, 32, 32)
        logits, token = model(images), model.forward_head(model.forward_features(images), True)
    expected = token.numpy() @ one.classifier["weight"].T + one.classifier["bias"]
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_names_alone_do_not_pass(tmp_path: pathlib.Path) -> None:
    """The comparison sees a change of one number."""
    import timm as library
    import torch

    one = network(VIT, (32, 32))
    timm.save(weights(one), tmp_path)
    model = library.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    tensors = state_of(model)
    tensors["blocks.1.attn.qkv.weight"][0, 0] += 0.5
    write_safetensors(tmp_path / timm.MAIN, tensors, {"format": "pt"})
    other = library.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    with torch.no_grad():
        images = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
        assert float((model(images) - other(images)).norm() / model(images).norm()) > 10 * LIMIT
