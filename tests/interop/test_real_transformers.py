"""The real transformers opens our exports and gives our outputs, and we open what it writes."""

import pathlib

import numpy as np
import pytest

from dino_jax.config import ModelConfig
from dino_jax.interop.formats import transformers
from tests.interop.libraries import parity, state_of
from tests.interop.networks import VIT, differences, network, weights

pytestmark = pytest.mark.interop

LIMIT = 1e-5
CASES = [
    (VIT, (224, 224)),
    (VIT, (96, 160)),
    (VIT, (50, 70)),
    (ModelConfig("vit_small", 16, depth=3), (96, 96)),
    (ModelConfig("vit_base", 8, depth=1), (48, 80)),
    (ModelConfig("vit_tiny", 16), (224, 160)),
]


@pytest.mark.parametrize(("model", "size"), CASES, ids=str)
def test_strict_and_equal(model: ModelConfig, size: tuple, tmp_path: pathlib.Path) -> None:
    errors = parity("transformers", network(model), tmp_path, size)
    assert errors
    assert max(errors.values()) < LIMIT, errors


def small(**options: object) -> object:
    from transformers import ViTConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    return ViTConfig(**sizes, intermediate_size=128, image_size=32, patch_size=8, **options)


@pytest.mark.parametrize("pooler", [False, True])
def test_what_transformers_saves_is_read(pooler: bool, tmp_path: pathlib.Path) -> None:
    from transformers import ViTModel

    model = ViTModel(small(layer_norm_eps=1e-6), add_pooling_layer=pooler)
    model.save_pretrained(tmp_path / "theirs")
    one = transformers.load(tmp_path / "theirs").network()
    (tmp_path / "ours").mkdir()
    transformers.save(weights(one), tmp_path / "ours")
    assert differences(transformers.load(tmp_path / "ours").network(), one) == []
    again = ViTModel.from_pretrained(tmp_path / "ours", add_pooling_layer=False)
    expected = {k: v for k, v in state_of(model).items() if not k.startswith("pooler")}
    found = state_of(again)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor)
    again.save_pretrained(tmp_path / "again")  # under the names it was loaded from
    assert differences(transformers.load(tmp_path / "again").network(), one) == []


def test_a_classifier_comes_along(tmp_path: pathlib.Path) -> None:
    import torch
    from transformers import ViTForImageClassification

    one = network(VIT, (32, 32), classes=4)
    transformers.save(weights(one), tmp_path)
    model, report = ViTForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    with torch.no_grad():
        out = model.eval()(torch.ones(1, 3, 32, 32), output_hidden_states=True)
        token = model.vit.layernorm(out.hidden_states[-1])[:, 0].numpy()
    expected = token @ one.classifier["weight"].T + one.classifier["bias"]
    np.testing.assert_allclose(out.logits.numpy(), expected, rtol=1e-4, atol=1e-4)
    model.save_pretrained(tmp_path / "again")
    assert differences(transformers.load(tmp_path / "again").network(), one) == []


def test_images_are_prepared_as_we_say(tmp_path: pathlib.Path) -> None:
    from transformers import AutoImageProcessor

    transformers.save(weights(network(VIT, (32, 32))), tmp_path, size=(24, 40))
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    pixels = np.full((50, 60, 3), 128, np.uint8)
    prepared = np.asarray(processor(pixels, return_tensors="np")["pixel_values"])
    assert prepared.shape == (1, 3, 24, 40)
    expected = (128 / 255 - np.asarray([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(prepared[0].mean(axis=(1, 2)), expected, atol=1e-3)
