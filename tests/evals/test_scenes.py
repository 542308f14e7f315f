"""Scene identity: what is done to the queries, and which crops count for which figure."""

import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.data.embedded import EmbeddedSource
from dino_jax.data.sources import open_source
from dino_jax.evals.comparison import compare
from dino_jax.evals.descriptors import Descriptor
from dino_jax.evals.features import Extractor, normaliser
from dino_jax.evals.scenes import SceneIdentity, grey, jittered


@pytest.fixture(scope="module")
def photographs():
    return open_source("embedded:photos"), open_source("embedded:photos:val")


def colours(count=6, size=8):
    shape = (count, size, size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_grey_has_no_colour_and_is_idempotent():
    levels = grey(colours())
    assert (levels == levels[..., :1]).all()
    np.testing.assert_array_equal(grey(levels), levels)
    one = colours()[..., :1]
    np.testing.assert_array_equal(grey(one), one)


def test_jitter_is_fixed_for_each_query_and_different_for_each():
    flat = np.full((5, 4, 4, 3), 100, np.uint8)
    changed = jittered(flat)
    np.testing.assert_array_equal(changed, jittered(flat))
    np.testing.assert_array_equal(changed[:3], jittered(flat[:3]))
    levels = changed[:, 0, 0, 0]
    assert len(set(levels.tolist())) == 5
    assert (levels >= 60).all()
    assert (levels <= 140).all()


def test_each_photograph_counts_for_one_figure_and_a_perfect_network_has_all(photographs):
    bank, queries = photographs
    assert isinstance(bank, EmbeddedSource)
    assert isinstance(queries, EmbeddedSource)
    extractor = Extractor(lambda params, images: images[:, 0, 0], normaliser((0.5,) * 3, (1,) * 3))
    measure = SceneIdentity(extractor, bank, queries, size=8)
    assert sum(measure._kinds.values()).tolist() == [1] * len(bank.class_names)
    np.testing.assert_array_equal(np.bincount(bank.labels), len(bank) // len(bank.class_names))

    truth = {len(bank): bank.labels, len(queries): queries.labels}
    perfect = Descriptor("", "", (lambda x: np.eye(16, dtype=np.float32)[truth[len(x)]],))
    assert set(measure.of_descriptor(perfect).values()) == {100.0}
    blind = Descriptor("", "", (lambda x: np.ones((len(x), 4), np.float32),))
    first = [name for name, kind in measure._kinds.items() if kind[0]]
    scored = measure.of_descriptor(blind)  # every crop is taken for the first photograph
    assert {name for name, figure in scored.items() if figure > 0} == set(first)

    table = compare([measure], [perfect], {"teacher": {"backbone.w": jnp.zeros(1)}}, title="t")
    assert table.values()["chance_scene_top1"] == 100 / 16
    assert set(measure.columns) <= set(table.values())
    assert "512" in table.notes[1]
    assert "5120" in table.notes[1]
