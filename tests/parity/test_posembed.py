"""Interpolated position embeddings against the original's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.models.posembed import interpolate
from tests import golden

SIZES = {
    16: "96x96 112x112 160x160 224x224 240x224 224x240 256x256 384x384 480x480 480x848 320x208 "
    "64x112",
    8: "96x96 112x112 160x160 224x224 240x224 224x240 256x256 384x384 480x480 320x208 64x112",
}
CASES = [(patch, size) for patch, sizes in SIZES.items() for size in sizes.split()]


def test_every_stored_size_is_compared() -> None:
    stored = {key for key in golden.arrays("a_posembed.npz") if not key.endswith("pos_embed")}
    assert stored == {f"p{patch}/{size}" for patch, size in CASES}


@pytest.mark.parametrize(("patch", "size"), CASES)
def test_interpolation(patch: int, size: str) -> None:
    arrays = golden.arrays("a_posembed.npz")
    height, width = (int(side) for side in size.split("x"))
    ours = interpolate(jnp.asarray(arrays[f"p{patch}/pos_embed"]), height, width, patch)
    assert golden.relative_error(ours, arrays[f"p{patch}/{size}"]) <= 1e-5


def test_ready_made_resizing_would_not_do() -> None:
    """What this test would let through: it must see the errors known of other methods."""
    arrays = golden.arrays("a_posembed.npz")
    grid = arrays["p16/pos_embed"][0, 1:].reshape(14, 14, -1)
    stored = arrays["p16/96x96"][0, 1:].reshape(6, 6, -1)
    for antialias in (True, False):
        other = jax.image.resize(grid, stored.shape, "cubic", antialias=antialias)
        assert np.linalg.norm(np.asarray(other) - stored) > 0.2 * np.linalg.norm(stored)
