"""The tables of names, read both ways."""

import numpy as np
import pytest

from dino_jax.config import ModelConfig, UserError
from dino_jax.interop.names import TABLES, called, inward, outward, theirs
from dino_jax.interop.strict import expected_shapes
from tests.interop.networks import same_tensors, value

LARGE = {
    "vit": ModelConfig(arch="vit_small", depth=12),
    "resnet": ModelConfig(arch="resnet50"),
    "xcit": ModelConfig(arch="xcit_small_12", patch_size=16),
}
COUNTS = {
    ("timm", "vit"): 150,
    ("transformers", "vit"): 198,
    ("transformers 5", "vit"): 198,
    ("timm", "resnet"): 318,
    ("torchvision", "resnet"): 318,
    ("timm", "xcit"): 381 + 2 * 4,
}
GOLDEN = {
    ("timm", "vit"): {
        "pos_embed": ("pos_embed",),
        "blocks.11.attn.qkv.bias": ("blocks.11.attn.qkv.bias",),
    },
    ("transformers", "vit"): {
        "cls_token": ("embeddings.cls_token",),
        "pos_embed": ("embeddings.position_embeddings",),
        "patch_embed.proj.bias": ("embeddings.patch_embeddings.projection.bias",),
        "blocks.10.norm1.weight": ("encoder.layer.10.layernorm_before.weight",),
        "blocks.3.attn.qkv.weight": (
            "encoder.layer.3.attention.attention.query.weight",
            "encoder.layer.3.attention.attention.key.weight",
            "encoder.layer.3.attention.attention.value.weight",
        ),
        "blocks.3.attn.proj.bias": ("encoder.layer.3.attention.output.dense.bias",),
        "blocks.0.norm2.bias": ("encoder.layer.0.layernorm_after.bias",),
        "blocks.0.mlp.fc1.weight": ("encoder.layer.0.intermediate.dense.weight",),
        "blocks.0.mlp.fc2.weight": ("encoder.layer.0.output.dense.weight",),
        "norm.bias": ("layernorm.bias",),
    },
    ("transformers 5", "vit"): {
        "blocks.3.attn.qkv.bias": (
            "layers.3.attention.q_proj.bias",
            "layers.3.attention.k_proj.bias",
            "layers.3.attention.v_proj.bias",
        ),
        "blocks.3.attn.proj.weight": ("layers.3.attention.o_proj.weight",),
        "blocks.3.mlp.fc2.bias": ("layers.3.mlp.fc2.bias",),
    },
    ("torchvision", "resnet"): {
        "layer1.0.downsample.1.num_batches_tracked": ("layer1.0.downsample.1.num_batches_tracked",),
    },
    ("timm", "xcit"): {
        "pos_embeder.token_projection.bias": ("pos_embed.token_projection.bias",),
        "blocks.0.attn.qkv.weight": ("blocks.0.attn.qkv.weight",),
        "cls_attn_blocks.1.attn.qkv.bias": (
            "cls_attn_blocks.1.attn.q.bias",
            "cls_attn_blocks.1.attn.k.bias",
            "cls_attn_blocks.1.attn.v.bias",
        ),
    },
}


@pytest.fixture(scope="module")
def held() -> dict[str, dict[str, np.ndarray]]:
    """The tensors of a network of each family, by our names."""
    return {
        family: {
            name: value(name, shape)
            for name, shape in expected_shapes(model, (32, 32), None, source="").items()
        }
        for family, model in LARGE.items()
    }


@pytest.mark.parametrize("key", TABLES, ids=" ".join)
def test_in_undoes_out_and_no_name_is_left(key: tuple, held: dict) -> None:
    tensors = held[key[1]]
    out = outward(TABLES[key], tensors, source="x")
    assert len(out) == COUNTS[key]
    assert all(array.flags.c_contiguous for array in out.values())
    assert same_tensors(inward(TABLES[key], out, source="x"), tensors)


@pytest.mark.parametrize(
    ("key", "ours"), [(key, ours) for key, rows in GOLDEN.items() for ours in rows]
)
def test_golden_names(key: tuple, ours: str) -> None:
    assert theirs(TABLES[key], f"backbone.{ours}") == GOLDEN[key][ours]


def test_rows_part_in_the_order_query_key_value(held: dict) -> None:
    weight = held["vit"]["backbone.blocks.0.attn.qkv.weight"]
    out = outward(TABLES["transformers", "vit"], held["vit"], source="x")
    for index, part in enumerate(("query", "key", "value")):
        found = out[f"encoder.layer.0.attention.attention.{part}.weight"]
        np.testing.assert_array_equal(found, weight[384 * index : 384 * (index + 1)])


def test_unknown_names_are_listed_both_ways() -> None:
    one = np.zeros(3, np.float32)
    foreign = ("blocks.00.norm1.bias", "xnorm.bias", "norm.biasx", "head.weight", "norm.gamma")
    with pytest.raises(UserError, match=r"unexpected: .*blocks.00.norm1.bias.*5 in all"):
        inward(TABLES["timm", "vit"], dict.fromkeys(foreign, one), source="x")
    for name in ("norm.bias", "head.mlp.0.bias", "backbone.norm.biases"):
        with pytest.raises(UserError, match=f"^the net .*unexpected: {name}$"):
            outward(TABLES["timm", "vit"], {name: one}, source="the net")
    with pytest.raises(UserError, match="5 in all"):
        outward(TABLES["timm", "vit"], {f"backbone.a{i}": one for i in range(5)}, source="x")


def test_parts_have_to_be_whole_and_alike() -> None:
    table = TABLES["transformers", "vit"]
    names = theirs(table, "backbone.blocks.0.attn.qkv.bias")
    parts = {name: np.zeros(4, np.float32) for name in names}
    whole = inward(table, parts, source="x")
    assert whole["backbone.blocks.0.attn.qkv.bias"].shape == (12,)
    for name in names:
        fewer = {other: part for other, part in parts.items() if other != name}
        with pytest.raises(UserError, match=f"missing: {name}$"):
            inward(table, fewer, source="x")
    with pytest.raises(
        UserError, match=rf"of another shape: {names[2]} is \(5,\), expected \(4,\)"
    ):
        inward(table, parts | {names[2]: np.zeros(5, np.float32)}, source="x")
    with pytest.raises(UserError, match="expected rows"):
        inward(table, {name: np.zeros((), np.float32) for name in names}, source="x")
    with pytest.raises(UserError, match=r"qkv.bias is \(13,\), expected 3 equal parts"):
        outward(table, {"backbone.blocks.0.attn.qkv.bias": np.zeros(13)}, source="x")


def test_what_is_not_contiguous_becomes_so_and_scalars_stay() -> None:
    turned = np.arange(12, dtype=np.float32).reshape(3, 4).T
    out = outward(TABLES["timm", "vit"], {"backbone.blocks.0.mlp.fc1.weight": turned}, source="x")
    (array,) = out.values()
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, turned)
    counter = {"backbone.bn1.num_batches_tracked": np.asarray(7, np.int64)}
    (array,) = outward(TABLES["timm", "resnet"], counter, source="x").values()
    assert (array.shape, array.dtype) == ((), np.int64)


def test_names_for_messages() -> None:
    table = TABLES["transformers", "vit"]
    assert called(table, "backbone.norm.bias") == "layernorm.bias"
    assert called(table, "backbone.blocks.0.attn.qkv.bias").count("encoder.layer.0") == 3
    assert called(table, "head.mlp.0.bias") == "head.mlp.0.bias"
