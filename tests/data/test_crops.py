import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dino_jax.config import CropsConfig
from dino_jax.data.crops import Box, cut, cut_crops, draw_box, draw_boxes, resize_image
from dino_jax.data.randomness import Purpose, generator
from tests.data.images import pixels

RATIO = (3 / 4, 4 / 3)
CROPS = CropsConfig(global_size=12, local_size=6, local_number=3)


def boxes(height: int, width: int, count: int = 50, **kwargs: tuple[float, float]) -> list[Box]:
    options = {"scale": (0.05, 0.4), "ratio": RATIO} | kwargs
    random = generator(0, 0, 0, 0, Purpose.GEOMETRY)
    return [draw_box(random, height, width, **options) for _ in range(count)]


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 2**32))
def test_boxes_lie_inside_the_image(height: int, width: int, seed: int) -> None:
    random = generator(seed, 0, 0, 0, Purpose.GEOMETRY)
    for _ in range(5):
        box = draw_box(random, height, width, scale=(0.05, 1.0), ratio=RATIO)
        assert 0 <= box.top <= box.top + box.height <= height
        assert 0 <= box.left <= box.left + box.width <= width
        assert box.height >= 1
        assert box.width >= 1


def test_area_and_aspect_lie_in_their_ranges() -> None:
    for box in boxes(400, 300, count=500):
        # Rounding each side to whole pixels moves the quotient of the sides a little.
        assert 0.05 * 0.97 <= box.height * box.width / 120_000 <= 0.4 * 1.03
        assert 0.75 * 0.98 <= box.width / box.height <= 4 / 3 * 1.02


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (100, 1000, Box(0, 433, 100, 133)),  # too wide: the widest box allowed, at the centre
        (1000, 90, Box(440, 0, 120, 90)),  # too high
        (1, 1, Box(0, 0, 1, 1)),
    ],
)
def test_the_fallback_is_the_largest_centred_box(height: int, width: int, expected: Box) -> None:
    # More than the whole area is wanted, so that no try succeeds.
    assert set(boxes(height, width, scale=(5.0, 6.0))) == {expected}


def test_the_fallback_takes_the_whole_image_where_its_aspect_is_allowed() -> None:
    assert set(boxes(100, 120, scale=(5.0, 6.0))) == {Box(0, 0, 100, 120)}


def test_every_box_takes_the_same_number_of_draws() -> None:
    after = []
    for scale in ((0.05, 0.4), (5.0, 6.0)):
        random = generator(0, 0, 0, 0, Purpose.GEOMETRY)
        draw_box(random, 50, 60, scale=scale, ratio=RATIO)
        after.append(random.random())
    assert after[0] == after[1]


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_flips_are_as_frequent_as_asked_and_leave_the_box(probability: float, share: float) -> None:
    random, again = (generator(0, 0, 0, 0, Purpose.GEOMETRY) for _ in range(2))
    flips = 0
    for _ in range(1000):
        plain = draw_box(again, 60, 50, scale=(0.1, 0.4), ratio=RATIO)
        box = draw_box(random, 60, 50, scale=(0.1, 0.4), ratio=RATIO, flip_probability=probability)
        assert box[:4] == plain[:4]
        flips += box.flip
    assert abs(flips / 1000 - share) < 0.08


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_a_crop_is_each_channels_crop_and_nothing_outside_it_matters(channels: int) -> None:
    image = pixels(0, (40, 50, channels))
    box = Box(5, 7, 20, 30, flip=True)
    ours = cut(image, [box], 16)[0]
    assert ours.shape == (16, 16, channels)
    for c in range(channels):
        plane = Image.fromarray(np.ascontiguousarray(image[5:25, 7:37, c]))
        theirs = np.asarray(plane.resize((16, 16), Image.Resampling.BICUBIC))[:, ::-1]
        np.testing.assert_array_equal(ours[:, :, c], theirs)
    outside = 255 - image
    outside[5:25, 7:37] = image[5:25, 7:37]
    np.testing.assert_array_equal(cut(outside, [box], 16)[0], ours)


def test_a_transparent_channel_does_not_weigh_the_others() -> None:
    image = pixels(0, (20, 20, 4))
    opaque = image.copy()
    opaque[:, :, 3] = 255
    box = [Box(0, 0, 20, 20)]
    np.testing.assert_array_equal(cut(image, box, 9)[..., :3], cut(opaque, box, 9)[..., :3])


def test_a_crop_by_another_filter_is_pillows() -> None:
    image = pixels(shape=(40, 50, 3))
    box = Box(5, 7, 24, 30, flip=True)
    part = Image.fromarray(image[5:29, 7:37]).resize((9, 9), Image.Resampling.BILINEAR)
    expected = np.asarray(part)[:, ::-1]
    np.testing.assert_array_equal(cut(image, [box], 9, Image.Resampling.BILINEAR)[0], expected)
    assert not np.array_equal(cut(image, [box], 9)[0], expected)


def test_a_box_of_the_same_size_is_copied() -> None:
    image = pixels(0, (20, 20, 3))
    np.testing.assert_array_equal(cut(image, [Box(2, 3, 8, 8)], 8)[0], image[2:10, 3:11])
    np.testing.assert_array_equal(resize_image(image, 20, 20), image)


def test_crops_depend_on_seed_epoch_and_example_alone() -> None:
    image = pixels(0, (64, 48, 3))

    def crops(seed: int, epoch: int, example: int) -> np.ndarray:
        found = cut_crops(image, CROPS, seed=seed, epoch=epoch, example=example)
        return np.concatenate([found.views.ravel(), found.locals.ravel()])

    base = crops(1, 2, 3)
    np.testing.assert_array_equal(crops(1, 2, 3), base)
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert (crops(*other) != base).any()


def test_a_crop_does_not_change_with_the_number_of_the_others() -> None:
    few, many = (
        draw_boxes(64, 48, CropsConfig(local_number=number), seed=0, epoch=0, example=0)
        for number in (1, 8)
    )
    assert many[:3] == few
    assert len(set(many)) == 10


def test_views_and_locals_have_their_scales_and_shapes() -> None:
    found = cut_crops(pixels(0, (30, 40, 3)), CROPS, seed=0, epoch=0, example=0)
    assert found.views.shape == (2, 12, 12, 3)
    assert found.locals.shape == (3, 6, 6, 3)
    none = CropsConfig(global_size=12, local_size=6, local_number=0)
    assert cut_crops(pixels(), none, seed=0, epoch=0, example=0).locals.shape == (0, 6, 6, 3)


def test_photometrics_see_every_crop_with_its_view_number() -> None:
    seen = []

    def photometric(crop: np.ndarray, view: int) -> np.ndarray:
        seen.append((view, crop.shape[0]))
        return np.full_like(crop, view)

    found = cut_crops(pixels(), CROPS, seed=0, epoch=0, example=0, photometric=photometric)
    assert seen == [(0, 12), (1, 12), (2, 6), (3, 6), (4, 6)]
    assert [int(crop.min()) for crop in [*found.views, *found.locals]] == [0, 1, 2, 3, 4]
