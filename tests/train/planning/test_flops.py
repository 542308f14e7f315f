"""FLOPs of an image: the figures of issue 6, and those the compiler counts of the real step."""

import pytest

from dino_jax.config import Config
from dino_jax.train.planning.flops import per_image

NAMED = {
    ("vit_small", 16): (113.4, 123.4),
    ("vit_small", 8): (517, 557),
    ("vit_base", 16): (435, 473),
    ("vit_base", 8): (1862, 2015),
}


@pytest.mark.parametrize("network", NAMED)
def test_the_published_networks(network: tuple[str, int]) -> None:
    for crops, wanted in zip((8, 10), NAMED[network], strict=True):
        config = Config()
        config.model.arch, config.model.patch_size = network
        config.crops.local_number = crops
        found = per_image(config)
        assert found is not None
        assert found / 1e9 == pytest.approx(wanted, rel=2e-3)


def test_without_local_crops_there_are_two_views_less_their_pixels() -> None:
    config = Config()
    config.crops.local_number = 0
    config.head.layers, config.head.bottleneck, config.head.prototypes = 1, 8, 4
    config.model.width, config.model.depth, config.model.heads = 16, 1, 2
    config.crops.global_size, config.model.patch_size = 32, 16
    n, d = 5, 16
    patches = 2 * 4 * 3 * 16 * 16 * d
    forward = patches + 24 * n * d * d + 4 * n * n * d + 2 * (d * 8 + 8 * 4)
    assert per_image(config) == 2 * (3 * forward - patches) + 2 * forward


def test_other_families_have_no_count() -> None:
    config = Config()
    config.model.arch = "resnet50"
    assert per_image(config) is None
