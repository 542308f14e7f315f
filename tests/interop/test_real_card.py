"""The lines of a model card, run as they stand: they open what was written."""

import contextlib
import dataclasses
import importlib
import io
import os
import pathlib
from typing import Any

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"

import numpy as np
import pytest

from dino_jax.config import ModelConfig
from dino_jax.interop.card import write_card
from dino_jax.interop.network import Weights
from dino_jax.interop.positions import at_size
from tests import golden
from tests.interop.networks import HEAD, RESNET, VIT, XCIT, features, network

pytestmark = pytest.mark.interop

MODULES = {"dino-pth": "dino"}
TINY = dataclasses.replace(VIT, width=192, heads=3)
CASES = [
    ("timm", VIT, 0),
    ("timm", VIT, 4),
    ("timm", RESNET, 0),
    ("timm", XCIT, 0),
    ("transformers", VIT, 0),
    ("transformers", VIT, 4),
    ("torchvision", RESNET, 0),
    ("torchvision", RESNET, 4),
    ("safetensors", VIT, 0),
    ("orbax", VIT, 0),
    ("onnx", VIT, 0),
]


def lines(folder: pathlib.Path) -> str:
    """The card's Python, with the folder put in."""
    text = (folder / "README.md").read_text()
    return text.split("```python\n")[1].split("\n```")[0].replace("PATH", str(folder))


def written(form: str, held: Weights, folder: pathlib.Path, size: Any = None) -> None:
    module = importlib.import_module(f"dino_jax.interop.formats.{MODULES.get(form, form)}")
    module.save(held, folder, size=size)
    write_card(held, "teacher", folder, format=form, size=size)


@pytest.mark.parametrize(("form", "model", "classes"), CASES)
def test_the_lines_open_it(
    form: str, model: ModelConfig, classes: int, tmp_path: pathlib.Path
) -> None:
    size = (32, 48) if form in ("timm", "transformers", "safetensors", "onnx") else None
    one = network(model, classes=classes)
    written(form, Weights({"teacher": one}, facts={"source": "a test"}), tmp_path, size)
    scope: dict[str, Any] = {}
    exec(lines(tmp_path), scope)  # noqa: S102
    found = scope["features"]
    found = np.asarray(found.detach() if hasattr(found, "detach") else found)
    expected = features(at_size(one, size), np.zeros((1, *(size or (224, 224)), 3), np.float32))
    outputs = np.asarray(expected.cls)
    if classes:
        outputs = outputs @ one.classifier["weight"].T + one.classifier["bias"]
    assert golden.relative_error(found, outputs) < 1e-5


@pytest.mark.parametrize("full", [False, True])
def test_the_lines_open_the_original_s(full: bool, tmp_path: pathlib.Path) -> None:
    one = network(TINY, (32, 32), head=HEAD if full else None)
    networks = {"student": one, "teacher": one} if full else {"teacher": one}
    written("dino-pth", Weights(networks), tmp_path)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(lines(tmp_path), {})  # noqa: S102
    assert printed.getvalue() == f"{len(one.params)} tensors by the original's names\n"
