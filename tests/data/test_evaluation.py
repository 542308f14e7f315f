import logging

import numpy as np
import pytest
from PIL import Image

from dino_jax.config import CropsConfig
from dino_jax.data.crops import cut_crops
from dino_jax.data.evaluation import default_resize, eval_batches, eval_image, view_batches
from tests.data.fakes import FakeSource
from tests.data.images import pixels


@pytest.mark.parametrize(
    ("height", "width", "resized"), [(50, 70, (32, 44)), (71, 50, (45, 32)), (32, 32, (32, 32))]
)
def test_short_side_is_resized_and_the_centre_cut(
    height: int, width: int, resized: tuple[int, int]
) -> None:
    image = pixels(0, (height, width, 3))
    whole = np.asarray(Image.fromarray(image).resize(resized[::-1], Image.Resampling.BICUBIC))
    top, left = round((resized[0] - 28) / 2), round((resized[1] - 28) / 2)
    ours = eval_image(image, size=28, resize=32)
    np.testing.assert_array_equal(ours, whole[top : top + 28, left : left + 28])


def test_default_is_256_for_224_and_less_than_the_crop_is_refused() -> None:
    assert (default_resize(224), default_resize(32)) == (256, 37)
    with pytest.raises(ValueError, match="less than"):
        eval_image(pixels(), size=32, resize=31)


def test_batches_keep_the_order_and_the_last_is_filled_up() -> None:
    source = FakeSource(9, sizes=4)
    wanted = [8, 0, 3, 5, 1]
    batches = list(eval_batches(source, wanted, size=16, batch_size=2))
    assert [batch.images.shape for batch in batches] == [(2, 16, 16, 3)] * 3
    assert np.concatenate([batch.index for batch in batches]).tolist() == [*wanted, -1]
    for row, index in enumerate(wanted):
        image = batches[row // 2].images[row % 2]
        np.testing.assert_array_equal(image, eval_image(source.load(index), size=16))
    assert not batches[2].images[1].any()
    assert list(eval_batches(source, [], size=16, batch_size=2)) == []


def test_an_unreadable_image_is_named_and_leaves_an_empty_row(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = FakeSource(3, damaged={1})
    with caplog.at_level(logging.WARNING):
        (batch,) = eval_batches(source, np.arange(3), size=16, batch_size=3)
    assert batch.index.tolist() == [0, -1, 2]
    assert not batch.images[1].any()
    assert caplog.messages == ["skipped unreadable image number 1 (damaged)"]


def test_views_are_the_training_crops_of_epoch_0() -> None:
    crops = CropsConfig(global_size=12, local_size=6, local_number=4)
    source = FakeSource(5)
    (batch,) = view_batches(source, [4, 2], crops, seed=7, batch_size=3)
    assert batch.images.shape == (3, 2, 12, 12, 3)
    expected = cut_crops(source.load(4), crops, seed=7, epoch=0, example=4).views
    np.testing.assert_array_equal(batch.images[0], expected)
    assert batch.index.tolist() == [4, 2, -1]
