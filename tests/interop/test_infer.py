"""Networks told from their tensors, and strictness."""

import dataclasses
import time

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from dino_jax.config import HeadConfig, ModelConfig, UserError
from dino_jax.interop.infer import configs_of, filled, network_from
from dino_jax.interop.network import Network
from dino_jax.interop.positions import at_size
from dino_jax.interop.strict import check_network, expected_shapes
from dino_jax.models.build import build
from dino_jax.models.posembed import interpolate
from tests.interop.networks import HEAD, RESNET, VIT, XCIT, differences, features, network

TINY = dataclasses.replace(VIT, width=192, heads=3)  # told by its width
HEADS = (
    HeadConfig(prototypes=9, hidden=HeadConfig.hidden, bottleneck=6, layers=1),
    HeadConfig(prototypes=9, hidden=7, bottleneck=6, layers=2, batch_norm=True),
    HeadConfig(prototypes=9, hidden=7, bottleneck=6, layers=3),
    HeadConfig(prototypes=9, hidden=7, bottleneck=6, layers=4, batch_norm=True),
)


def held(one: Network) -> dict:
    return {**one.params, **one.stats}


TOLD = (
    TINY,
    RESNET,
    dataclasses.replace(RESNET, width=64, channels=1),
    XCIT,
    dataclasses.replace(XCIT, patch_size=16),
)


@pytest.mark.parametrize("model", TOLD)
def test_a_network_is_told_by_names_and_shapes(model: ModelConfig) -> None:
    expected = network(model, head=HEAD)
    assert differences(network_from(held(expected), source="x"), expected) == []


@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("model", [TINY, XCIT])
def test_channels_are_told(model: ModelConfig, channels: int) -> None:
    expected = network(dataclasses.replace(model, channels=channels))
    assert network_from(held(expected), source="x").model.channels == channels


@pytest.mark.parametrize("head", HEADS, ids=lambda head: f"{head.layers} layers")
def test_heads_are_told(head: HeadConfig) -> None:
    expected = network(TINY, (32, 32), head=head)
    assert differences(network_from(held(expected), source="x"), expected) == []


def test_a_scale_that_is_not_one_was_trained() -> None:
    expected = network(TINY, (32, 32), head=HEAD)
    tensors = held(expected)
    tensors["head.last_layer.weight_g"] = tensors["head.last_layer.weight_g"] * np.float32(1.5)
    found = network_from(tensors, source="x").head
    assert found == dataclasses.replace(HEAD, norm_last_layer=False)


def test_heads_of_attention_are_in_no_shape() -> None:
    expected = network(VIT)
    with pytest.raises(UserError, match="width 32, and no shape says how many heads"):
        network_from(held(expected), source="x")
    assert differences(network_from(held(expected), source="x", heads=4), expected) == []
    assert differences(network_from(held(expected), source="x", model=VIT), expected) == []


def test_sizes_that_are_not_square_have_to_be_told() -> None:
    expected = network(TINY, (24, 40))
    with pytest.raises(UserError, match="15 patches, which is no square"):
        network_from(held(expected), source="x")
    found = network_from(held(expected), source="x", size=(24, 40))
    assert differences(found, expected) == []
    with pytest.raises(UserError, match="pos_embed is"):
        network_from(held(expected), source="x", size=(24, 48))


def strictness() -> list:
    one = np.zeros(3, np.float32)
    return [
        ({"backbone.norm.bias": None}, "missing: backbone.norm.bias"),
        ({"head.mlp.0.bias": None}, "missing: head.mlp.0.bias"),
        ({"head.last_layer.weight_g": None}, "missing: head.last_layer.weight_g"),
        ({"backbone.extra": one}, "unexpected: backbone.extra"),
        ({"extra": one, "module.x": one}, "unexpected: extra, module.x"),
        ({"head.mlp.7.bias": one}, "unexpected: head.mlp.7.bias"),
        ({"backbone.blocks.7.norm1.bias": one}, "unexpected: backbone.blocks.7.norm1.bias"),
        ({"backbone.norm.bias": one}, r"backbone.norm.bias is \(3,\), expected \(192,\)"),
        ({"backbone.cls_token": np.zeros((1, 192), np.float32)}, r"cls_token is \(1, 192\)"),
    ]


@pytest.mark.parametrize(("change", "words"), strictness(), ids=str)
def test_strict(change: dict, words: str) -> None:
    whole = network(TINY, (32, 32), head=HEAD)
    tensors = {**held(whole), **change}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    with pytest.raises(UserError, match=f"^the file .*{words}") as raised:
        network_from(tensors, source="the file", model=TINY)
    assert "\n" not in str(raised.value)
    broken = whole._replace(params=tensors)
    with pytest.raises(UserError, match=f"^the file .*{words}"):
        check_network(broken, source="the file")


def test_many_are_counted_and_named_as_the_file_does() -> None:
    tensors = {name: array for name, array in held(network(TINY)).items() if "bias" not in name}
    with pytest.raises(UserError, match=r"missing: <.*> … \(14 in all\)$"):
        network_from(tensors, source="x", called=lambda name: f"<{name}>")


def test_types_are_exact() -> None:
    expected = network(RESNET)
    whole = held(expected)
    name, counter = "backbone.bn1.weight", "backbone.bn1.num_batches_tracked"
    for kind in (np.float16, ml_dtypes.bfloat16):
        found = network_from(whole | {name: whole[name].astype(kind)}, source="x")
        assert found.params[name].dtype == np.float32
        np.testing.assert_array_equal(
            found.params[name], whole[name].astype(kind).astype(np.float32)
        )
    for kind in (np.float64, np.int32, np.complex64, bool, "S4"):
        with pytest.raises(UserError, match=r"bn1.weight is .*, expected float32, float16 or bfl"):
            network_from(whole | {name: whole[name].astype(kind)}, source="x")
    for count in (np.int32(7), np.asarray(7, ">i8"), np.uint8(7)):
        found = network_from(whole | {counter: np.asarray(count)}, source="x")
        assert found.stats[counter].dtype == np.dtype(np.int64)
        assert found.stats[counter] == 7
    for count in (np.asarray(1 << 31), np.asarray(-1), np.float32(7)):
        with pytest.raises(UserError, match="expected a count from 0 to below"):
            network_from(whole | {counter: np.asarray(count)}, source="x")


def test_layouts_become_contiguous() -> None:
    expected = network(TINY, (32, 32))
    turned = {
        name: np.asfortranarray(array) if array.ndim > 1 else np.repeat(array, 2)[::2]
        for name, array in held(expected).items()
    }
    assert differences(network_from(turned, source="x"), expected) == []


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({}, "holds no tensors"),
        ({"a": np.zeros(1)}, "none of our networks: .* found no backbone"),
        ({"backbone.a": np.zeros(1)}, "none of our networks: .* found a"),
        ({"backbone.patch_embed.proj.weight": np.zeros(3)}, "holds no whole backbone"),
    ],
)
def test_what_is_no_network(tensors: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        network_from(tensors, source="x")


@pytest.mark.parametrize(
    "change",
    [
        {"width": 1 << 20, "heads": 1},
        {"depth": 1 << 30},
        {"depth": 50},
        {"channels": 10**11},
        {"patch_size": 10**6},
    ],
    ids=str,
)
def test_sizes_beyond_the_tensors_are_refused_at_once(change: dict) -> None:
    model = dataclasses.replace(TINY, **change)
    with pytest.raises(UserError, match="far too few for a network of width"):
        network_from(held(network(TINY, (32, 32))), source="x", model=model)
    grown = held(network(TINY, (32, 32), head=HEAD))
    grown["head.last_layer.weight_v"] = np.broadcast_to(np.float32(1), (1 << 20, 1))
    grown["head.mlp.0.weight"] = np.broadcast_to(np.float32(1), (1 << 20, 1))
    with pytest.raises(UserError, match="far too few"):
        network_from(grown, source="x", model=TINY)


@pytest.mark.parametrize("model", [RESNET, XCIT], ids=lambda model: model.arch)
def test_channels_beyond_the_tensors_are_refused_at_once(model: ModelConfig) -> None:
    tensors = held(network(model))
    with pytest.raises(UserError, match=r"far too few .* 100000000000 channels"):
        network_from(tensors, source="x", model=dataclasses.replace(model, channels=10**11))


@pytest.mark.parametrize(
    "change", [{"channels": 0}, {"channels": -3}, {"patch_size": 0}, {"patch_size": -8}], ids=str
)
def test_sizes_that_are_none(change: dict) -> None:
    tensors = held(network(TINY, (32, 32)))
    with pytest.raises(UserError, match="expected positive numbers"):
        network_from(tensors, source="x", model=dataclasses.replace(TINY, **change))
    with pytest.raises(UserError, match="images of 32x0 is none"):
        network_from(tensors, source="x", model=TINY, size=(32, 0))


def test_a_head_of_more_layers_than_tensors() -> None:
    tensors = held(network(TINY, (32, 32), head=HEAD))
    deep = dataclasses.replace(HEAD, layers=10**9, hidden=0)
    with pytest.raises(UserError, match="far too few"):
        network_from(tensors, source="x", model=TINY, head=deep)


def test_one_tensor_a_block_is_no_network() -> None:
    """Nothing is built of blocks that a file only claims: it took half a minute."""
    tensors = held(network(TINY, (32, 32)))
    claimed = {f"backbone.blocks.{i}.x": np.zeros(1, np.float32) for i in range(400)}
    begun = time.perf_counter()
    with pytest.raises(UserError, match="far too few for a network of width 192, depth 400"):
        network_from(tensors | claimed, source="x")
    whole = {f"backbone.blocks.{i}.{j}": np.zeros(1) for i in range(400) for j in range(12)}
    with pytest.raises(UserError, match=r"missing: .*unexpected: "):
        network_from(tensors | whole, source="x")
    assert time.perf_counter() - begun < 5


@pytest.mark.parametrize("model", [dataclasses.replace(TINY, depth=3), XCIT, RESNET])
@pytest.mark.parametrize("head", [None, HEADS[3]])
def test_shapes_are_those_of_the_whole_model(model: ModelConfig, head: HeadConfig | None) -> None:
    """Though only its first block is built."""
    size = (32, 32) if model.arch.startswith("vit") else (224, 224)
    built = build(filled(model), head or HEAD, image_size=size[0])
    params, stats = jax.eval_shape(built.init, jax.random.key(0))
    wanted = {name: leaf.shape for name, leaf in {**params, **stats}.items()}
    if head is None:
        wanted = {name: wanted[name] for name in wanted if not name.startswith("head.")}
    assert expected_shapes(model, size, head, source="x") == wanted


@pytest.mark.parametrize(
    "classifier",
    [
        {"weight": np.zeros((5, 3))},
        {"weight": np.zeros((5, 3)), "bias": np.zeros(4)},
        {"weight": np.zeros(5), "bias": np.zeros(5)},
        {"weight": np.zeros((5, 3)), "bias": np.zeros(5), "scale": np.zeros(5)},
    ],
    ids=str,
)
def test_classifiers_are_whole(classifier: dict) -> None:
    tensors = held(network(TINY, (32, 32)))
    with pytest.raises(UserError, match=r"expected weight \(classes, features\)"):
        network_from(tensors, source="x", classifier=classifier)


@pytest.mark.parametrize(("model", "size"), [(TINY, (16, 24)), (RESNET, (224, 224))])
def test_its_model_runs(model: ModelConfig, size: tuple) -> None:
    one = network(model, size, head=HEAD)
    assert configs_of(one) == (filled(model), HEAD)
    found = features(one, np.zeros((2, 16, 24, 3), np.float32))
    assert found.cls.shape == (2, found.patches.shape[-1])


def test_positions_of_another_size() -> None:
    one = network(TINY, (32, 32))
    for size in ((24, 24), (16, 40), (35, 33)):
        other = at_size(one, size)
        assert other.size == size
        expected = interpolate(jnp.asarray(one.params["backbone.pos_embed"]), *size, 8)
        np.testing.assert_array_equal(other.params["backbone.pos_embed"], expected)
        check_network(other, source="x")
    assert at_size(one, None) is one
    assert differences(at_size(one, (39, 39))._replace(size=(32, 32)), one) == []


def test_positions_that_cannot_be() -> None:
    baked = network(TINY, (16, 40))
    assert differences(at_size(baked, (16, 40)), baked) == []
    with pytest.raises(UserError, match="those of 16x40 alone"):
        at_size(baked, (32, 32))
    with pytest.raises(UserError, match="no patch of 8"):
        at_size(baked, (32, 7))
    with pytest.raises(UserError, match="expected two positive numbers"):
        at_size(baked, (0, 32))
    resnet = network(RESNET)
    assert at_size(resnet, (50, 70)) is resnet
