"""The maps that figures, pages and films show, and their masks, against the original's."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import HeadConfig, ModelConfig
from dino_jax.interop.encoder import NETWORK, Encoder
from dino_jax.models.build import Model, build
from dino_jax.models.naming import under
from dino_jax.ops.attention_mask import enlarged
from dino_jax.viz.attend import colour
from dino_jax.viz.attend.maps import attention_maps
from tests import golden
from tests.parity.test_vit import tiny

SIZES = [("vit_tiny16", "160x288"), ("vit_small16", "320x208"), ("vit_small8", "96x96")]
"""Of `test_vit.TRUE_SIZES`: oblong, and the small patch."""


def encoder_of(model: Model, params: dict[str, jax.Array], normal: np.ndarray) -> Encoder:
    """An encoder whose input is `normal`, whatever the pixels: a formula's, and no photograph."""
    given = jnp.asarray(normal.transpose(0, 2, 3, 1))

    def features(params: dict[str, jax.Array], images: jax.Array, **options: int) -> object:
        return model.features(params, given + 0 * images, **options)

    return Encoder(
        "golden", "golden", NETWORK, "golden", params, normal.shape[2], None, (0.0,) * 3,
        (1.0,) * 3, 3, model.patch_size, model.width, model.depth, model.heads, "vit", "float32",
        features,
    )  # fmt: skip


def cls_maps(model: Model, params: dict[str, jax.Array], normal: np.ndarray) -> np.ndarray:
    height, width = normal.shape[2:]
    pixels = np.zeros((height, width, 3), np.uint8)
    return attention_maps(encoder_of(model, params, normal), pixels)[0]


@cache
def true_size(name: str) -> tuple[Model, dict[str, jax.Array]]:
    arch, patch = name.rstrip("0123456789"), int(name.removeprefix(name.rstrip("0123456789")))
    model = build(
        ModelConfig(arch=arch, patch_size=patch),
        HeadConfig(prototypes=1, hidden=1, bottleneck=1),
        image_size=224,
    )
    shapes = jax.eval_shape(model.init, jax.random.key(0))[0]
    return model, {
        key: jnp.asarray(golden.weight(key.removeprefix("backbone."), leaf.shape))
        for key, leaf in shapes.items()
        if key.startswith("backbone.")
    }


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_cls_maps_of_named_architectures(name: str, size: str) -> None:
    stored = under(f"{name}/{size}/", golden.arrays("a_vit_true.npz"))["attn_cls_row"]
    height, width = (int(side) for side in size.split("x"))
    found = cls_maps(*true_size(name), golden.inputs(f"{name}_{size}", (1, 3, height, width)))
    assert golden.relative_error(found.reshape(len(found), -1), stored[:, 1:]) <= 1e-5


@cache
def tiny_maps() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What is stored of the tiny network, and our maps of the same picture."""
    stored, model = golden.arrays("f_attention.npz"), tiny()
    shapes = jax.eval_shape(model.init, jax.random.key(0))[0]
    params = {
        key: jnp.asarray(golden.weight(key.removeprefix("backbone."), leaf.shape))
        for key, leaf in shapes.items()
        if key.startswith("backbone.")
    }
    return stored, cls_maps(model, params, stored["x"])


def test_cls_maps_are_the_original_s() -> None:
    stored, found = tiny_maps()
    wanted = stored["attn"][0, :, 0, 1:]
    assert golden.relative_error(found.reshape(len(found), -1), wanted) <= 1e-5


@pytest.mark.parametrize("mass", [0.1, 0.6, 0.9])
def test_masks_of_our_own_maps_are_the_original_s_patch_for_patch(mass: float) -> None:
    """From the picture to the mask: not one patch of 320 on the other side of the threshold."""
    stored, found = tiny_maps()
    masks = colour.masks(found, mass)
    np.testing.assert_array_equal(masks, stored[f"model/mask_{mass}"].astype(bool))
    wanted = stored[f"model/mask_{mass}_up"].astype(bool)
    np.testing.assert_array_equal(enlarged(masks, 8), wanted)
    drawn = [colour.enlarged(mask.astype(np.float32), *wanted.shape[1:]) for mask in masks]
    np.testing.assert_array_equal(np.stack(drawn) > 0, wanted)
