"""What linear classifiers are fed with, by architecture."""

import dataclasses

import jax
import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.evals.linear.features import linear_inputs, one_feature
from dino_jax.interop.encoder import open_encoder
from dino_jax.models.vit import Features
from tests.evals.embed.networks import DEPTH, WIDTH, encoder

IMAGES = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
BASE = dataclasses.replace(encoder(), arch="vit_base")


def computed(network, inputs):
    return np.asarray(jax.jit(inputs.function)(network.params, IMAGES))


def test_small_transformers_join_the_class_tokens_of_the_last_four_blocks_or_all():
    small = encoder()
    inputs = linear_inputs(small)
    assert inputs.what == f"cls-last-{DEPTH}"
    found = computed(small, inputs)
    assert found.shape == (2, DEPTH * WIDTH)
    blocks = small.features(small.params, IMAGES, blocks=DEPTH).blocks
    for number, block in enumerate(blocks):
        part = found[:, number * WIDTH : (number + 1) * WIDTH]
        np.testing.assert_allclose(part, block[:, 0], atol=1e-5)
    deeper = dataclasses.replace(small, depth=12)
    assert linear_inputs(deeper).what == "cls-last-4"
    assert linear_inputs(deeper, n_last_blocks=2).what == "cls-last-2"


def test_base_interleaves_class_token_and_mean_patch_token():
    """As `cat((cls.unsqueeze(-1), mean.unsqueeze(-1)), -1).reshape(batch, -1)` does."""
    found = computed(BASE, linear_inputs(BASE))
    features = BASE.features(BASE.params, IMAGES)
    assert found.shape == (2, 2 * WIDTH)
    np.testing.assert_allclose(found[:, 0::2], features.cls, atol=1e-5)
    np.testing.assert_allclose(found[:, 1::2], features.patches.mean(axis=1), atol=1e-5)


def test_one_block_is_the_feature_of_knn_under_the_same_name():
    small = encoder()
    one = linear_inputs(small, n_last_blocks=1)
    assert one.what == one_feature(small).what == "cls"
    np.testing.assert_allclose(
        computed(small, one), small.features(small.params, IMAGES).cls, atol=1e-5
    )
    assert linear_inputs(BASE, avgpool=False).what == "cls"
    assert linear_inputs(small, avgpool=True).what == linear_inputs(BASE).what


def test_what_has_no_blocks_gives_its_one_feature():
    for spec in ("pixels", "colour"):
        assert linear_inputs(open_encoder(spec, size=16)).what == "cls"
    resnet = dataclasses.replace(encoder(), arch="resnet50")
    assert linear_inputs(resnet).what == "cls"
    assert isinstance(resnet.features(resnet.params, IMAGES), Features)


@pytest.mark.parametrize(
    ("arch", "options", "said"),
    [
        ("vit_small", {"n_last_blocks": 2, "avgpool": True}, "the reference has no such feature"),
        ("vit_small", {"n_last_blocks": DEPTH + 1}, f"expected 1 to {DEPTH}"),
        ("vit_small", {"n_last_blocks": 0}, f"expected 1 to {DEPTH}"),
        ("vit_small", {"n_last_blocks": -1}, f"expected 1 to {DEPTH}"),
        ("resnet50", {"n_last_blocks": 4}, "--n-last-blocks: resnet50 has one feature"),
        ("xcit_small_12", {"avgpool": True}, "--avgpool: xcit_small_12 has one feature"),
    ],
)
def test_features_that_do_not_exist_are_refused(arch, options, said):
    with pytest.raises(UserError, match=said):
        linear_inputs(dataclasses.replace(encoder(), arch=arch), **options)
