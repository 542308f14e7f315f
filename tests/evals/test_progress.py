"""Views that are the same in every run, and the figures made of them."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import AugmentConfig, Config, CropsConfig, DataConfig
from dino_jax.evals.descriptors import DESCRIPTORS, RAW_PIXELS
from dino_jax.evals.features import Extractor, normaliser
from dino_jax.evals.progress import ProgressEvaluator, plain_images
from dino_jax.evals.retrieval import ViewRetrieval, chosen, held_out_views
from tests.evals.sources import Coloured

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
NOTHING = AugmentConfig(
    jitter_probability=0.0,
    grayscale_probability=0.0,
    blur_probability=(0.0, 0.0, 0.0),
    solarize_probability=(0.0, 0.0, 0.0),
)
GREY = dataclasses.replace(NOTHING, grayscale_probability=0.5)  # quick to compile
WHOLE = CropsConfig(global_size=16, global_scale=(1, 1), ratio=(1, 1), flip_probability=0)
SMALL = CropsConfig(global_size=16, local_size=8)


def flat(params, images):
    return images.reshape(len(images), -1) * params["backbone.scale"]


@pytest.fixture
def params():
    return {"backbone.scale": jnp.float32(1)}


def views_of(source, *, crops=SMALL, augment=GREY, number=12):
    config = Config(crops=crops, augment=augment, data=DataConfig(mean=MEAN, std=STD))
    config.eval.retrieval_images = number
    return held_out_views(source, config)


def test_views_are_the_same_in_every_run_and_differ_from_each_other():
    source = Coloured(24)
    first, again = views_of(source).pixels(), views_of(source).pixels()
    np.testing.assert_array_equal(first, again)
    assert first.shape == (12, 2, 16, 16, 3)
    assert (first[:, 0] != first[:, 1]).any(axis=(1, 2, 3)).all()


def test_either_view_is_augmented_by_draws_of_its_own():
    pixels = views_of(Coloured(24), crops=WHOLE).pixels()
    first, second = (
        (pixels[:, view] == pixels[:, view, ..., :1]).all((1, 2, 3)) for view in (0, 1)
    )
    assert (first & ~second).any()
    assert (second & ~first).any()


def test_the_network_sees_the_pictures_normalised():
    views = views_of(Coloured(12))
    batch = {name: jnp.asarray(value) for name, value in next(iter(views.crops)).items()}
    normal = np.asarray(views.prepare(batch))
    levels = (normal * np.array(STD) + np.array(MEAN)) * 255
    np.testing.assert_allclose(levels, views.pixels(), atol=1e-3)


def test_without_augmentation_every_view_is_found(params):
    views = views_of(Coloured(24), crops=WHOLE, augment=NOTHING)
    retrieval = ViewRetrieval(flat, views, batch_size=5)
    assert retrieval.of_network(params) == {"view_retrieval_top1": 100}
    assert retrieval.of_descriptor(RAW_PIXELS[0]) == {"view_retrieval_top1": 100}
    assert retrieval.chance() == {"view_retrieval_top1": 100 / 12}


def test_constant_features_score_chance(params):
    retrieval = ViewRetrieval(flat, views_of(Coloured(24)))
    assert retrieval.of_network({"backbone.scale": jnp.float32(0)}) == retrieval.chance()


def test_no_variant_of_a_baseline_is_left_out():
    views = views_of(Coloured(24), crops=dataclasses.replace(SMALL, global_size=32))
    retrieval = ViewRetrieval(flat, views)
    for descriptor in DESCRIPTORS:
        alone = [
            retrieval.of_descriptor(descriptor._replace(variants=(variant,)))
            for variant in descriptor.variants
        ]
        highest = max(each["view_retrieval_top1"] for each in alone)
        assert retrieval.of_descriptor(descriptor)["view_retrieval_top1"] == highest


def test_the_evaluator_gives_its_three_figures(params):
    source = Coloured(24)
    extractor = Extractor(flat, normaliser(MEAN, STD), batch_size=8)
    plain = plain_images(source, number=12, size=16, resize=16)
    figures = ProgressEvaluator(flat, views_of(source), plain, extractor)(params, final=True)
    assert list(figures) == ["view_retrieval_top1", "effective_rank", "effective_rank_centred"]
    assert 0 <= figures["view_retrieval_top1"] <= 100
    assert 1 <= figures["effective_rank"] <= 12
    assert 1 <= figures["effective_rank_centred"] <= 11


def test_images_are_chosen_evenly_and_all_of_them_where_there_are_few():
    np.testing.assert_array_equal(chosen(Coloured(9), 3), [0, 4, 8])
    np.testing.assert_array_equal(chosen(Coloured(9), 500), np.arange(9))
