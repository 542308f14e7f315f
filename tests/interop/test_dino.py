"""The original's `.pth`: every kind of file there and back, its prefixes, and what is refused."""

import json
import logging
import pathlib

import numpy as np
import pytest

from dino_jax.config import HeadConfig, ModelConfig, UserError
from dino_jax.interop.formats import dino
from dino_jax.interop.network import Weights
from dino_jax.interop.optimiser import in_order
from dino_jax.interop.pth import read_pth, write_pth
from tests.golden import COMMITTED
from tests.interop import made


def through(tree: object, folder: pathlib.Path, **known: ModelConfig) -> Weights:
    """The weights of a file that holds `tree`."""
    write_pth(folder / "file.pth", tree)
    return dino.load(folder / "file.pth", **known)


def bare(model: ModelConfig = made.TINY, **options: int) -> dict[str, np.ndarray]:
    """A backbone in the original's names, without a prefix."""
    one = made.network(model, None, **options)
    held = {**one.params, **one.stats}
    return {name.removeprefix("backbone."): held[name] for name in in_order(held)}


FULL = {
    "vit": (made.TINY, made.HEAD),
    "resnet": (made.RESNET, made.HEAD),
    "xcit": (made.XCIT, made.HEAD),
    "bn in head": (made.TINY, HeadConfig(12, 8, 4, batch_norm=True)),
    "trained scale": (made.TINY, HeadConfig(12, 8, 4, norm_last_layer=False)),
    "one layer": (made.TINY, HeadConfig(12, bottleneck=4, layers=1)),
    "own heads": (ModelConfig(arch="vit_tiny", width=32, heads=2, depth=2), made.HEAD),
}


@pytest.mark.parametrize(
    ("kind", "optimiser"),
    [*((kind, "adamw") for kind in FULL if kind != "resnet"), ("resnet", "sgd"), ("vit", "lars")],
)
def test_a_full_checkpoint_comes_back(tmp_path: pathlib.Path, kind: str, optimiser: str) -> None:
    weights = made.run(*FULL[kind], optimiser_name=optimiser)
    dino.save(weights, tmp_path)
    back = dino.load(tmp_path)
    made.alike(weights, back)
    assert {**back.facts, "source": "a test"} == weights.facts
    assert back.facts["source"] == str(tmp_path / "checkpoint.pth")
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.pth"]
    tree = read_pth(tmp_path / "checkpoint.pth")
    assert {"student", "teacher", "optimizer", "epoch", "args", "dino_loss"} <= set(tree)
    assert all(name.startswith(("module.backbone.", "module.head.")) for name in tree["student"])
    normed = kind in ("resnet", "xcit", "bn in head")
    begins = ("module.backbone.", "module.head.") if normed else ("backbone.", "head.")
    assert all(name.startswith(begins) for name in tree["teacher"])
    assert tree["dino_loss"]["center"].shape == (1, 12)
    assert tree["epoch"] == 7


@pytest.mark.parametrize("model", [made.TINY, made.RESNET])
@pytest.mark.parametrize("classes", [0, 5])
def test_a_backbone_comes_back(tmp_path: pathlib.Path, model: ModelConfig, classes: int) -> None:
    weights = Weights({"teacher": made.network(model, None, classes=classes)})
    dino.save(weights, tmp_path)
    made.alike(weights, dino.load(tmp_path))
    tree = read_pth(tmp_path / "checkpoint.pth")
    assert not any(name.startswith(("module.", "backbone.")) for name in tree)
    name = "fc.weight" if model.arch == "resnet50" else "head.weight"
    assert (name in tree) == bool(classes)


def test_a_part_and_a_network_can_be_chosen(tmp_path: pathlib.Path) -> None:
    weights = made.run()
    dino.save(weights, tmp_path, part="backbone", network="student")
    back = dino.load(tmp_path).network()
    assert back.head is None
    student = weights.network("student").params
    made.same(back.params, {n: v for n, v in student.items() if n.startswith("backbone.")})


@pytest.mark.parametrize(
    ("prefix", "wrapper"),
    [
        *((prefix, "") for prefix in ("", "module.", "backbone.", "module.backbone.")),
        *(("module.", wrapper) for wrapper in ("model", "state_dict", "teacher", "student")),
    ],
)
def test_every_prefix_and_wrapper_is_read(
    tmp_path: pathlib.Path, prefix: str, wrapper: str
) -> None:
    held = bare()
    named = {prefix + name: value for name, value in held.items()}
    weights = through({wrapper: named, "epoch": 3} if wrapper else named, tmp_path)
    network = weights.network("student" if wrapper == "student" else "teacher")
    made.same(network.params, {"backbone." + name: value for name, value in held.items()})
    assert network.model.arch == "vit_tiny"
    assert (network.model.patch_size, network.size) == (16, (64, 64))


def test_a_name_that_holds_a_prefix_elsewhere_keeps_it(tmp_path: pathlib.Path) -> None:
    """The original's own loader takes `module.` and `backbone.` out of the middle of names too."""
    held = bare() | {"blocks.module.0.weight": np.zeros(3, np.float32)}
    with pytest.raises(UserError, match=r"unexpected: blocks\.module\.0\.weight"):
        through(held, tmp_path)


def test_a_full_checkpoint_of_the_original(tmp_path: pathlib.Path) -> None:
    """Its arguments, its frozen last layer without moments, its integer steps."""
    weights = made.run()
    student = weights.network("student")
    moments = made.optimiser(student, frozen=True)
    dino.save(weights._replace(optimiser=moments), tmp_path)
    tree = read_pth(tmp_path / "checkpoint.pth")
    del tree["dino_jax"]
    for slots in tree["optimizer"]["state"].values():
        slots["step"] = int(slots["step"])
    tree["args"] = {"arch": "vit_tiny", "norm_last_layer": True, "out_dim": 12}
    tree["fp16_scaler"] = {"scale": 65536.0, "growth_factor": 2.0}
    back = through(tree, tmp_path)
    made.alike(weights._replace(optimiser=moments), back)
    assert back.facts["arguments"]["out_dim"] == 12
    dino.save(back, tmp_path)
    again = read_pth(tmp_path / "checkpoint.pth")
    assert again["args"] == tree["args"]
    made.same(again["student"], tree["student"])
    assert list(again["student"]) == list(tree["student"])


def test_the_arguments_say_whether_the_scale_is_fixed(tmp_path: pathlib.Path) -> None:
    weights = made.run(head=HeadConfig(12, 8, 4, norm_last_layer=False))
    scale = "head.last_layer.weight_g"
    for network in weights.networks.values():
        network.params[scale][:] = 1  # as before the first step
    dino.save(weights, tmp_path)
    tree = read_pth(tmp_path / "checkpoint.pth")
    del tree["dino_jax"]
    assert tree["args"]["norm_last_layer"] is False
    back = through(tree, tmp_path)
    made.alike(weights, back)


def test_the_order_is_that_of_a_real_file() -> None:
    names = json.loads((COMMITTED / "checkpoint_keys.json").read_text())
    for network in ("student", "teacher"):
        held = [name.removeprefix("module.") for name in names[network]]
        assert in_order(reversed(held)) == held


PARAMETERS = {  # in the order in which the originals' modules register them, as seen of them
    "xcit": (
        "cls_token patch_embed.proj.0.0.weight patch_embed.proj.0.1.weight "
        "patch_embed.proj.0.1.bias patch_embed.proj.0.1.running_mean "
        "patch_embed.proj.0.1.running_var patch_embed.proj.0.1.num_batches_tracked "
        "patch_embed.proj.2.0.weight blocks.1.gamma1 blocks.1.gamma2 blocks.1.gamma3 "
        "blocks.1.norm1.weight blocks.1.norm1.bias blocks.1.attn.temperature "
        "blocks.1.attn.qkv.weight blocks.1.attn.qkv.bias blocks.1.attn.proj.weight "
        "blocks.1.attn.proj.bias blocks.1.norm2.weight blocks.1.norm2.bias "
        "blocks.1.mlp.fc1.weight blocks.1.mlp.fc1.bias blocks.1.mlp.fc2.weight "
        "blocks.1.mlp.fc2.bias blocks.1.norm3.weight blocks.1.norm3.bias "
        "blocks.1.local_mp.conv1.weight blocks.1.local_mp.conv1.bias blocks.1.local_mp.bn.weight "
        "blocks.1.local_mp.bn.bias blocks.1.local_mp.conv2.weight blocks.1.local_mp.conv2.bias "
        "blocks.2.gamma1 blocks.10.gamma1 cls_attn_blocks.1.gamma1 cls_attn_blocks.1.gamma2 "
        "cls_attn_blocks.1.norm1.weight cls_attn_blocks.1.attn.qkv.weight "
        "cls_attn_blocks.1.attn.proj.bias cls_attn_blocks.1.norm2.bias "
        "cls_attn_blocks.1.mlp.fc1.weight norm.weight norm.bias "
        "pos_embeder.token_projection.weight pos_embeder.token_projection.bias"
    ),
    "resnet": (
        "conv1.weight bn1.weight bn1.bias layer1.0.conv1.weight layer1.0.bn1.weight "
        "layer1.0.conv2.weight layer1.0.bn2.weight layer1.0.conv3.weight layer1.0.bn3.bias "
        "layer1.0.downsample.0.weight layer1.0.downsample.1.weight layer1.1.conv1.weight "
        "layer4.0.conv1.weight"
    ),
}


@pytest.mark.parametrize("kind", PARAMETERS)
def test_the_order_is_that_of_the_modules(kind: str) -> None:
    names = [f"backbone.{name}" for name in PARAMETERS[kind].split()] + ["head.mlp.0.weight"]
    assert in_order(reversed(names)) == names


REFUSED = {
    "no dictionary": ([1, 2], "holds a list"),
    "empty": ({}, "it is empty"),
    "no tensors": ({"epoch": 3, "lr": 0.1}, "no state dict: epoch, lr"),
    "averaged": ({"model_ema": {}, "epoch": 1}, "only averaged weights"),
    "before June 2021": (
        {"teacher": {"cls_token": np.zeros(3), "projection_head.mlp.0.weight": np.zeros(3)}},
        "dino/issues/65",
    ),
    "linear": (
        {"state_dict": {"linear.weight": np.zeros((3, 4)), "linear.bias": np.zeros(3)}},
        "without a backbone",
    ),
    "twice": ({"module.a": np.zeros(3), "a": np.zeros(3)}, "both with and without"),
    "two classifiers": (
        {name: np.zeros(3) for name in ("cls_token", "head.weight", "fc.weight")},
        "holds two classifiers, head and fc",
    ),
    "odd entry": ({"teacher": {"a": np.zeros(3)}, "dino_jax": {"size": 3}}, "not as we write it"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_none_of_these_is_refused_in_one_line(tmp_path: pathlib.Path, kind: str) -> None:
    tree, line = REFUSED[kind]
    with pytest.raises(UserError) as caught:
        through(tree, tmp_path)
    assert line in str(caught.value)
    assert "file.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["missing", "unexpected", "of another shape"])
def test_a_file_is_read_strictly(tmp_path: pathlib.Path, change: str) -> None:
    held = bare()
    if change == "missing":
        del held["norm.bias"]
    elif change == "unexpected":
        held["norm2.bias"] = np.zeros(3, np.float32)
    else:
        held["norm.bias"] = np.zeros(3, np.float32)
    with pytest.raises(UserError, match=rf"{change}: (module\.)?norm"):
        through({f"module.{name}": value for name, value in held.items()}, tmp_path)


def test_another_network_than_named_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match="missing"):
        through(bare(), tmp_path, model=ModelConfig(arch="vit_tiny", depth=2))


def test_a_centre_of_another_head_is_refused(tmp_path: pathlib.Path) -> None:
    dino.save(made.run(), tmp_path)
    tree = read_pth(tmp_path / "checkpoint.pth")
    tree["dino_loss"] = {"center": np.zeros((1, 5), np.float32)}
    with pytest.raises(UserError, match="centre of shape"):
        through(tree, tmp_path)


DAMAGE = {
    "no groups": {"state": {}, "param_groups": []},
    "other groups": {"state": {}, "param_groups": [{"betas": (0.9, 0.999), "params": [0, 1]}]},
    "text": "state",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_foreign_optimiser_is_left_out_and_said(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    weights = made.run()
    dino.save(weights, tmp_path)
    tree = read_pth(tmp_path / "checkpoint.pth")
    tree["optimizer"] = DAMAGE[damage]
    with caplog.at_level(logging.WARNING, "dino_jax"):
        back = through(tree, tmp_path)
    made.alike(weights._replace(optimiser=None), back)
    assert any("left out" in line for line in caplog.messages)


@pytest.mark.parametrize("change", ["moment", "step", "number", "shape"])
def test_a_damaged_optimiser_is_left_out(tmp_path: pathlib.Path, change: str) -> None:
    dino.save(made.run(), tmp_path)
    tree = read_pth(tmp_path / "checkpoint.pth")
    state = tree["optimizer"]["state"]
    if change == "moment":
        del state[3]["exp_avg"]
    elif change == "step":
        state[3]["step"] = 1.5
    elif change == "number":
        state[10_000] = state[3]
    else:
        state[3]["exp_avg"] = np.zeros(1, np.float32)
    assert through(tree, tmp_path).optimiser is None


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"size": (96, 96)}, "--size"),
        ({"part": "full", "network": "student"}, "--network=student chooses one"),
    ],
)
def test_what_a_file_has_no_place_for_is_refused(
    tmp_path: pathlib.Path, options: dict, line: str
) -> None:
    with pytest.raises(UserError, match=line):
        dino.save(made.run(), tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_half_a_run_is_no_full_checkpoint(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match="needs student and teacher"):
        dino.save(Weights({"teacher": made.network()}), tmp_path, part="full")


def test_a_missing_tensor_is_not_exported(tmp_path: pathlib.Path) -> None:
    weights = made.run()
    del weights.network("teacher").params["head.mlp.0.bias"]
    with pytest.raises(UserError, match=r"missing: head\.mlp\.0\.bias"):
        dino.save(weights, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_linear_head_is_read_by_itself(tmp_path: pathlib.Path) -> None:
    head = {"module.linear.weight": np.ones((3, 4), np.float32), "module.linear.bias": np.ones(3)}
    write_pth(tmp_path / "linear.pth", {"epoch": 100, "state_dict": head, "best_acc": 77.0})
    found = dino.load_linear(tmp_path / "linear.pth")
    assert found["weight"].shape == (3, 4)
    assert found["bias"].shape == (3,)
    write_pth(tmp_path / "other.pth", bare())
    with pytest.raises(UserError, match=r"expected linear\.weight"):
        dino.load_linear(tmp_path / "other.pth")


def test_averaged_weights_beside_others_are_said(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = bare()
    averaged = {name: value + 1 for name, value in held.items()}
    back = through({"model_ema": averaged, "model": held}, tmp_path).network()
    made.same(back.params, {"backbone." + name: value for name, value in held.items()})
    assert "file.pth holds model and model_ema: model is read" in caplog.text


def test_what_a_bare_file_does_not_say_is_assumed_and_said(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = made.network(ModelConfig(arch="vit_tiny", heads=6, depth=1), None, size=(32, 128))
    dino.save(Weights({"teacher": one}), tmp_path)
    assert "does not say that this network has 6 heads and images of 32x128" in caplog.text
    with caplog.at_level(logging.INFO, "dino_jax"):
        back = dino.load(tmp_path).network()
    assert (back.model.heads, back.size) == (3, (64, 64))
    assert "does not say how many heads it has: 3 are assumed, those of vit_tiny" in caplog.text
    assert "square ones are assumed, of 64x64" in caplog.text


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"name": "my web app"}'])
def test_a_config_of_something_else_is_none(tmp_path: pathlib.Path, text: str) -> None:
    write_pth(tmp_path / "checkpoint.pth", bare())
    (tmp_path / "config.json").write_text(text)
    assert dino.load(tmp_path).network().model.arch == "vit_tiny"


def test_a_card_is_of_its_own_file(tmp_path: pathlib.Path) -> None:
    write_pth(tmp_path / "checkpoint.pth", bare())
    write_pth(tmp_path / "other.pth", bare())
    card = {"dino_jax": {"model": {"arch": "vit_tiny", "heads": 6, "depth": 1}, "size": [64, 64]}}
    (tmp_path / "config.json").write_text(json.dumps(card))
    assert dino.load(tmp_path).network().model.heads == 6
    assert dino.load(tmp_path / "other.pth").network().model.heads == 3
    (tmp_path / "config.json").rename(tmp_path / "other.config.json")
    assert dino.load(tmp_path / "other.pth").network().model.heads == 6
