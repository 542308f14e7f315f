"""Features of images of many sizes: order, batches, and what is kept on disk."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.data.camvid import open_camvid
from dino_jax.data.voc import open_voc
from dino_jax.evals.dense import stream
from dino_jax.evals.dense.tokens import patch_features, training_tokens
from dino_jax.evals.store import FeatureStore
from dino_jax.interop.encoder import open_encoder
from dino_jax.train.sharding import make_mesh
from tests.data.layouts import write_camvid, write_voc
from tests.evals.dense.requests import diverged


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((360, 480), (448, 592)), ((480, 360), (592, 448)), ((100, 100), (448, 448)),
     ((10, 400), (448, 17920)), ((375, 500), (448, 592))],
)  # fmt: skip
def test_images_are_fitted_to_whole_patches(shape, wanted):
    image = np.zeros((*shape, 3), np.uint8)
    assert stream.fitted(image, short=448, patch=16).shape[:2] == wanted


def test_images_of_any_size_get_their_own_patches():
    encoder = open_encoder("pixels")
    random = np.random.default_rng(0)
    shapes = [(16, 24), (8, 8), (16, 24), (24, 16), (16, 24), (8, 8), (16, 24)]
    images = [random.integers(0, 256, (*shape, 3)).astype(np.uint8) for shape in shapes]
    extractor = patch_features(encoder, mesh=make_mesh(2), batch_size=3)
    found = {each.rest: each for each in extractor((image, k) for k, image in enumerate(images))}
    assert sorted(found) == list(range(7))
    for number, image in enumerate(images):
        alone = encoder.features({}, jnp.asarray(image[None], jnp.float32) / 255).patches[0]
        each = found[number]
        assert (each.rows * 8, each.columns * 8) == image.shape[:2]
        np.testing.assert_allclose(each.feature.reshape(alone.shape), alone, atol=1e-6)


def test_reading_ahead_keeps_the_order_and_hands_on_errors():
    assert list(stream.read_ahead(lambda index: index**2, range(50))) == [k**2 for k in range(50)]

    def fail(index):
        if index == 30:
            raise ValueError("thirty")
        return index

    with pytest.raises(ValueError, match="thirty"):
        list(stream.read_ahead(fail, range(50)))


def tokens(source, cache=None, encoder=None, **changed):
    encoder, options = encoder or open_encoder("pixels"), {"size": 16} | changed
    extractor = patch_features(encoder, mesh=make_mesh(1), batch_size=2)
    return training_tokens(
        encoder, source, store=FeatureStore(cache), extractor=extractor, **options
    )


def test_tokens_are_kept_by_what_they_depend_on(tmp_path):
    folder, cache = write_camvid(tmp_path / "camvid"), tmp_path / "cache"
    source = open_camvid(folder, "train")
    first = tokens(source)
    assert first.features.shape == (4 * 2 * 3, 48)
    assert first.shares.shape == (4 * 2 * 3, 11)
    for _ in range(2):
        kept = tokens(source, cache)
        np.testing.assert_array_equal(kept.features, first.features)
        np.testing.assert_array_equal(kept.shares, first.shares)
    assert len(list(cache.iterdir())) == 2
    assert tokens(source, cache, size=32).features.shape == (4 * 4 * 6, 48)
    cut = next(path for path in cache.iterdir() if path.suffix == ".tokens")
    cut.write_bytes(cut.read_bytes()[:100])
    np.testing.assert_array_equal(tokens(source, cache).features, first.features)


@pytest.mark.parametrize("part", ["mean", "std"])
def test_another_normalisation_is_another_key(tmp_path, part):
    source, pixels = open_camvid(write_camvid(tmp_path / "camvid"), "train"), open_encoder("pixels")
    other = dataclasses.replace(pixels, **{part: (0.3, 0.4, 0.5)})
    first, second = (tokens(source, tmp_path / "cache", each) for each in (pixels, other))
    assert not np.allclose(first.features, second.features)


def test_tokens_that_are_not_finite_are_refused_and_not_kept(tmp_path):
    source, cache = open_camvid(write_camvid(tmp_path / "camvid"), "train"), tmp_path / "cache"
    with pytest.raises(UserError, match="features of raw pixels are not all finite"):
        tokens(source, cache, diverged(open_encoder("pixels")))
    assert not list(cache.iterdir())


def test_tokens_that_are_there_are_not_computed_again(tmp_path, monkeypatch):
    source = open_camvid(write_camvid(tmp_path / "camvid"), "train")
    first, loaded, load = tokens(source, tmp_path / "cache"), [], source.load
    monkeypatch.setattr(source, "load", lambda index: loaded.append(index) or load(index))
    again = tokens(source, tmp_path / "cache")
    assert loaded == []
    np.testing.assert_array_equal(again.features, first.features)
    np.testing.assert_array_equal(again.shares, first.shares)


def test_rows_of_features_and_shares_belong_together(tmp_path):
    """Images of two sizes, batched by size: the square's colour is where its class is."""
    source = open_voc(write_voc(tmp_path, count=5), "train")
    found = tokens(source, size=32)
    red = found.features.reshape(len(found.features), 16, 3)[..., 0].mean(axis=1)
    ground, square = (np.flatnonzero(found.shares[:, label] > 0.99) for label in (0, 15))
    assert min(len(ground), len(square)) > 0
    assert red[ground].max() < 0.5 < red[square].min()
