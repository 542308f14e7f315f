"""The masks of attention mass against the original's, decision by decision."""

import numpy as np
import pytest

from dino_jax.ops import attention_mask
from tests import golden

ROWS, COLUMNS, PATCH = 8, 10, 8


@pytest.mark.parametrize("fraction", [0.1, 0.6, 0.9])
@pytest.mark.parametrize("of", ["model", "rand"])
def test_masks_are_the_original_s(of, fraction):
    stored = golden.arrays("f_attention.npz")
    rows = {"model": stored["attn"][0, :, 0], "rand": stored["attn_rand_cls_row"]}[of]
    masks = attention_mask.mass_masks(rows[:, 1:], fraction).reshape(-1, ROWS, COLUMNS)
    np.testing.assert_array_equal(masks, stored[f"{of}/mask_{fraction}"].astype(bool))
    enlarged = attention_mask.enlarged(masks, PATCH)
    np.testing.assert_array_equal(enlarged, stored[f"{of}/mask_{fraction}_up"].astype(bool))
