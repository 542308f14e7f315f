"""The weighted k-NN vote against the original's percentages."""

import re

import pytest

from dino_jax.ops import neighbours, scores
from tests import golden

TEMPERATURES = (0.07, 0.2)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("chunk", [100, 8192])
def test_top1_and_top5_are_the_original_s(temperature, chunk):
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
        bank_chunk=chunk,
    )
    for k, (top1, top5) in wanted.items():
        assert scores.accuracy(votes[k], stored["test_labels"]) == pytest.approx(top1, abs=1e-9)
        if k >= 20:  # below, fewer than five classes may have votes and the order is arbitrary
            ours = scores.accuracy(votes[k], stored["test_labels"], k=5)
            assert ours == pytest.approx(top5, abs=1e-9)
