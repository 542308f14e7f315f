"""Label propagation against the original's, from its features of a made sequence."""

import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.ops import propagation
from tests import golden

PATCH = 8


@pytest.mark.parametrize("neighbourhood", [2, 0])
def test_segments_and_decisions_are_the_originals(neighbourhood):
    stored = golden.arrays("f_video_seg.npz")
    first = stored["first_seg"][0].transpose(1, 2, 0)
    rows, columns = first.shape[:2]

    def features(frame):
        return jnp.asarray(stored[f"feat{frame}"].T.reshape(rows, columns, -1))

    context = propagation.begin(features(0), jnp.asarray(first), length=3)
    for frame in range(1, 7):
        context, segments = propagation.advance(
            context, features(frame), neighbourhood=neighbourhood
        )
        theirs = stored[f"mask{neighbourhood}/seg_soft{frame}"][0].transpose(1, 2, 0)
        assert golden.relative_error(segments, theirs) <= 1e-5
        labels = propagation.decide(segments, patch=PATCH)
        np.testing.assert_array_equal(labels, stored[f"mask{neighbourhood}/seg_up{frame}"])
