"""The weighted k-NN vote against the original's percentages."""

import os
import pathlib
import re

import jax.numpy as jnp
import pytest

from dino_jax.config import DataConfig, EvalConfig, HeadConfig, ModelConfig
from dino_jax.data.sources import open_source
from dino_jax.evals.features import Extractor, normaliser
from dino_jax.evals.knn import KnnEvaluator
from dino_jax.models.build import build
from dino_jax.ops import neighbours, scores
from dino_jax.train.sharding import make_mesh
from tests import golden

DATA = pathlib.Path(
    os.environ.get("DINO_JAX_DATA", pathlib.Path(__file__).parents[2] / ".." / "shared" / "data")
)
TEMPERATURES = (0.07, 0.2)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("chunk", "devices"), [(100, 1), (100, 8), (8192, 1)])
def test_top1_and_top5_are_the_original_s(temperature, chunk, devices):
    stored = golden.arrays("f_knn.npz")
    wanted = {
        int(match[1]): value
        for key, value in stored.items()
        if (match := re.fullmatch(rf"k(\d+)_T{temperature}", key))
    }
    assert wanted, "the golden file holds no votes at this temperature"
    votes = neighbours.knn_votes(
        stored["test"],
        stored["train"],
        stored["train_labels"],
        k=sorted(wanted),
        temperature=temperature,
        mesh=make_mesh(devices),
        bank_chunk=chunk,
    )
    for k, (top1, top5) in wanted.items():
        assert scores.accuracy(votes[k], stored["test_labels"]) == pytest.approx(top1, abs=1e-9)
        if k >= 20:  # below, fewer than five classes may have votes and the order is arbitrary
            ours = scores.accuracy(votes[k], stored["test_labels"], k=5)
            assert ours == pytest.approx(top5, abs=1e-9)


def test_an_untrained_network_scores_on_cifar_what_the_original_s_evaluation_gave():
    archives = [DATA / f"cifar10_{part}.tar.gz" for part in ("train", "test")]
    if not all(archive.exists() for archive in archives):
        pytest.skip("the CIFAR-10 archives are not here (set DINO_JAX_DATA to their folder)")
    stored = golden.read_json("curve_fast.json")
    shape = stored["config"]
    model = build(
        ModelConfig(
            width=shape["dim"],
            depth=shape["depth"],
            heads=shape["heads"],
            patch_size=shape["patch"],
        ),
        HeadConfig(prototypes=shape["out_dim"], hidden=shape["hidden"]),
        image_size=32,
    )
    params = {
        name: jnp.asarray(value) for name, value in golden.arrays("curve_fast_init.npz").items()
    }
    data = DataConfig()
    extractor = Extractor(
        lambda params, images: model.features(params, images).cls, normaliser(data.mean, data.std)
    )
    bank, queries = (open_source(f"tar:{archive}") for archive in archives)
    knn = KnnEvaluator(extractor, bank, queries, size=32, config=EvalConfig(resize=32))
    first = stored["evals"][0]
    # The images, which of them, the features and the vote, in one figure: two thousand queries.
    assert knn(params, final=False) == pytest.approx(
        {"knn_top1": first["knn20_top1"], "knn_top5": first["knn20_top5"]}, abs=0.051
    )
