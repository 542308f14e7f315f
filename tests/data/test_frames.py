"""Frames at the sizes of label propagation: to the byte as OpenCV resizes them."""

import zlib

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.data.frames import frame_size, nearest, resized


def made(height, width):
    y, x, c = np.indices((height, width, 3))
    return ((y * y * 7 + x * 31 + x * y * 3 + c * 97) % 256).astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "wanted", "expected"),
    [
        ((37, 50), (64, 128), 2106707022),
        ((48, 85), (64, 64), 4180758359),
        ((100, 31), (40, 27), 4270807068),
        ((24, 40), (12, 20), 2372551303),
        ((5, 3), (5, 64), 2434420463),
    ],
)
def test_bytes_are_those_of_opencv(shape, wanted, expected):
    # zlib.crc32 of what cv2.resize (5.0.0, INTER_LINEAR) gives of the same array.
    assert zlib.crc32(resized(made(*shape), *wanted).tobytes()) == expected


def linear_by_loops(image, height, width):
    """Half-pixel centres, the border repeated, in float64."""
    found = np.zeros((height, width, image.shape[2]))
    for y in range(height):
        for x in range(width):
            row = (y + 0.5) * image.shape[0] / height - 0.5
            column = (x + 0.5) * image.shape[1] / width - 0.5
            for i in (int(np.floor(row)), int(np.floor(row)) + 1):
                for j in (int(np.floor(column)), int(np.floor(column)) + 1):
                    weight = (1 - abs(row - i)) * (1 - abs(column - j))
                    inside = min(max(i, 0), len(image) - 1), min(max(j, 0), image.shape[1] - 1)
                    found[y, x] += weight * image[inside]
    return found


@pytest.mark.parametrize("wanted", [(24, 16), (11, 40), (5, 7), (48, 32), (24, 17)])
def test_values_are_those_of_linear_interpolation(wanted):
    image = np.random.default_rng(0).integers(0, 256, (24, 16, 3)).astype(np.uint8)
    found = resized(image, *wanted)
    assert found.shape == (*wanted, 3)
    assert (
        abs(found - linear_by_loops(image, *wanted)).max() < 1
    )  # it cuts off where a float would round


def test_a_frame_of_its_own_size_stays_as_it_is():
    image = made(13, 22)
    np.testing.assert_array_equal(resized(image, 13, 22), image)


@pytest.mark.parametrize(
    ("frame", "side", "patch", "expected"),
    [
        ((480, 854), 480, 16, (480, 832)),  # what all but a few of DAVIS-2017 have
        ((480, 910), 480, 8, (480, 896)),
        ((854, 480), 480, 16, (832, 480)),
        ((1080, 1920), 480, 8, (480, 832)),
        ((480, 480), 480, 8, (480, 448)),  # a square is cut as the original cuts it
        ((480, 854), 96, 16, (96, 128)),
        ((480, 854), 480, 5, (480, 850)),  # 64 is no multiple: the patch is
    ],
)
def test_sizes_are_those_of_the_original(frame, side, patch, expected):
    assert frame_size(*frame, side=side, patch=patch) == expected


def test_a_size_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match="--size=100 is no multiple of the patch, 16: 96 is, say"):
        frame_size(480, 854, side=100, patch=16)
    with pytest.raises(UserError, match="--size=32 is too small: expected at least 64"):
        frame_size(480, 854, side=32, patch=16)


def test_labels_take_those_of_the_nearest_pixel():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(nearest(labels, 1, 2), [[5, 7]])
    np.testing.assert_array_equal(nearest(labels, 6, 8), labels.repeat(2, 0).repeat(2, 1))
