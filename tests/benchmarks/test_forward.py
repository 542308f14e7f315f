"""The forward benchmark: parameters as the paper counts them, ratios, a toy run of ours alone."""

import json

import jax
import pytest

from benchmarks import forward
from dino_jax.config import HeadConfig, ModelConfig
from dino_jax.models.build import build


@pytest.mark.parametrize("name", [name for name, row in forward.MODELS.items() if row[3]])
def test_parameters_are_the_papers(name: str) -> None:
    arch, patch, _, paper = forward.MODELS[name]
    head = HeadConfig(prototypes=8, hidden=8)
    model = build(ModelConfig(arch=arch, patch_size=patch), head, image_size=224)
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    count = sum(leaf.size for key, leaf in params.items() if key.startswith("backbone."))
    assert count == pytest.approx(paper["parameters"], rel=0.04)


def test_the_ratio_is_of_the_quickest_other() -> None:
    found = {"ours": {"wall_s": 2.0}, "timm": {"wall_s": 3.0}, "else": {"wall_s": 2.5}}
    assert forward.over(found, "wall_s") == 1.25
    assert forward.over({"ours": {"wall_s": 2.0}}, "wall_s") is None


def test_a_toy_run_of_ours(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(forward.MODELS, "toy", ("vit_tiny", 16, "", {}))
    forward.main(["--models=toy", "--batch=2", "--image=32", "--rounds=2", "--no-torch"])
    line = json.loads(capsys.readouterr().out)
    ours = line["contenders"]["ours"]
    assert ours["parameters"] > 5e6
    assert ours["images_per_second"] == pytest.approx(2 / ours["wall_s"], rel=0.05)
    assert line["ratio"] is None
    assert (line["batch"], line["image"], line["threads"]) == (2, 32, 1)
