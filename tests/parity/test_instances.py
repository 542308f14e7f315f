"""Retrieval and copy detection against the original: rankings, AP, GeM, scales, whitening."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.ops import neighbours, pooling, ranking, whitening
from tests import golden
from tests.parity.test_vit import nhwc, stored, tiny

JUNK = {"medium": ("junk",), "hard": ("junk", "easy")}
GOOD = {"medium": ("easy", "hard"), "hard": ("hard",)}


@pytest.mark.parametrize("setup", ["medium", "hard"])
def test_every_figure_of_retrieval_is_the_original_s_to_the_last_bit(setup: str) -> None:
    told = golden.read_json("f_retrieval.json")
    wanted = told["result"][setup]

    def lists(names: tuple[str, ...]) -> list[list[int]]:
        return [[n for name in names for n in query[name]] for query in told["gnd"]]

    found = ranking.ranked(
        np.array(told["ranks"]).T, lists(GOOD[setup]), lists(JUNK[setup]), cuts=told["kappas"]
    )
    assert found.mean_average_precision == wanted["map"]
    assert list(found.mean_precision) == wanted["pr"]
    for ours, theirs in (
        (found.average_precision, wanted["aps"]),
        (found.precision, wanted["prs"]),
    ):
        np.testing.assert_array_equal(ours, np.array(theirs, np.float64))


def test_every_average_precision_of_copy_detection_is_the_original_s_to_the_last_bit() -> None:
    for case in golden.read_json("f_copydet_ap.json")["ap"]:
        places = np.array(case["ranks"], np.int64)
        assert ranking.trapezoid(places, case["nres"]) == case["ap"]


def test_the_twenty_nearest_are_the_original_s() -> None:
    arrays = golden.arrays("f_copydet.npz")
    queries, database = (neighbours.unit(arrays[name]) for name in ("cd_q", "cd_db"))
    _, found = neighbours.nearest(queries, database, k=20)
    np.testing.assert_array_equal(found, arrays["cd_ids"])
    # The first ten queries are the block of the originals, each of which is its own positive.
    first = ranking.ranked(np.asarray(found)[:10], [[k] for k in range(10)], [[]] * 10)
    assert first.mean_average_precision == arrays["cd_block0_map"]


def test_descriptors_of_copy_detection() -> None:
    arrays = golden.arrays("f_copydet.npz")
    params = stored(golden.arrays("a_vit_tinytest.npz"), "backbone.")
    found = jax.jit(tiny().features)(params, nhwc(arrays["x"]))
    ours = jnp.concatenate([found.cls, pooling.gem(found.patches)], axis=1)
    assert golden.relative_error(ours, arrays["gem_desc"]) <= 1e-5


def test_descriptors_over_scales() -> None:
    arrays = golden.arrays("f_copydet.npz")
    params = stored(golden.arrays("a_vit_tinytest.npz"), "backbone.")
    model = tiny()
    describe = jax.jit(
        partial(pooling.multi_scale, lambda images: model.features(params, images).cls)
    )
    ours = describe(nhwc(arrays["multiscale_x"]))
    assert golden.relative_error(ours, arrays["multiscale_v"]) <= 1e-5


def test_whitened_features_are_the_original_s_but_for_signs() -> None:
    arrays = golden.arrays("f_copydet.npz")
    whitened = whitening.of_moment(arrays["pca_cov"])(arrays["pca_q"])
    assert golden.relative_error(np.abs(whitened), arrays["pca_out_abs"]) <= 1e-5
    assert golden.relative_error(whitened @ whitened.T, arrays["pca_gram"]) <= 1e-5
