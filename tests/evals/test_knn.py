"""The k-NN evaluator: labels by name, the small and the full evaluation, what it refuses."""

import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import EvalConfig, UserError
from dino_jax.evals.descriptors import RAW_PIXELS
from dino_jax.evals.features import Extractor, normaliser
from dino_jax.evals.knn import KnnEvaluator
from tests.evals.sources import Coloured

MEAN = STD = (0.5, 0.5, 0.5)


def mean_colour(params, images):
    return images.mean(axis=(1, 2)) * params["backbone.scale"]


def evaluator(bank, queries, **config):
    extractor = Extractor(mean_colour, normaliser(MEAN, STD), batch_size=16)
    config = EvalConfig(knn_k=5, **config)
    return KnnEvaluator(extractor, bank, queries, size=16, config=config)


@pytest.fixture
def params():
    return {"backbone.scale": jnp.float32(1)}


def test_colours_are_told_apart_and_nothing_is_by_constant_features(params):
    knn = evaluator(Coloured(60), Coloured(30, seed=1))
    assert knn(params, final=False) == {"knn_top1": 100, "knn_top5": 100}
    blind = knn({"backbone.scale": jnp.float32(0)}, final=False)
    assert blind["knn_top1"] == pytest.approx(knn.chance()["knn_top1"])


def test_classes_meet_by_name_though_their_numbers_differ(params):
    bank, queries = Coloured(60), Coloured(30, class_names=("b", "c"), seed=1)
    knn = evaluator(bank, queries)
    np.testing.assert_array_equal(knn.labelled.val_labels, 1 + queries.labels)
    assert knn(params, final=True)["knn_top1"] == 100
    assert knn.note().endswith("training images. coloured has no image of the class a.")


def test_one_class_is_no_mistake_while_training(params):
    knn = evaluator(Coloured(20, class_names=("a",)), Coloured(5, class_names=("a",), seed=1))
    assert knn(params, final=False) == {"knn_top1": 100, "knn_top5": 100}


def test_the_last_evaluation_uses_every_image(params):
    bank, queries = Coloured(60, damaged=(1,)), Coloured(30, seed=1)
    knn = evaluator(bank, queries, knn_bank=20, knn_queries=10)
    knn(params, final=False)
    assert (bank.loads, queries.loads) == (20, 10)
    knn(params, final=True)
    assert (bank.loads, queries.loads) == (80, 40)
    assert "30 held-out images among 59 training images" in knn.note()
    small = evaluator(bank, queries, knn_bank=20, knn_queries=10, final_full=False)
    small(params, final=True)
    assert queries.loads == 50


def test_raw_pixels_are_scored_on_the_same_images(params):
    knn = evaluator(Coloured(60), Coloured(30, seed=1))
    assert knn.of_descriptor(RAW_PIXELS[0])["knn_top1"] == 100
    assert knn.of_network(params) == knn(params, final=True)


def test_mistakes_are_named():
    with pytest.raises(UserError, match="has no labels"):
        evaluator(Coloured(60), Coloured(30, labelled=False))
    with pytest.raises(UserError, match="class 'd'"):
        evaluator(Coloured(60), Coloured(30, class_names=("a", "d")))
