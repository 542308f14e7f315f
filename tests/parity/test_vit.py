"""The vision transformer against the original, float32, on golden tensors."""

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import HeadConfig, ModelConfig
from dino_jax.models.build import Model, build
from dino_jax.models.naming import under, unflatten
from dino_jax.models.vit import VisionTransformer
from tests import golden

TINY_SIZES = ("48x48", "24x24", "64x64", "48x64", "64x40", "50x70", "96x32")
TRUE_SIZES = [
    ("vit_tiny16", "224x224"),
    ("vit_tiny16", "96x96"),
    ("vit_tiny16", "160x288"),
    ("vit_small16", "224x224"),
    ("vit_small16", "96x96"),
    ("vit_small16", "320x208"),
    ("vit_small8", "96x96"),
    ("vit_small8", "64x112"),
    ("vit_base16", "224x224"),
    ("vit_base16", "96x96"),
]


def tiny(blocks: str = "unrolled") -> Model:
    sizes, head = golden.meta()["tiny_vit"], golden.meta()["head"]
    return build(
        ModelConfig(
            width=sizes["width"],
            depth=sizes["depth"],
            heads=sizes["heads"],
            patch_size=sizes["patch"],
            blocks=blocks,
        ),
        HeadConfig(prototypes=head["out"], hidden=head["hidden"], bottleneck=head["bottleneck"]),
        image_size=sizes["image"],
    )


def nhwc(images: np.ndarray) -> jax.Array:
    return jnp.asarray(images.transpose(0, 2, 3, 1))


def stored(arrays: dict[str, np.ndarray], prefix: str = "") -> dict[str, jax.Array]:
    return {prefix + name: jnp.asarray(leaf) for name, leaf in under("w/", arrays).items()}


def test_stored_weights_are_those_of_the_formula() -> None:
    for name, leaf in under("w/", golden.arrays("a_vit_tinytest.npz")).items():
        np.testing.assert_array_equal(golden.weight(name, leaf.shape), leaf, err_msg=name)


@pytest.mark.parametrize("size", TINY_SIZES)
def test_tiny_outputs(size: str) -> None:
    arrays = golden.arrays("a_vit_tinytest.npz")
    params, images = stored(arrays, "backbone."), nhwc(arrays[f"{size}/x"])
    found = jax.jit(partial(tiny().features, blocks=2, attention=True))(params, images)
    ours = {
        "cls": found.cls,
        "last_attn": found.attention,
        "inter0": found.blocks[0],
        "inter1": found.blocks[1],
    }
    for name, value in ours.items():
        assert golden.relative_error(value, arrays[f"{size}/{name}"]) <= 1e-5, name
    np.testing.assert_array_equal(found.patches, found.blocks[1][:, 1:])


@pytest.mark.parametrize("size", TINY_SIZES)
def test_tiny_tokens(size: str) -> None:
    """Patches, positions and their sum, before the first block."""
    arrays, sizes = golden.arrays("a_vit_tinytest.npz"), golden.meta()["tiny_vit"]
    vit = VisionTransformer(
        sizes["width"], sizes["depth"], sizes["heads"], sizes["patch"], sizes["image"]
    )
    variables, images = {"params": unflatten(stored(arrays))}, nhwc(arrays[f"{size}/x"])

    @jax.jit
    def run(variables: dict, images: jax.Array) -> tuple:
        patches = vit.apply(variables, images, method=lambda self, x: self.patch_embed(x))
        return patches, vit.apply(variables, images, method="tokens")

    patches, tokens = (np.asarray(out) for out in run(variables, images))
    assert golden.relative_error(patches, arrays[f"{size}/patch_embed"]) <= 1e-5
    assert golden.relative_error(tokens, arrays[f"{size}/tokens0"]) <= 1e-5
    cls = np.broadcast_to(arrays["w/cls_token"], (2, 1, tokens.shape[-1]))
    positions = tokens - np.concatenate([cls, patches], axis=1)
    assert golden.relative_error(positions[:1], arrays[f"{size}/pos_embed"]) <= 1e-5


@pytest.mark.parametrize("size", ["48x48", "64x40"])
def test_scanned_blocks_give_the_same(size: str) -> None:
    arrays = golden.arrays("a_vit_tinytest.npz")
    params, images = stored(arrays, "backbone."), nhwc(arrays[f"{size}/x"])
    found = jax.jit(tiny("scanned").features)(params, images)
    assert golden.relative_error(found.cls, arrays[f"{size}/cls"]) <= 1e-5


@cache
def true_size(name: str) -> tuple[Callable, dict[str, jax.Array]]:
    """A named architecture with the formula's weights."""
    arch, patch = name.rstrip("0123456789"), int(name.removeprefix(name.rstrip("0123456789")))
    config = ModelConfig(arch=arch, patch_size=patch)
    model = build(config, HeadConfig(prototypes=1, hidden=1, bottleneck=1), image_size=224)
    shapes = jax.eval_shape(model.init, jax.random.key(0))[0]
    params = {
        key: jnp.asarray(golden.weight(key.removeprefix("backbone."), leaf.shape))
        for key, leaf in shapes.items()
        if key.startswith("backbone.")
    }
    return jax.jit(partial(model.features, blocks=4, attention=True)), params


@pytest.mark.parametrize(("name", "size"), TRUE_SIZES)
def test_named_architectures(name: str, size: str) -> None:
    arrays = under(f"{name}/{size}/", golden.arrays("a_vit_true.npz"))
    features, params = true_size(name)
    height, width = (int(side) for side in size.split("x"))
    images = golden.inputs(f"{name}_{size}", (1, 3, height, width))
    found = features(params, nhwc(images))
    blocks = np.stack([np.asarray(block[0]) for block in found.blocks])
    ours = {
        "cls": found.cls[0],
        "cls_f64": found.cls[0],
        "attn_cls_row": found.attention[0, :, 0],
        "inter4_cls": blocks[:, 0],
        "inter4_tokmean": blocks[:, 1:].mean(axis=1),
        "last_tokens_every17": blocks[-1, ::17],
    }
    for key, value in ours.items():
        assert golden.relative_error(value, arrays[key]) <= 1e-5, key
