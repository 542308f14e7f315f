"""What the names of features mean."""

import jax
import numpy as np
import pytest

from dino_jax.config import ModelConfig, UserError
from dino_jax.evals.embed.feature import Feature, feature_function, feature_shape, parse_feature
from dino_jax.interop.encoder import open_encoder
from tests.evals.embed.networks import DEPTH, PATCH, SIZE, WIDTH, encoder

PATCHES = (SIZE // PATCH) ** 2
SHAPES = {
    "cls": (WIDTH,),
    "patch-mean": (WIDTH,),
    "cls+patch-mean": (2 * WIDTH,),
    "patches": (PATCHES, WIDTH),
    "tokens": (PATCHES + 1, WIDTH),
    "block:1": (WIDTH,),
    "block:-2:patches": (PATCHES, WIDTH),
}


@pytest.fixture(scope="module")
def found() -> dict[str, np.ndarray]:
    """Every feature of two images, and all blocks."""
    one = encoder()
    images = jax.random.normal(jax.random.key(1), (2, SIZE, SIZE, 3))
    names = [*SHAPES, "block:0", "block:-1", f"block:-{DEPTH}", "block:1:tokens", "block:1:cls"]
    functions = {name: feature_function(one, parse_feature(name)) for name in names}

    def everything(params, images):
        rows = {name: function(params, images) for name, function in functions.items()}
        return rows, one.features(params, images, blocks=DEPTH)

    rows, full = jax.jit(everything)(one.params, images)
    return {name: np.asarray(row) for name, row in rows.items()} | {
        "all blocks": np.stack(full.blocks)
    }


def test_parsing_knows_every_form() -> None:
    assert parse_feature("cls") == Feature("cls", None)
    assert parse_feature("cls+patch-mean") == Feature("cls+patch-mean", None)
    assert parse_feature("block:3") == Feature("cls", 3)
    assert parse_feature("block:-1:patches") == Feature("patches", -1)


@pytest.mark.parametrize(
    "text", ["", "CLS", "block", "block:", "block:x", "block:1:", "block:1:x", "block:1cls", "cls "]
)
def test_anything_else_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(UserError, match="expected cls, patch-mean") as error:
        parse_feature(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", SHAPES)
def test_shape_is_known_before_anything_is_computed(
    text: str, found: dict[str, np.ndarray]
) -> None:
    assert feature_shape(encoder(seed=-1), parse_feature(text)) == SHAPES[text]
    assert found[text].shape == (2, np.prod(SHAPES[text]))


def test_features_are_parts_of_the_tokens(found: dict[str, np.ndarray]) -> None:
    tokens = found["tokens"].reshape(2, PATCHES + 1, WIDTH)
    np.testing.assert_array_equal(tokens[:, 0], found["cls"])
    np.testing.assert_array_equal(tokens[:, 1:].reshape(2, -1), found["patches"])
    mean = tokens[:, 1:].mean(axis=1)
    np.testing.assert_allclose(found["patch-mean"], mean, atol=1e-6)
    both = np.concatenate([tokens[:, 0], mean], axis=1)
    np.testing.assert_allclose(found["cls+patch-mean"], both, atol=1e-6)


def test_blocks_count_from_both_ends(found: dict[str, np.ndarray]) -> None:
    blocks = found["all blocks"]
    close = {"atol": 1e-5}
    np.testing.assert_allclose(found["block:0"], blocks[0][:, 0], **close)
    np.testing.assert_allclose(found[f"block:-{DEPTH}"], blocks[0][:, 0], **close)
    np.testing.assert_allclose(found["block:1"], blocks[1][:, 0], **close)
    np.testing.assert_allclose(found["block:-2:patches"], blocks[0][:, 1:].reshape(2, -1), **close)
    np.testing.assert_allclose(found["block:1:tokens"], blocks[1].reshape(2, -1), **close)
    np.testing.assert_allclose(found["block:-1"], found["cls"], **close)
    assert np.abs(found["block:0"] - found["block:1"]).max() > 0.01


@pytest.mark.parametrize("block", [DEPTH, -DEPTH - 1, 999])
def test_a_block_that_is_not_there_is_refused(block: int) -> None:
    with pytest.raises(UserError, match=f"has {DEPTH} blocks, 0 to {DEPTH - 1}"):
        feature_shape(encoder(seed=-1), Feature(block=block))


def test_networks_without_blocks_say_so() -> None:
    colour = open_encoder("colour", size=SIZE)
    assert feature_shape(colour, Feature()) == (216,)
    assert feature_shape(colour, Feature("patches")) == (4, 216)
    for feature in (Feature(block=0), Feature("tokens")):
        with pytest.raises(UserError, match="colour histogram has no blocks"):
            feature_shape(colour, feature)


def test_an_xcit_has_two_blocks_with_a_class_token() -> None:
    tiny = ModelConfig(arch="xcit_small_12", patch_size=8, width=32, depth=2, heads=4)
    one = encoder(tiny, seed=-1)
    assert feature_shape(one, Feature("patches", -2)) == (4, 32)
    with pytest.raises(UserError, match="has 2 blocks with a class token"):
        feature_shape(one, Feature("cls", 2))
