"""Student and teacher over crops of two resolutions against the original's wrapper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import HeadConfig, ModelConfig
from dino_jax.models.build import build
from dino_jax.models.naming import under
from dino_jax.types import Params
from tests import golden


def crop_major(x: jax.Array) -> np.ndarray:
    """(B, n, …) as the original lays it out: crop by crop."""
    x = np.asarray(x)
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])


@pytest.mark.parametrize("norm_last_layer", [0, 1])
def test_student_and_teacher(norm_last_layer: int) -> None:
    arrays = golden.arrays(f"d_multicrop_nll{norm_last_layer}.npz")
    sizes, head = golden.meta()["tiny_vit"], golden.meta()["head"]
    model = build(
        ModelConfig(
            width=sizes["width"],
            depth=sizes["depth"],
            heads=sizes["heads"],
            patch_size=sizes["patch"],
        ),
        HeadConfig(
            prototypes=head["out"],
            hidden=head["hidden"],
            bottleneck=head["bottleneck"],
            norm_last_layer=bool(norm_last_layer),
        ),
        image_size=sizes["image"],
    )
    params = {name: jnp.asarray(leaf) for name, leaf in under("w/", arrays).items()}
    assert set(params) == set(jax.eval_shape(model.init, jax.random.key(0))[0])
    crops = [
        jnp.asarray(np.stack([arrays[f"crop{i}"].transpose(0, 2, 3, 1) for i in group], axis=1))
        for group in ((0, 1), (2, 3, 4, 5))
    ]

    @jax.jit
    def run(params: Params, crops: list[jax.Array]) -> tuple:
        student, stats = model.apply(params, {}, crops)
        assert stats == {}
        teacher, _ = model.apply(params, {}, crops[:1])
        features = [
            model.features(params, x.reshape(-1, *x.shape[2:])).cls.reshape(*x.shape[:2], -1)
            for x in crops
        ]
        return student, teacher, jnp.concatenate(features, axis=1)

    for ours, name in zip(run(params, crops), ("student", "teacher", "backbone"), strict=True):
        assert golden.relative_error(crop_major(ours), arrays[f"{name}_out"]) <= 1e-5, name
