"""Maps from any token, against the matrix of attention that the network itself returns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.viz.attend import maps
from dino_jax.viz.attend.maps import (
    attention_maps,
    check_attention,
    mean_of_heads,
    projections,
    token_at,
)
from tests.viz.attend.networks import DEPTH, HEADS, PATCH, diverged, pixels, resnet, vit, xcit

ROWS, COLUMNS = 3, 4


def picture(channels=3):
    shape = (ROWS * PATCH, COLUMNS * PATCH, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@functools.cache
def matrices(encoder_of):
    """The whole attention of each of two blocks, as the network returns it."""
    encoder = encoder_of()

    @functools.partial(jax.jit, static_argnames="block")
    def attention(params, images, block):
        return encoder.features(params, images, attention=True, attention_block=block).attention[0]

    normal = encoder.prepared(jnp.asarray(picture())[None])
    return [np.asarray(attention(encoder.params, normal, block)) for block in range(2)]


@pytest.mark.parametrize("block", [0, 1, -1, -2])
def test_a_map_is_a_row_of_the_matrix(block):
    encoder, points = vit(), [(0.99, 0.0), (0.3, 0.5)]
    found = attention_maps(encoder, picture(), block=block, points=points)
    assert found.shape == (3, HEADS, ROWS, COLUMNS)
    assert found.dtype == np.float32
    matrix = matrices(vit)[block]
    for query, token in enumerate((0, 1 + 3, 1 + 1 * COLUMNS + 1)):
        wanted = matrix[:, token, 1:].reshape(HEADS, ROWS, COLUMNS)
        np.testing.assert_allclose(found[query], wanted, rtol=2e-5)


def test_projections_are_of_the_blocks_asked_for():
    every = projections(vit(), picture())
    assert every.blocks == tuple(range(DEPTH))
    assert (every.rows, every.columns) == (ROWS, COLUMNS)
    last = projections(vit(), picture(), blocks=(-1,))
    assert last.blocks == (DEPTH - 1,)
    np.testing.assert_array_equal(last.keys[0], every.keys[-1])
    np.testing.assert_array_equal(last.attention(-1, 5), every.attention(1, 5))
    with pytest.raises(UserError, match="block 0 is not held: 1 are"):
        last.attention(0, 0)
    sums = every.attention(0, 2).sum(axis=-1)
    np.testing.assert_allclose(sums, 1, rtol=1e-6)


def test_a_network_is_compiled_once_for_a_shape():
    projections(vit(), picture())
    before = maps._projected._cache_size()
    attention_maps(vit(), picture(), block=0, points=[(0.5, 0.5)])
    projections(vit(), picture()[::-1].copy(), blocks=(0,))
    assert maps._projected._cache_size() == before


def test_both_class_blocks_of_an_xcit_have_a_map_of_cls():
    encoder = xcit()
    for block in (-2, -1, 0, 1):
        found = attention_maps(encoder, picture(), block=block)
        wanted = matrices(xcit)[block][:, 0, 1:]
        np.testing.assert_allclose(found[0].reshape(HEADS, -1), wanted, rtol=1e-5)
    with pytest.raises(UserError, match=r"XCiT: only its class token attends"):
        attention_maps(encoder, picture(), points=[(0.5, 0.5)])
    with pytest.raises(UserError, match="has 2 blocks with a class token"):
        attention_maps(encoder, picture(), block=2)
    with pytest.raises(UserError, match="is an XCiT"):
        projections(encoder, picture())


@pytest.mark.parametrize("encoder", [resnet, pixels])
def test_what_has_no_attention_says_what_has(encoder):
    with pytest.raises(UserError, match="has no attention: give a ViT"):
        attention_maps(encoder(), picture())


@pytest.mark.parametrize("block", [DEPTH, -DEPTH - 1])
def test_a_block_beyond_the_network_is_one_line(block):
    with pytest.raises(UserError, match=f"--block={block}: small has 2 blocks"):
        check_attention(vit(), block=block)
    assert check_attention(vit(), block=-2) == 0


@pytest.mark.parametrize(
    ("point", "token"),
    [((0, 0), 1), ((1, 0), 4), ((0, 1), 9), ((1, 1), 12), ((0.49, 0.34), 6), ((0.5, 0.33), 3)],
)
def test_a_point_lies_in_its_patch(point, token):
    assert token_at(point, ROWS, COLUMNS) == token


@pytest.mark.parametrize("point", [(-0.1, 0), (0.5, 1.01), (float("nan"), 0)])
def test_a_point_outside_is_one_line(point):
    with pytest.raises(UserError, match="expected shares of width and height between 0 and 1"):
        token_at(point, ROWS, COLUMNS)


def test_softmax_of_large_logits_is_finite():
    found = maps.softmax(np.array([[1e4, 1e4, -1e4]]))
    np.testing.assert_allclose(found, [[0.5, 0.5, 0]])


@pytest.mark.parametrize("encoder_of", [vit, xcit])
def test_weights_that_diverged_are_one_line(encoder_of):
    encoder = diverged(encoder_of)
    with pytest.raises(UserError, match="not all finite: these weights diverged: take an earlier"):
        attention_maps(encoder, picture())
    if encoder_of is vit:
        with pytest.raises(UserError, match="features of small are not all finite"):
            projections(encoder, picture())


def test_the_mean_over_heads_is_rounded_once():
    """In float32 the sum of three heads loses bits that a mask may hang on."""
    heads = np.random.default_rng(0).random((2, 3, 64, 64), np.float32)
    exact = [[sum(map(float, each)) / 3 for each in one.reshape(3, -1).T] for one in heads]
    found = mean_of_heads(heads)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.reshape(2, -1), np.array(exact).astype(np.float32))
    assert (heads.mean(axis=1) != found).any()
    np.testing.assert_array_equal(mean_of_heads(heads[1]), found[1])
