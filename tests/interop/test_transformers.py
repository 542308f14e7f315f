"""transformers' folders without transformers: what is written, and that it comes back."""

import dataclasses
import json
import logging
import pathlib

import numpy as np
import pytest

from dino_jax.config import Config, UserError, to_dict
from dino_jax.interop import hub
from dino_jax.interop.formats import transformers
from dino_jax.interop.formats.safetensors import read_safetensors, write_safetensors
from dino_jax.interop.names import TABLES, outward
from dino_jax.interop.pth import write_pth
from tests.interop.networks import HEAD, RESNET, VIT, differences, names_in, network, weights

TINY = dataclasses.replace(VIT, width=192, heads=3)
FILES = ["config.json", "model.safetensors", "preprocessor_config.json"]
GENERATIONS = ("transformers", "transformers 5")


def theirs(generation: str = "transformers", prefix: str = "") -> dict[str, np.ndarray]:
    """A small network's tensors under their names."""
    table = TABLES[generation, "vit"]
    out = outward(table, network(TINY, (32, 32)).params, source="x")
    return {prefix + name: tensor for name, tensor in out.items()}


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("size", [(32, 32), (16, 40)])
def test_round_trip(classes: int, size: tuple, tmp_path: pathlib.Path) -> None:
    expected = network(VIT, size, classes=classes)
    transformers.save(weights(expected), tmp_path)
    assert names_in(tmp_path) == FILES
    for path in (tmp_path, tmp_path / transformers.MAIN):
        assert differences(transformers.load(path).network(), expected) == []


def test_config_and_processor(tmp_path: pathlib.Path) -> None:
    run = Config()
    run.data.mean, run.data.std = (0.5, 0.4, 0.3), (0.2, 0.2, 0.1)
    one = weights(network(TINY, (32, 32), head=HEAD), config=to_dict(run))
    transformers.save(one, tmp_path, size=(24, 40))
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "architectures": ["ViTModel"],
        "model_type": "vit",
        "hidden_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 768,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-6,
        "image_size": [24, 40],
        "patch_size": 8,
        "num_channels": 3,
        "qkv_bias": True,
        "encoder_stride": 8,
        "torch_dtype": "float32",
    }
    assert json.loads((tmp_path / "preprocessor_config.json").read_text()) == {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": 24, "width": 40},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.2, 0.1],
    }
    tensors, metadata = read_safetensors(tmp_path / transformers.MAIN)
    assert metadata == {"format": "pt", "dino_jax.sizes": '{"heads": 3, "size": [24, 40]}'}
    assert len(tensors) == 4 + 16 * 2 + 2


def test_a_classifier_makes_another_model(tmp_path: pathlib.Path) -> None:
    transformers.save(weights(network(TINY, (32, 32), classes=2)), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["ViTForImageClassification"]
    assert config["image_size"] == 32
    assert config["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}
    assert config["label2id"] == {"LABEL_0": 0, "LABEL_1": 1}
    names = set(read_safetensors(tmp_path / transformers.MAIN)[0])
    assert {"classifier.weight", "classifier.bias"} < names
    assert all(name.startswith(("vit.", "classifier.")) for name in names)


@pytest.mark.parametrize("prefix", ["", "vit."])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_both_generations_of_names(generation: str, prefix: str, tmp_path: pathlib.Path) -> None:
    expected = network(TINY, (32, 32), classes=3)
    tensors = theirs(generation, prefix)
    tensors |= {f"classifier.{name}": array for name, array in expected.classifier.items()}
    write_safetensors(tmp_path / "a.safetensors", tensors, hub.METADATA)
    write_pth(tmp_path / "pytorch_model.bin", tensors)
    for path in (tmp_path / "a.safetensors", tmp_path):
        assert differences(transformers.load(path).network(), expected) == []


def test_the_pooler_is_left_out_by_name(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    pooler = {
        "pooler.dense.weight": np.zeros((192, 192), np.float32),
        "pooler.dense.bias": np.zeros(192, np.float32),
    }
    write_safetensors(tmp_path / "a.safetensors", theirs() | pooler, hub.METADATA)
    with caplog.at_level(logging.INFO, "dino_jax"):
        found = transformers.load(tmp_path / "a.safetensors")
    assert differences(found.network(), network(TINY, (32, 32))) == []
    (line,) = [text for text in caplog.messages if "left out" in text]
    assert line.endswith("pooler.dense.weight, pooler.dense.bias")
    other = {"pooler.dense.scale": np.zeros(192, np.float32)}
    write_safetensors(tmp_path / "a.safetensors", theirs() | other, hub.METADATA)
    with pytest.raises(UserError, match=r"unexpected: pooler\.dense\.scale"):
        transformers.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize(("epsilon", "lines"), [(1e-6, 0), (1e-12, 1), (None, 1)])
def test_another_epsilon_is_said(
    epsilon: float | None, lines: int, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    transformers.save(weights(network(TINY, (32, 32))), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["layer_norm_eps"] = epsilon
    if epsilon is None:
        del config["layer_norm_eps"]
    hub.write_config(tmp_path / "config.json", config)
    transformers.load(tmp_path)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == lines
    assert all("layer_norm_eps 1e-12; the norms here have 1e-06" in text for text in messages)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "deit"}, "of a model_type 'deit', expected 'vit'"),
        ({"model_type": None}, "of a model_type None"),
        ({"hidden_act": "quick_gelu"}, "says hidden_act 'quick_gelu'; networks here have 'gelu'"),
        ({"qkv_bias": False}, "says qkv_bias False"),
        ({"hidden_size": "384"}, "says hidden_size '384'"),
        ({"hidden_size": 384}, "of another shape"),
        ({"num_attention_heads": 5}, "not divisible by model.heads 5"),
        ({"num_hidden_layers": 3}, "missing: encoder.layer.2"),
        ({"num_hidden_layers": 1 << 40}, "far too few"),
        ({"image_size": 40}, "embeddings.position_embeddings is"),
        ({"image_size": [1 << 30, 1 << 30]}, "far too few"),
        ({"image_size": None}, "image_size is None, expected"),
        ({"patch_size": [8, 4]}, "which are not square"),
        ({"patch_size": 4}, "of another shape"),
    ],
    ids=str,
)
def test_configs_that_are_refused(change: dict, words: str, tmp_path: pathlib.Path) -> None:
    transformers.save(weights(network(TINY, (32, 32))), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    hub.write_config(tmp_path / "config.json", config | change)
    with pytest.raises(UserError, match=words) as raised:
        transformers.load(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layernorm.bias": None}, r"missing: layernorm\.bias$"),
        ({"embeddings.mask_token": np.zeros(3)}, r"unexpected: embeddings\.mask_token$"),
        ({"layernorm.bias": np.zeros(3, np.float32)}, r"layernorm\.bias is \(3,\), expected"),
        (
            {"encoder.layer.1.attention.attention.key.bias": None},
            r"missing: encoder\.layer\.1\.attention\.attention\.key\.bias$",
        ),
    ],
)
def test_strict(change: dict, words: str, tmp_path: pathlib.Path) -> None:
    tensors = {**theirs(), **change}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    write_safetensors(tmp_path / "a.safetensors", tensors, hub.METADATA)
    with pytest.raises(UserError, match=words):
        transformers.load(tmp_path / "a.safetensors")


def test_newer_names_are_missed_by_those_names(tmp_path: pathlib.Path) -> None:
    tensors = theirs("transformers 5")
    del tensors["layers.0.mlp.fc1.weight"]
    write_safetensors(tmp_path / "a.safetensors", tensors, hub.METADATA)
    with pytest.raises(UserError, match=r"missing: layers\.0\.mlp\.fc1\.weight$"):
        transformers.load(tmp_path / "a.safetensors")


def test_nothing_is_written_of_what_does_not_match(tmp_path: pathlib.Path) -> None:
    one = network(TINY, (32, 32))
    extra = one.params | {"backbone.extra": np.zeros(3, np.float32)}
    for broken, words in (
        (one._replace(params=extra), "unexpected: backbone.extra"),
        (network(RESNET), "vision transformers alone, and this is resnet50"),
        (network(TINY, (32, 32), classes=2, inputs=7), "takes 7 features"),
    ):
        with pytest.raises(UserError, match=words):
            transformers.save(weights(broken), tmp_path)
    assert names_in(tmp_path) == []


def test_an_export_without_its_config_is_what_it_was(tmp_path: pathlib.Path) -> None:
    expected = network(dataclasses.replace(TINY, heads=6), (16, 64))
    transformers.save(weights(expected), tmp_path)
    (tmp_path / "config.json").unlink()
    assert differences(transformers.load(tmp_path).network(), expected) == []


def test_channels_beyond_the_tensors_are_refused_at_once(tmp_path: pathlib.Path) -> None:
    transformers.save(weights(network(TINY, (32, 32))), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    hub.write_config(tmp_path / "config.json", {**config, "num_channels": 10**11})
    with pytest.raises(UserError, match=r"far too few .* 100000000000 channels"):
        transformers.load(tmp_path)
