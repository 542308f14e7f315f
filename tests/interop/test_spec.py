"""Specs: everything we write is opened by its path, told apart by what it holds."""

import logging
import os
import pathlib
import re

import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import ModelConfig, UserError
from dino_jax.interop import hub, official
from dino_jax.interop.cached import Remote
from dino_jax.interop.card import write_card
from dino_jax.interop.formats import dino, orbax, safetensors, timm, torchvision, transformers
from dino_jax.interop.network import Network, Weights
from dino_jax.interop.official import OFFICIAL, Official, named
from dino_jax.interop.optimiser import in_order
from dino_jax.interop.pth import read_pth, write_pth
from dino_jax.interop.spec import load_model, open_weights, split_network
from tests.interop import made

FORMATS = {
    "orbax": orbax,
    "dino": dino,
    "timm": timm,
    "transformers": transformers,
    "safetensors": safetensors,
    "torchvision": torchvision,
}


def saved(kind: str, weights: Weights, folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir()
    FORMATS[kind].save(weights, folder)
    return folder


def same_network(one: Network, other: Network) -> bool:
    made.same(one.params, other.params)
    made.same(one.stats, other.stats)
    made.same(dict(one.classifier), dict(other.classifier))
    sizes = [(n.model.arch, n.model.patch_size, n.model.depth, n.model.heads) for n in (one, other)]
    return one.size == other.size and sizes[0] == sizes[1]


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "torchvision"])
def test_a_vision_transformer_is_opened_by_folder_and_file(
    tmp_path: pathlib.Path, kind: str
) -> None:
    network = made.network(head=None, classes=3)
    folder = saved(kind, Weights({"teacher": network}), tmp_path / "out")
    assert same_network(open_weights(str(folder)).network(), network)
    if kind != "orbax":
        path = folder / FORMATS[kind].MAIN
        weights = open_weights(str(path))
        assert same_network(weights.network(), network)
        assert weights.facts["source"] == str(path)


@pytest.mark.parametrize("kind", ["dino", "timm", "safetensors"])
def test_an_xcit_is_told_by_its_names(tmp_path: pathlib.Path, kind: str) -> None:
    network = made.network(made.XCIT, None)
    folder = saved(kind, Weights({"teacher": network}), tmp_path / "out")
    assert same_network(open_weights(str(folder / FORMATS[kind].MAIN)).network(), network)


def test_a_resnet_is_opened_in_every_way(tmp_path: pathlib.Path) -> None:
    network = made.network(made.RESNET, None)
    folder = saved("torchvision", Weights({"teacher": network}), tmp_path / "out")
    assert same_network(open_weights(str(folder)).network(), network)
    old = read_pth(folder / torchvision.MAIN)
    old = {name: value for name, value in old.items() if "num_batches_tracked" not in name}
    write_pth(folder / torchvision.MAIN, old)
    counters = open_weights(str(folder)).network().stats
    assert {int(counters[name]) for name in counters if "num_batches" in name} == {0}


def test_names_decide_and_not_the_suffix(tmp_path: pathlib.Path) -> None:
    """Tensors of transformers or timm in a pickle: `pytorch_model.bin` and its kin."""
    network = made.network(head=None)
    for kind in ("transformers", "timm"):
        folder = saved(kind, Weights({"teacher": network}), tmp_path / kind)
        tensors, _ = safetensors.read_safetensors(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        write_pth(folder / "pytorch_model.bin", tensors)
        assert same_network(open_weights(str(folder)).network(), network)
        assert same_network(open_weights(str(folder / "pytorch_model.bin")).network(), network)
    xcit = made.network(made.XCIT, None)
    folder = saved("timm", Weights({"teacher": xcit}), tmp_path / "xcit")
    tensors, _ = safetensors.read_safetensors(folder / "model.safetensors")
    write_pth(folder / "other.pth", tensors)
    assert same_network(open_weights(str(folder / "other.pth")).network(), xcit)


def test_a_folder_of_one_file_is_that_file(tmp_path: pathlib.Path) -> None:
    network = made.network(head=None)
    folder = saved("dino", Weights({"teacher": network}), tmp_path / "out")
    (folder / "checkpoint.pth").rename(folder / "dino_tiny.pth")
    assert same_network(open_weights(str(folder)).network(), network)
    (folder / "other.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"several files of weights \(dino_tiny\.pth, other\.bin"):
        open_weights(str(folder))


@pytest.mark.parametrize("kind", ["orbax", "dino"])
def test_a_run_has_both_networks_and_its_optimiser_if_asked(
    tmp_path: pathlib.Path, kind: str
) -> None:
    weights = made.run()
    folder = saved(kind, weights, tmp_path / "run")
    made.alike(weights, open_weights(str(folder), optimiser=True))
    without = open_weights(str(folder))
    made.alike(weights._replace(optimiser=None), without)
    student = open_weights(f"{folder}:student")
    assert set(student.networks) == {"teacher"}
    assert student.centre is None
    assert same_network(student.network(), weights.network("student"))
    teacher = open_weights(f"{folder}:teacher")
    assert same_network(teacher.network(), weights.network("teacher"))
    made.same({"centre": teacher.centre}, {"centre": weights.centre})


def test_one_network_has_no_student(tmp_path: pathlib.Path) -> None:
    folder = saved("dino", Weights({"teacher": made.network(head=None)}), tmp_path / "out")
    with pytest.raises(UserError, match=f"{folder} holds no student: it has teacher"):
        open_weights(f"{folder}:student")


def test_a_path_that_ends_like_a_network_is_a_path(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "run:student"
    path.mkdir()
    assert split_network(str(path)) == (str(path), None)
    assert split_network("run:teacher") == ("run", "teacher")
    assert split_network("dino_vits16:full:student") == ("dino_vits16:full", "student")


def test_a_model_of_any_spec_computes(tmp_path: pathlib.Path) -> None:
    weights = made.run()
    folder = saved("dino", weights, tmp_path / "run")
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 64, 64, 3)), jnp.float32)
    features = {}
    for network in ("student", "teacher"):
        model, params, stats, config = load_model(str(folder), network)
        features[network] = model.features({**params, **stats}, images).cls
        assert config.crops.global_size == 64
        assert config.model.arch == "vit_tiny"
    assert features["student"].shape == (2, 192)
    assert not np.allclose(features["student"], features["teacher"])
    model, params, stats, _ = load_model(f"{folder}:student")
    np.testing.assert_array_equal(
        model.features({**params, **stats}, images).cls, features["student"]
    )


def test_a_card_says_what_a_bare_file_cannot(tmp_path: pathlib.Path) -> None:
    network = made.network(ModelConfig(arch="vit_tiny", width=32, heads=2, depth=1), None)
    folder = saved("dino", Weights({"teacher": network}), tmp_path / "out")
    with pytest.raises(UserError, match="how many heads"):
        open_weights(str(folder))
    described = {"model": vars(network.model), "head": None, "size": [64, 64]}
    write = safetensors.json.dumps({"dino_jax": {**described, "facts": {"steps": 5}}})
    (folder / "config.json").write_text(write)
    weights = open_weights(str(folder))
    assert same_network(weights.network(), network)
    assert weights.facts["steps"] == 5


def test_images_are_normalised_as_a_file_says(tmp_path: pathlib.Path) -> None:
    said = {"normalisation": [[0.5, 0.5, 0.5], [0.5, 0.5, 0.25]]}
    weights = Weights({"teacher": made.network(head=None)}, facts=said)
    for kind in ("timm", "transformers", "safetensors", "orbax"):
        config = load_model(str(saved(kind, weights, tmp_path / kind)))[3]
        assert (config.data.mean, config.data.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.25)), kind


def test_weights_one_folder_deeper_are_pointed_at(tmp_path: pathlib.Path) -> None:
    saved("safetensors", Weights({"teacher": made.network(head=None)}), tmp_path / "finetune-a")
    said = f"{tmp_path} itself holds no weights: give {tmp_path}/finetune-a/model.safetensors"
    with pytest.raises(UserError, match=re.escape(said)):
        open_weights(str(tmp_path))


def test_a_folder_named_by_a_number_is_no_checkpoint(tmp_path: pathlib.Path) -> None:
    network = made.network(head=None)
    folder = saved("timm", Weights({"teacher": network}), tmp_path / "out")
    (folder / "2024").mkdir()
    (folder / "²").mkdir()
    assert same_network(open_weights(str(folder)).network(), network)


@pytest.mark.parametrize("text", ["{", '{"name": "app"}', '{"architecture": "x86_64"}'])
def test_a_config_of_something_else_blocks_no_file(tmp_path: pathlib.Path, text: str) -> None:
    network = made.network(head=None)
    folder = saved("dino", Weights({"teacher": network}), tmp_path / "out")
    (folder / "config.json").write_text(text)
    assert same_network(open_weights(str(folder)).network(), network)
    (folder / "checkpoint.pth").rename(folder / "other.pth")
    assert same_network(open_weights(str(folder / "other.pth")).network(), network)


def test_a_file_of_another_library_is_read_once(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = made.network(head=None)
    folder = saved("transformers", Weights({"teacher": network}), tmp_path / "out")
    tensors, _ = safetensors.read_safetensors(folder / "model.safetensors")
    write_pth(folder / "pytorch_model.bin", tensors)
    for module in (hub, torchvision):
        monkeypatch.delattr(module, "read_pth")
    assert same_network(open_weights(str(folder / "pytorch_model.bin")).network(), network)


def test_a_pipe_is_not_waited_for(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    for path in (tmp_path / "pipe.pth", "/dev/zero"):
        with pytest.raises(UserError, match="is neither a file nor a folder"):
            open_weights(str(path))


def test_a_path_in_no_encoding(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    # a report with such a name in it does not pass from one test process to the other
    caplog.set_level(logging.CRITICAL, logger="dino_jax")
    weights = Weights({"teacher": made.network(head=None)})
    folder = tmp_path / os.fsdecode(b"w\xff")
    for kind in ("timm", "dino", "safetensors"):
        opened = open_weights(str(saved(kind, weights, folder)))
        assert opened.facts["source"].endswith("w\\udcff")
        for to in ("dino", "safetensors", "orbax", "transformers"):
            saved(to, opened, tmp_path / f"{kind} {to}")
            write_card(opened, "teacher", tmp_path / f"{kind} {to}", format="timm", size=None)
        folder.rename(tmp_path / f"was {kind}")
    with pytest.raises(UserError, match="has to be in UTF-8"):
        saved("orbax", weights, folder)


MISTAKES = {
    "": "no weights are named",
    "dino_vits61": "did you mean dino_vits16?",
    "dino_vits16:liner": "dino_vits16:full",
    "deit_small_16:full": "expected deit_small_16",
    "resnet50": "did you mean dino_resnet50?",
    "runs/absent": "there is no file or folder runs/absent",
    "absent.pth": "there is no file or folder absent.pth",
    "a\0b": "there is no file",
    "x" * 5000: "there is no file",
    "{at}/empty": "no checkpoint at",
    "{at}/text.txt": "text.txt",
    "{at}/page.safetensors": "page.safetensors",
    "{at}/model.onnx": "is written and not read",
}


@pytest.mark.parametrize("spec", MISTAKES)
def test_a_mistake_is_one_line(tmp_path: pathlib.Path, spec: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("text")
    (tmp_path / "page.safetensors").write_text("<html>")
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08")
    with pytest.raises(UserError) as caught:
        open_weights(spec.replace("{at}", str(tmp_path)), offline=True)
    assert MISTAKES[spec] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_published_names_are_all_there() -> None:
    assert len(OFFICIAL) == 12
    remotes = [
        remote
        for name in OFFICIAL
        for remote in (OFFICIAL[name].backbone, OFFICIAL[name].full, OFFICIAL[name].linear)
        if remote is not None
    ]
    assert len({remote.name for remote in remotes}) == len(remotes) == 30
    assert all(remote.url.startswith("https://") for remote in remotes)
    for remote in remotes:  # a checksum in a name is part of what is checked
        assert "-" not in remote.name or remote.name.endswith(f"-{remote.sha256}.pth")
    found = named("dino_vits16:linear")
    assert found is not None
    assert found[0].linear == Remote(
        "https://dl.fbaipublicfiles.com/dino/dino_deitsmall16_pretrain/"
        "dino_deitsmall16_linearweights.pth"
    )


def test_a_published_network_by_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From files put by hand: backbone, full checkpoint and linear head."""
    monkeypatch.setenv("DINO_JAX_CACHE", str(tmp_path))
    files = [Remote(f"https://example.invalid/{name}.pth") for name in ("bare", "full", "linear")]
    entry = Official("vit_tiny", 16, *files, {"knn_top1": 50.0}, features="interleaved")
    monkeypatch.setattr(official, "OFFICIAL", {"dino_test": entry})
    one = made.network(ModelConfig(arch="vit_tiny"), None)
    bare = {name.removeprefix("backbone."): one.params[name] for name in in_order(one.params)}
    write_pth(tmp_path / "bare.pth", bare)
    weights = open_weights("dino_test", offline=True)
    assert same_network(weights.network(), one)
    assert weights.facts["source"] == "dino_test"
    assert weights.facts["scores"] == {"knn_top1": 50.0}
    with pytest.raises(UserError, match=r"linear\.pth is not there and this run is offline"):
        open_weights("dino_test:linear", offline=True)
    head = {"linear.weight": np.ones((5, 384), np.float32), "linear.bias": np.zeros(5, np.float32)}
    write_pth(
        tmp_path / "linear.pth", {"state_dict": {f"module.{name}": head[name] for name in head}}
    )
    weights = open_weights("dino_test:linear", offline=True)
    assert weights.network().classifier["weight"].shape == (5, 384)
    assert weights.facts["features"] == "interleaved"
    write_pth(tmp_path / "full.pth", {"teacher": {f"backbone.{k}": v for k, v in bare.items()}})
    assert same_network(open_weights("dino_test:full", offline=True).network(), one)
