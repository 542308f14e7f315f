"""What a user without the onnx package is told."""

import pathlib
import sys

import jax
import numpy as np
import pytest

from dino_jax.config import HeadConfig, ModelConfig, UserError
from dino_jax.interop.formats import onnx
from dino_jax.interop.network import Network, Weights
from dino_jax.models.build import build


def test_the_missing_package_is_one_line(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ModelConfig("vit_tiny", 16, depth=1)
    declared, _ = jax.eval_shape(build(config, HeadConfig(), image_size=32).init, jax.random.key(0))
    params = {name: np.zeros(leaf.shape, np.float32) for name, leaf in declared.items()}
    weights = Weights({"teacher": Network(config, (32, 32), params, {})})
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError) as error:
        onnx.save(weights, tmp_path)
    assert "pip install onnx" in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
