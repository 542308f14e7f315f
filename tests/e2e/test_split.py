"""A whole run whose state is split over devices: figures, scores and checkpoint as without."""

import pathlib

import numpy as np
import pytest

from dino_jax.interop.checkpoint import load_network
from dino_jax.interop.runs import read_metrics
from tests.e2e.command import Ended, train

FIELDS = (
    "devices=4", "head.hidden=256", "head.prototypes=1024", "augment.where=host", "steps=3",
    "eval_every=3", "checkpoint_every=3", "report=false", "model.depth=1", "crops.local_number=0",
)  # fmt: skip
"""Some of the head's tensors are large enough to be split."""


@pytest.fixture(scope="module")
def runs(photos: str, tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple]:
    """By `fsdp`: the workdir and how the command ended."""
    root = tmp_path_factory.mktemp("split")
    return {
        fsdp: (
            root / str(fsdp),
            train(root / str(fsdp), f"data.train={photos}", f"fsdp={fsdp}", *FIELDS),
        )
        for fsdp in (1, 2)
    }


def test_its_lines_are_those_of_the_run_that_is_not_split(
    runs: dict[int, tuple[pathlib.Path, Ended]],
) -> None:
    lines = {}
    for fsdp, (workdir, ended) in runs.items():
        assert ended.code == 0, ended.err
        lines[fsdp] = list(read_metrics(workdir / "metrics.jsonl"))
    for ours, theirs in zip(lines[2], lines[1], strict=True):
        assert ours.keys() == theirs.keys()
        for name in ("loss", "grad_norm", "knn_top1", "student_knn_top1", "effective_rank"):
            assert name not in theirs or ours[name] == pytest.approx(theirs[name], rel=1e-4), name


def test_its_checkpoint_holds_the_whole_networks(
    runs: dict[int, tuple[pathlib.Path, Ended]],
) -> None:
    (whole, _, _), (split, _, config) = (load_network(runs[fsdp][0]) for fsdp in (1, 2))
    assert config["fsdp"] == 2
    assert whole.keys() == split.keys()
    for name, value in whole.items():
        assert value.shape == split[name].shape
        assert np.allclose(value, split[name], rtol=1e-4, atol=1e-5), name


def test_it_goes_on_with_another_split(
    photos: str, runs: dict[int, tuple[pathlib.Path, Ended]]
) -> None:
    workdir, _ = runs[2]
    ended = train(workdir, f"data.train={photos}", "fsdp=4", *FIELDS)
    assert ended.code == 0, ended.err
    refused = train(workdir, f"data.train={photos}", "fsdp=3", *FIELDS)
    assert refused.code == 2
    assert "fsdp is 3: expected a divisor of the 4 devices" in refused.err
