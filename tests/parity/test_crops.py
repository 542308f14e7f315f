"""Crop geometry and resizing against the original's (torchvision's boxes, Pillow's pixels)."""

import math

import numpy as np
import pytest

from dino_jax.data.crops import Box, cut, draw_box
from dino_jax.data.evaluation import eval_image
from dino_jax.data.randomness import Purpose, generator
from tests import golden

RATIO = (3 / 4, 4 / 3)
DRAWS = 10_000  # as many as the golden figures were made from


def test_cut_crops_are_pillows_to_the_last_bit() -> None:
    file = golden.arrays("g_ops.npz")
    keys = [key for key in file if key.startswith("rrc/")]
    assert keys
    for key in keys:
        top, left, height, width, size = (int(part) for part in key.split("/")[1].split("_"))
        ours = cut(file["img"], [Box(top, left, height, width)], size)[0]
        np.testing.assert_array_equal(ours, file[key])


def test_flipped_crop_is_pillows_to_the_last_bit() -> None:
    file = golden.arrays("g_ops.npz")
    image = np.ascontiguousarray(file["img"][:72, :72])
    flipped = cut(image, [Box(0, 0, 72, 72, flip=True)], 72)[0]
    np.testing.assert_array_equal(flipped, file["hflip"][:, -72:])


def test_evaluation_image_is_the_originals_to_the_last_bit() -> None:
    file = golden.arrays("g_ops.npz")
    ours = eval_image(file["eval_src"], size=224, resize=256)
    np.testing.assert_array_equal(ours, file["eval_256_224"])


def cases() -> list[tuple[str, float, float, int, int]]:
    sizes = ("500x375", "256x256", "640x200", "32x32")
    kinds = ("global_0.4_1", "local_0.05_0.4", "global_0.14_1")
    return [
        (f"crop/{kind}/{size}", *map(float, kind.split("_")[1:]), *map(int, size.split("x")))
        for kind in kinds
        for size in sizes
    ]


@pytest.mark.parametrize(("key", "low", "high", "width", "height"), cases())
def test_crop_boxes_are_distributed_as_the_originals(
    key: str, low: float, high: float, width: int, height: int
) -> None:
    theirs = golden.read_json("g_aug_stats.json")[key]
    ours = statistics(low, high, width, height)
    for name in ("area", "logaspect", "cx", "cy"):
        values, std = ours[name], theirs[f"{name}_std"]
        error = std * math.sqrt(2 / DRAWS)  # of the difference of two sample means
        assert abs(values.mean() - theirs[f"{name}_mean"]) <= 5 * error, name
        # The fourth moment is unknown to the file; 4 bounds the kurtosis of what is seen here,
        # but where nearly every box is the fallback the tails decide.
        spread = math.sqrt(max(kurtosis(values), 2) / (2 * DRAWS))
        assert abs(values.std() / std - 1) <= 5 * spread, name
    assert_quantiles(ours["area"], theirs["q"], theirs["area_q"])
    assert_quantiles(np.exp(ours["logaspect"]), theirs["q"], theirs["aspect_q"])


def statistics(low: float, high: float, width: int, height: int) -> dict[str, np.ndarray]:
    random = generator(0, 0, 0, 0, Purpose.GEOMETRY)
    boxes = np.array(
        [draw_box(random, height, width, scale=(low, high), ratio=RATIO)[:4] for _ in range(DRAWS)],
        np.float64,
    )
    top, left, h, w = boxes.T
    return {
        "area": h * w / (height * width),
        "logaspect": np.log(w / h),
        "cx": (left + w / 2) / width,
        "cy": (top + h / 2) / height,
    }


def kurtosis(values: np.ndarray) -> float:
    centred = values - values.mean()
    return float((centred**4).mean() / (centred**2).mean() ** 2)


def assert_quantiles(values: np.ndarray, percents: list[float], quantiles: list[float]) -> None:
    """Each golden quantile cuts our sample at its own share, up to sampling error and atoms."""
    for percent, quantile in zip(percents, quantiles, strict=True):
        share = percent / 100
        error = 5 * math.sqrt(max(share * (1 - share), 1e-4) * 2 / DRAWS)
        slack = 1e-9 * abs(quantile)
        assert (values < quantile - slack).mean() - error <= share
        assert (values <= quantile + slack).mean() + error >= share
