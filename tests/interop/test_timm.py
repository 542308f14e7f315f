"""timm's folders without timm: what is written, and that it comes back to the bit."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from dino_jax.config import Config, ModelConfig, UserError, to_dict
from dino_jax.interop import hub
from dino_jax.interop.formats import timm
from dino_jax.interop.formats.safetensors import read_safetensors, write_safetensors
from dino_jax.interop.names import TABLES, outward
from dino_jax.interop.pth import write_pth
from tests.interop.networks import (
    HEAD,
    RESNET,
    VIT,
    XCIT,
    differences,
    names_in,
    network,
    value,
    weights,
)

TINY = dataclasses.replace(VIT, width=192, heads=3)
FILES = ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("model", "size", "classes"),
    [(VIT, (32, 32), 0), (VIT, (16, 40), 3), (RESNET, (224, 224), 3), (XCIT, (224, 224), 3)],
)
def test_round_trip(model: ModelConfig, size: tuple, classes: int, tmp_path: pathlib.Path) -> None:
    expected = network(model, size, classes=classes)
    timm.save(weights(expected), tmp_path)
    assert names_in(tmp_path) == FILES
    for path in (tmp_path, tmp_path / timm.MAIN):
        assert differences(timm.load(path).network(), expected) == []


@pytest.mark.parametrize("size", [(24, 24), (24, 40), (50, 70)])
def test_another_size_is_baked_and_stays(size: tuple, tmp_path: pathlib.Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
    timm.save(weights(network(VIT, (32, 32))), tmp_path / "a", size=size)
    once = timm.load(tmp_path / "a")
    assert once.network().size == size
    timm.save(once, tmp_path / "b")
    assert differences(timm.load(tmp_path / "b").network(), once.network()) == []
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["model_args"]["img_size"] == list(size)
    assert config["pretrained_cfg"]["input_size"] == [3, *size]


@pytest.mark.parametrize(
    ("model", "name", "arguments"),
    [
        (ModelConfig("vit_tiny", 16), "vit_tiny_patch16_224", {}),
        (ModelConfig("vit_tiny", 8), "vit_tiny_patch16_224", {"patch_size": 8}),
        (ModelConfig("vit_small", 8), "vit_small_patch8_224", {}),
        (ModelConfig("vit_base", 16), "vit_base_patch16_224", {}),
        (ModelConfig("vit_base", 8), "vit_base_patch8_224", {}),
        (
            VIT,
            "vit_tiny_patch16_224",
            {"embed_dim": 32, "depth": 2, "num_heads": 4, "patch_size": 8},
        ),
        (dataclasses.replace(RESNET, channels=1), "resnet50", {"in_chans": 1}),
        (ModelConfig("xcit_small_12", 8), "xcit_small_12_p8_224", {}),
        (ModelConfig("xcit_medium_24", 16), "xcit_medium_24_p16_224", {}),
    ],
)
def test_golden_architectures(model: ModelConfig, name: str, arguments: dict) -> None:
    assert timm._named(model) == (name, arguments)
    told = timm._told({"architecture": f"{name}.dino", "model_args": arguments}, "x")
    assert told is not None
    assert timm._named(told) == (name, arguments)


def test_config(tmp_path: pathlib.Path) -> None:
    run = Config()
    run.data.mean, run.data.std = (0.5, 0.4, 0.3), (0.2, 0.2, 0.1)
    made = network(TINY, classes=5, head=HEAD)
    timm.save(weights(made, config=to_dict(run)), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config == {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 5,
        "num_features": 192,
        "global_pool": "token",
        "model_args": {"depth": 2, "patch_size": 8},
        "pretrained_cfg": {
            "tag": "dino",
            "custom_load": False,
            "input_size": [3, 224, 224],
            "fixed_input_size": True,
            "interpolation": "bicubic",
            "crop_pct": 0.875,
            "crop_mode": "center",
            "mean": [0.5, 0.4, 0.3],
            "std": [0.2, 0.2, 0.1],
            "num_classes": 5,
            "pool_size": None,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }
    tensors, metadata = read_safetensors(tmp_path / timm.MAIN)
    assert metadata == {"format": "pt", "dino_jax.sizes": '{"heads": 3, "size": [224, 224]}'}
    assert len(tensors) == 4 + 12 * 2 + 2 + 2  # without the projection head


def theirs(model: ModelConfig, size: tuple = (32, 32)) -> dict[str, np.ndarray]:
    """A network's tensors under timm's names."""
    one = network(model, size)
    family = model.arch.split("_")[0].removesuffix("50")
    return outward(TABLES["timm", family], {**one.params, **one.stats}, source="x")


def test_files_without_a_config(tmp_path: pathlib.Path) -> None:
    for index, model in enumerate((TINY, RESNET, XCIT)):
        path = tmp_path / f"{index}.safetensors"
        write_safetensors(path, theirs(model), hub.METADATA)
        expected = network(model, (224, 224) if index else (32, 32))
        assert differences(timm.load(path).network(), expected) == []


def test_pth_files_are_read(tmp_path: pathlib.Path) -> None:
    expected = network(TINY, (32, 32))
    write_pth(tmp_path / "pytorch_model.bin", {"state_dict": theirs(TINY), "epoch": 3})
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        assert differences(timm.load(path).network(), expected) == []


def test_a_config_by_its_own_name_goes_with_a_single_file(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    expected = network(VIT, (16, 40))
    timm.save(weights(expected), folder)
    (folder / "model.safetensors").rename(tmp_path / "x.safetensors")
    (folder / "config.json").rename(tmp_path / "x.config.json")
    assert differences(timm.load(tmp_path / "x.safetensors").network(), expected) == []


def test_configs_as_timm_publishes_them(tmp_path: pathlib.Path) -> None:
    """The size in `input_size`; before 2023 everything in one level."""
    about = {"input_size": [3, 32, 32], "num_classes": 0}
    write_safetensors(tmp_path / timm.MAIN, theirs(TINY), hub.METADATA)
    name, arguments = "vit_tiny_patch8_224", {"depth": 2}
    for config in (
        {"architecture": f"{name}.dino", "model_args": arguments, "pretrained_cfg": about},
        {"architecture": name, "model_args": arguments, **about},
    ):
        hub.write_config(tmp_path / "config.json", config)
        assert differences(timm.load(tmp_path).network(), network(TINY, (32, 32))) == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"architecture": "vit_large_patch16_224"}, "names the architecture 'vit_large_patch16"),
        ({"architecture": "vit_base_patch16_clip_224"}, "names the architecture"),
        ({"architecture": "xcit_nano_12_p16_224"}, "names the architecture 'xcit_nano"),
        ({"architecture": 7}, "names the architecture '7'"),
        ({"pretrained_cfg": {"input_size": 5}}, "input_size is 5, expected channels"),
        ({"pretrained_cfg": {"input_size": [3, 8]}}, "input_size is"),
        ({"model_args": {"depth": 2, "in_chans": 10**11}}, r"far too few .* 100000000000 channels"),
        ({"model_args": {"global_pool": "avg"}}, "may change outputs .*: global_pool"),
        ({"model_args": {"act_layer": "quick_gelu"}}, "may change outputs .*: act_layer"),
        ({"model_args": {"depth": "2"}}, "depth '2': expected a positive number"),
        ({"model_args": [1]}, "no arguments by name"),
        ({"model_args": {"depth": 2, "img_size": "x"}}, "img_size is 'x', expected one or two"),
        ({"model_args": {"depth": 2, "img_size": [0, 8]}}, "img_size is"),
        ({"model_args": {"depth": 1 << 40}}, "far too few"),
        ({"model_args": {"depth": 2, "img_size": 1 << 40}}, "far too few"),
        ({"model_args": {"depth": 2, "img_size": [32, 40]}}, "pos_embed is"),
        ({"model_args": {"depth": 3}}, r"missing: blocks.2.attn.proj.bias.*12 in all"),
        ({"model_args": {"depth": 1}}, r"unexpected: blocks.1.*12 in all"),
    ],
    ids=str,
)
def test_configs_that_are_refused(config: dict, words: str, tmp_path: pathlib.Path) -> None:
    write_safetensors(tmp_path / timm.MAIN, theirs(TINY), hub.METADATA)
    named = {"architecture": "vit_tiny_patch8_224"}
    hub.write_config(tmp_path / "config.json", {**named, **config})
    with pytest.raises(UserError, match=words) as raised:
        timm.load(tmp_path)
    assert "\n" not in str(raised.value)


def test_another_normalisation_is_said_and_kept(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_safetensors(tmp_path / timm.MAIN, theirs(TINY), hub.METADATA)
    about = {"input_size": [3, 32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.25]}
    config = {"architecture": "vit_tiny_patch8_224", "model_args": {"depth": 2}}
    hub.write_config(tmp_path / "config.json", {**config, "pretrained_cfg": about})
    found = timm.load(tmp_path)
    assert hub.normalisation(found) == (about["mean"], about["std"])
    assert "mean [0.5, 0.5, 0.5] and standard deviation [0.5, 0.5, 0.25]" in caplog.text
    caplog.clear()
    timm.save(found, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["pretrained_cfg"]["std"][2] == 0.25
    hub.write_config(tmp_path / "config.json", {**config, "pretrained_cfg": {"mean": "x"}})
    assert hub.normalisation(timm.load(tmp_path))[0] == [0.485, 0.456, 0.406]
    assert caplog.text == ""


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000, "\xff"])
def test_a_config_that_is_none(text: str, tmp_path: pathlib.Path) -> None:
    write_safetensors(tmp_path / timm.MAIN, theirs(TINY), hub.METADATA)
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"config\.json (cannot be read as JSON|holds no JSON)"):
        timm.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"norm.bias": None}, r"missing: norm\.bias$"),
        ({"fc_norm.bias": np.zeros(3)}, r"unexpected: fc_norm\.bias$"),
        ({"norm.bias": np.zeros(3, np.float32)}, r"norm\.bias is \(3,\), expected \(192,\)$"),
        ({"head.weight": np.zeros((3, 192), np.float32)}, "holds a classifier of"),
        ({"norm.bias": np.zeros(192)}, r"norm\.bias is float64"),
    ],
)
def test_strict(change: dict, words: str, tmp_path: pathlib.Path) -> None:
    tensors = {**theirs(TINY), **change}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    write_safetensors(tmp_path / timm.MAIN, tensors, hub.METADATA)
    with pytest.raises(UserError, match=words):
        timm.load(tmp_path)


@pytest.mark.parametrize("name", ["missing", "unexpected", "shape"])
def test_nothing_is_written_of_what_does_not_match(name: str, tmp_path: pathlib.Path) -> None:
    one = network(VIT, (32, 32))
    key, wrong = "backbone.norm.bias", np.zeros(3, np.float32)
    params = {
        "missing": {k: v for k, v in one.params.items() if k != key},
        "unexpected": one.params | {"backbone.extra": wrong},
        "shape": one.params | {key: wrong},
    }[name]
    with pytest.raises(UserError, match=name):
        timm.save(weights(one._replace(params=params)), tmp_path)
    assert names_in(tmp_path) == []


def test_a_classifier_of_other_features_is_refused(tmp_path: pathlib.Path) -> None:
    one = network(VIT, (32, 32), classes=3, inputs=128)
    with pytest.raises(UserError, match=r"takes 128 features.*timm's takes the 32 of the last"):
        timm.save(weights(one), tmp_path)
    assert names_in(tmp_path) == []


def test_a_narrow_resnet_is_none_of_theirs(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match="no resnet50 of 64 features, only of 2048"):
        timm.save(weights(network(dataclasses.replace(RESNET, width=64))), tmp_path)
    assert names_in(tmp_path) == []


def test_folders_without_weights(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match=r"holds no weights: expected model.safetensors, pytorch"):
        timm.load(tmp_path)
    (tmp_path / hub.INDEX).write_text("{}")
    with pytest.raises(UserError, match="several files: save it as one"):
        timm.load(tmp_path)
    write_safetensors(tmp_path / "x.safetensors", {"a": value("a", (3,))}, {})
    with pytest.raises(UserError, match=r"none of our networks: .* found a"):
        timm.load(tmp_path / "x.safetensors")


def test_a_config_of_something_else_is_none(tmp_path: pathlib.Path) -> None:
    expected = network(TINY, (32, 32))
    write_safetensors(tmp_path / timm.MAIN, theirs(TINY), hub.METADATA)
    write_safetensors(tmp_path / "x.safetensors", theirs(TINY), hub.METADATA)
    (tmp_path / "config.json").write_text('{"name": "my web app"}')
    assert differences(timm.load(tmp_path).network(), expected) == []
    (tmp_path / "config.json").write_text("{")
    assert differences(timm.load(tmp_path / "x.safetensors").network(), expected) == []


def test_a_config_of_far_too_much_is_refused_at_once(tmp_path: pathlib.Path) -> None:
    write_safetensors(tmp_path / timm.MAIN, theirs(TINY), hub.METADATA)
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(UserError, match=r"config\.json cannot be read .* longer than"):
        timm.load(tmp_path)


@pytest.mark.parametrize("facts", [5, [1], {"normalisation": 5}, {"steps": "x"}, {"config": 7}])
def test_facts_that_are_none_are_left_out(
    facts: object, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_safetensors(tmp_path / timm.MAIN, theirs(TINY), hub.METADATA)
    config = {"architecture": "vit_tiny_patch8_224", "model_args": {"depth": 2, "img_size": 32}}
    hub.write_config(tmp_path / "config.json", {**config, "dino_jax": {"facts": facts}})
    found = timm.load(tmp_path)
    assert found.facts == {"source": str(tmp_path / timm.MAIN)}
    assert "facts that are not as we write them are left out" in caplog.text


def test_an_export_without_its_config_is_what_it_was(tmp_path: pathlib.Path) -> None:
    """No tensor says the heads and, where a count is a square, the sides."""
    expected = network(dataclasses.replace(TINY, heads=6), (16, 64))
    written = []
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).mkdir()
        timm.save(weights(expected), tmp_path / name)
        written.append((tmp_path / name / timm.MAIN).read_bytes())
        (tmp_path / name / "config.json").unlink()
    assert len(set(written)) == 1
    assert differences(timm.load(tmp_path / "a").network(), expected) == []
    for wrong in ("nonsense", "[]", '{"heads": 6}', '{"heads": 6, "size": [1, 1e400]}'):
        metadata = {**hub.METADATA, "dino_jax.sizes": wrong}
        write_safetensors(tmp_path / "x.safetensors", theirs(TINY), metadata)
        with pytest.raises(UserError, match=r"metadata dino_jax\.sizes are not as we write"):
            timm.load(tmp_path / "x.safetensors")
    metadata = {**hub.METADATA, "dino_jax.sizes": '{"heads": 7, "size": [32, 32]}'}
    write_safetensors(tmp_path / "x.safetensors", theirs(TINY), metadata)
    with pytest.raises(UserError, match=r"not divisible by model\.heads 7"):
        timm.load(tmp_path / "x.safetensors")
