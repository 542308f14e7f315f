"""Initialisation and drop path rates against the original's statistics."""

import re

import jax
import numpy as np
import pytest

from dino_jax.config import HeadConfig, ModelConfig
from dino_jax.models.build import build
from dino_jax.models.vit import drop_path_rates
from tests import golden


@pytest.fixture(scope="module")
def stored() -> dict:
    return golden.read_json("a_init_stats.json")


@pytest.fixture(scope="module")
def params(stored: dict) -> dict[str, np.ndarray]:
    shapes = {name: entry["shape"] for name, entry in stored["init"].items()}
    prototypes, bottleneck = shapes["head.last_layer.weight_v"]
    config = HeadConfig(
        prototypes=prototypes, hidden=shapes["head.mlp.0.bias"][0], bottleneck=bottleneck
    )
    model = build(ModelConfig(arch="vit_small"), config, image_size=224)
    drawn, _ = model.init(jax.random.key(0))
    assert {name: list(leaf.shape) for name, leaf in drawn.items()} == shapes
    return {name: np.asarray(leaf, np.float64) for name, leaf in drawn.items()}


def without_infinity(entry: dict) -> dict:
    """The original's statistics less the one draw in 2²⁴ that is no sample of the distribution.

    `trunc_normal_` maps a float32 uniform by the inverse error function; where the uniform is
    exactly −1 that is −infinity, which the clamp turns into −2, a hundred deviations out.
    """
    if entry["min"] != -2:
        return entry
    count = int(np.prod(entry["shape"]))
    square = (entry["std"] ** 2 + entry["mean"] ** 2) * count - 4
    mean = (entry["mean"] * count + 2) / (count - 1)
    std = float(np.sqrt(square / (count - 1) - mean**2))
    return entry | {"mean": mean, "std": std, "min": -entry["max"]}


def test_every_parameter_is_drawn_from_the_original_distribution(stored, params) -> None:
    """Mean and deviation within five standard errors of both samples, extremes within reach."""
    for name, leaf in params.items():
        entry = without_infinity(stored["init"][name])
        if entry["std"] == 0:
            assert leaf.min() == leaf.max() == entry["mean"], name
            continue
        uniform = entry["max"] < 2 * entry["std"]
        error = entry["std"] / np.sqrt(leaf.size)
        assert abs(leaf.mean() - entry["mean"]) < 5 * np.sqrt(2) * error, name
        # The deviation's standard error is σ/√2n for a normal, less for a uniform.
        assert abs(leaf.std() - entry["std"]) < 5 * error, name
        tail = max(abs(entry["min"]), entry["max"])
        close = pytest.approx(tail, rel=0.02 if uniform else 0.3)
        assert np.abs(leaf).max() == close, name


def test_uniform_bounds(params) -> None:
    """1/sqrt(fan-in): 768 for patches of 16 and their bias, the bottleneck for the last layer."""
    for name, fan_in in (
        ("backbone.patch_embed.proj.weight", 768),
        ("backbone.patch_embed.proj.bias", 768),
        ("head.last_layer.weight_v", params["head.last_layer.weight_v"].shape[1]),
    ):
        assert np.abs(params[name]).max() <= fan_in**-0.5


def test_the_tail_is_not_cut_at_two_deviations(params) -> None:
    """Normal(0, 0.02) of a million numbers reaches five deviations."""
    weight = params["head.mlp.2.weight"]
    assert 4.5 * 0.02 < np.abs(weight).max() < 6.5 * 0.02
    assert np.mean(np.abs(weight) > 0.04) == pytest.approx(0.0455, rel=0.02)


def test_parameters_are_not_copies_of_each_other(params) -> None:
    flat = [leaf.ravel()[:50] for leaf in params.values() if leaf.std() > 0 and leaf.size > 50]
    correlation = np.corrcoef(np.stack(flat))
    assert np.abs(correlation - np.eye(len(flat))).max() < 0.75


def test_drop_path_rates(stored) -> None:
    names = [name for name in stored if name.startswith("dpr_")]
    assert names
    for name in names:
        match = re.fullmatch(r"dpr_depth(\d+)_rate([\d.]+)", name)
        assert match is not None
        rates = drop_path_rates(float(match[2]), int(match[1]))
        np.testing.assert_allclose(rates, stored[name], rtol=1e-6, atol=1e-9)
