"""The lines of a model card, run as they stand: they open what was written."""

import dataclasses
import importlib
import os
import pathlib
from typing import Any

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"

import numpy as np
import pytest

from dino_jax.config import ModelConfig
from dino_jax.config.architectures import architecture_of
from dino_jax.interop.card import write_card
from dino_jax.interop.convert import FORMATS, convert
from dino_jax.interop.formats import orbax, safetensors
from dino_jax.interop.network import Network, Weights
from dino_jax.interop.positions import at_size
from tests import golden
from tests.interop.networks import HEAD, RESNET, VIT, XCIT, features, network

pytestmark = pytest.mark.interop

SIZED = ("timm", "transformers", "safetensors", "onnx")
MODULES = {"dino-pth": "dino"}
TINY = dataclasses.replace(VIT, width=192, heads=3)
NARROW = dataclasses.replace(RESNET, width=64)
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
SINGLE = [case for case in CASES if case[0] not in ("transformers", "orbax")]
ORIGINALS = [(VIT, 0), (VIT, 4), (TINY, 0), (RESNET, 0), (RESNET, 4), (NARROW, 0), (XCIT, 0)]


def lines(folder: pathlib.Path, card: str = "README.md") -> str:
    """The card's Python, with the folder put in."""
    text = (folder / card).read_text()
    return text.split("```python\n")[1].split("\n```")[0].replace("PATH", str(folder))


def written(form: str, held: Weights, folder: pathlib.Path, size: Any = None) -> None:
    module = importlib.import_module(f"dino_jax.interop.formats.{MODULES.get(form, form)}")
    module.save(held, folder, size=size)
    write_card(held, "teacher", folder, format=form, size=size)


def error(text: str, one: Network, size: Any = None) -> float:
    """How far what the lines give is from our own network's features, or its logits."""
    scope: dict[str, Any] = {}
    exec(text, scope)  # noqa: S102
    found = scope["features"]
    found = np.asarray(found.detach() if hasattr(found, "detach") else found)
    expected = features(at_size(one, size), np.zeros((1, *(size or one.size), 3), np.float32))
    outputs = np.asarray(expected.cls)
    if one.classifier and found.shape != outputs.shape:
        outputs = outputs @ one.classifier["weight"].T + one.classifier["bias"]
    return float(golden.relative_error(found, outputs))


@pytest.mark.parametrize(("form", "model", "classes"), CASES)
def test_the_lines_open_it(
    form: str, model: ModelConfig, classes: int, tmp_path: pathlib.Path
) -> None:
    size = (32, 48) if form in SIZED else None
    one = network(model, classes=classes)
    written(form, Weights({"teacher": one}, facts={"source": "a test"}), tmp_path, size)
    assert error(lines(tmp_path), one, size) < 1e-5


@pytest.mark.parametrize(("form", "model", "classes"), SINGLE)
def test_the_lines_open_a_file_by_itself(
    form: str, model: ModelConfig, classes: int, tmp_path: pathlib.Path
) -> None:
    """Written by the command's own function, which names the file."""
    size = (32, 48) if form in SIZED else None
    one = network(model, classes=classes)
    source, suffix = tmp_path / "source", FORMATS[form].suffix
    source.mkdir()
    safetensors.save(Weights({"teacher": one}), source)
    convert(str(source), form, tmp_path / f"mine{suffix}", size=size)
    assert error(lines(tmp_path, "mine.README.md"), one, size) < 1e-5


@pytest.mark.parametrize(("model", "classes"), ORIGINALS)
@pytest.mark.parametrize(("full", "single"), [(False, False), (True, True)])
def test_the_lines_build_a_network_for_the_original_s_names(
    model: ModelConfig, classes: int, full: bool, single: bool, tmp_path: pathlib.Path
) -> None:
    if full and classes:
        return  # a full checkpoint has no place for a classifier
    vit = architecture_of(model).family == "vit"
    one = network(model, (32, 32) if vit else (224, 224), head=HEAD, classes=classes)
    other = one._replace(params={name: 2 * value for name, value in one.params.items()})
    networks = {"student": other, "teacher": one} if full else {"teacher": one}
    (tmp_path / "source").mkdir()
    orbax.save(Weights(networks), tmp_path / "source")
    out = tmp_path / ("mine.pth" if single else "folder")
    convert(str(tmp_path / "source"), "dino-pth", out)
    text = lines(tmp_path, "mine.README.md") if single else lines(out)
    assert ("load_model" in text) == (model in (NARROW, XCIT))
    assert error(text, one) < 1e-5
