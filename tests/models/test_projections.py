"""Queries and keys of every block: with them attention can be had from any token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import HeadConfig, ModelConfig, UserError
from dino_jax.models.build import build

HEAD = HeadConfig(prototypes=8, hidden=8, bottleneck=4)
DEPTH = 3


def model(blocks="unrolled", arch="vit_small"):
    config = ModelConfig(arch=arch, patch_size=8, width=32, depth=DEPTH, heads=4, blocks=blocks)
    return build(config, HEAD, image_size=32)


def images():
    return jax.random.normal(jax.random.key(1), (2, 16, 24, 3))


@pytest.mark.parametrize("blocks", ["unrolled", "scanned"])
def test_they_make_the_map_of_every_block(blocks):
    network = model(blocks)
    params, _ = network.init(jax.random.key(0))
    found = network.features(params, images(), projections=DEPTH)
    assert len(found.projections) == DEPTH
    for block, both in enumerate(found.projections):
        assert both.shape == (2, 2, 4, 7, 8)
        made = jax.nn.softmax(both[:, 0] @ both[:, 1].swapaxes(2, 3), axis=-1)
        wanted = network.features(params, images(), attention=True, attention_block=block)
        np.testing.assert_allclose(made, wanted.attention, atol=1e-6)


def test_the_last_ones_are_those_of_the_last_blocks_and_nothing_else_changes():
    network = model()
    params, _ = network.init(jax.random.key(0))
    every = network.features(params, images(), projections=DEPTH)
    last = network.features(params, images(), projections=1)
    np.testing.assert_array_equal(last.projections[0], every.projections[-1])
    plain = network.features(params, images())
    assert plain.projections == ()
    np.testing.assert_allclose(plain.patches, every.patches, atol=1e-6)


def test_they_are_float32_where_the_products_are_not():
    config = ModelConfig(arch="vit_small", patch_size=8, width=32, depth=1, heads=4)
    network = build(config, HEAD, image_size=32, dtype=jnp.bfloat16)
    found = network.features(network.init(jax.random.key(0))[0], images(), projections=1)
    assert found.projections[0].dtype == jnp.float32


@pytest.mark.parametrize(("arch", "number"), [("vit_small", DEPTH + 1), ("xcit_small_12", 1)])
def test_more_blocks_than_there_are_is_one_line(arch, number):
    network = model(arch=arch)
    params, stats = network.init(jax.random.key(0))
    with pytest.raises(UserError, match=f"projections={number}: the model has [03] blocks"):
        network.features(params | stats, images(), projections=number)
