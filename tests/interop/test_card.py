"""Model cards: what they say, and that programs can read it."""

import json
import pathlib
from typing import Any

import pytest

from dino_jax.config import Config, ModelConfig, UserError, to_dict
from dino_jax.interop.card import write_card
from dino_jax.interop.formats import safetensors, timm, transformers
from tests.interop.networks import HEAD, RESNET, VIT, XCIT, names_in, network, weights

FORMATS = ("orbax", "dino-pth", "timm", "transformers", "torchvision", "safetensors", "onnx")


def run() -> dict[str, Any]:
    """The facts of a run of ours."""
    config = Config(epochs=30, batch_size=64, seed=5)
    config.data.train = "folder:photos"
    return {
        "source": "runs/first",
        "config": to_dict(config),
        "steps": 12345,
        "images": 4000,
        "scores": {"knn_top1": 48.019, "view_retrieval_top1": 7},
    }


def card(
    folder: pathlib.Path,
    one: ModelConfig,
    form: str = "safetensors",
    *,
    size: tuple[int, int] | None = None,
    native: tuple[int, int] = (224, 224),
    **facts: Any,
) -> str:
    held = weights(network(one, native), **facts)._replace(epoch=facts.get("epoch"))
    write_card(held, "teacher", folder, format=form, size=size)
    return (folder / "README.md").read_text()


def test_it_tells_of_a_run(tmp_path: pathlib.Path) -> None:
    text = card(tmp_path, VIT, **run(), epoch=30)
    for line in (
        "# vit_tiny with patches of 8 pixels",
        "The teacher network of `runs/first` in the format `safetensors`",
        "| network | 2 blocks, 4 heads, 32 features, 56,800 parameters of the backbone |",
        "| data | folder:photos (4,000 images) |",
        "| recipe | adamw, 30 epochs of batches of 64, learning rate 0.0005 per 256 images, ",
        ", 2 views of 224 and 8 crops of 96 pixels, 65536 prototypes, seed 5 |",
        "| steps | 12,345 |",
        "| epochs | 30 |",
        "| knn_top1 | 48.02 |",
        "| view_retrieval_top1 | 7 |",
        "## Licence",
    ):
        assert line in text
    assert names_in(tmp_path) == ["README.md", "config.json"]
    told = json.loads((tmp_path / "config.json").read_text())["dino_jax"]
    assert told["facts"] == run() | {"epoch": 30}
    assert (told["network"], told["format"]) == ("teacher", "safetensors")
    assert (told["size"], told["images"], told["head"]) == ([224, 224], [224, 224], None)
    assert told["model"]["width"] == 32


def test_what_is_not_known_is_said(tmp_path: pathlib.Path) -> None:
    text = card(tmp_path, RESNET, source="x.pth")
    for name in ("data", "recipe", "steps", "epochs"):
        assert f"| {name} | not known |" in text
    assert "## Scores\n\nNot known." in text
    assert "patches of" not in text


def test_it_tells_of_published_weights(tmp_path: pathlib.Path) -> None:
    arguments = {"optimizer": "adamw", "epochs": 800, "lr": 0.0005, "data_path": "/elsewhere"}
    facts = {"address": "https://example.org/a.pth", "scores": {"knn_top1": 74.5}}
    text = card(tmp_path, VIT, source="dino_vits16", data="ImageNet-1k", **facts)
    assert "| address | https://example.org/a.pth |" in text
    assert "| data | ImageNet-1k |" in text
    assert "As its publisher says; they were not measured here." in text
    text = card(tmp_path, VIT, arguments=arguments)
    assert "| recipe | optimizer adamw, epochs 800, lr 0.0005 |" in text


@pytest.mark.parametrize(
    ("form", "native", "size", "words", "absent"),
    [
        ("timm", (224, 224), None, "those of images of 224×224", "interpolated from"),
        ("timm", (224, 224), (96, 160), "96×160 pixels", "no such words"),
        ("timm", (224, 224), (96, 160), "interpolated from 224×224 as the original", "square"),
        ("timm", (224, 224), (96, 160), "At any other size the library", "at use"),
        ("transformers", (32, 32), (16, 40), "`interpolate_pos_encoding=True` fails", "at use"),
        ("transformers", (32, 32), (16, 16), "export for the size that is used", "=True"),
        ("onnx", (32, 32), (16, 40), "16×40", "at use"),
        ("safetensors", (32, 32), (16, 40), "images have to be of that size", "library"),
        ("safetensors", (32, 32), None, "interpolated at use", "library"),
        ("dino-pth", (32, 32), None, "interpolated at use", "library"),
        ("orbax", (16, 40), None, "images have to be of that size", "library"),
    ],
)
def test_it_says_what_is_baked(
    form: str, native: tuple, size: tuple | None, words: str, absent: str, tmp_path: pathlib.Path
) -> None:
    text = card(tmp_path, VIT, form, size=size, native=native)
    assert words in text
    assert absent not in text.split("## Image size")[1]


def test_networks_without_positions(tmp_path: pathlib.Path) -> None:
    for model in (RESNET, XCIT):
        assert "there is no table of positions" in card(tmp_path, model, "timm", size=(96, 96))
        assert "images of 96×96" in card(tmp_path, model, "onnx", size=(96, 96))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_says_how_it_is_opened(form: str, tmp_path: pathlib.Path) -> None:
    text = card(tmp_path, RESNET if form == "torchvision" else VIT, form)
    lines = text.split("```python\n")[1].split("\n```")[0].split("\n")
    assert 3 <= len(lines) <= 5
    compile("\n".join(lines), "card", "exec")
    assert any("PATH" in line for line in lines)
    assert text.startswith("---\n") == (form in ("timm", "transformers"))


def test_an_unknown_format(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match="no format 'tensorflow'"):
        card(tmp_path, VIT, "tensorflow")
    with pytest.raises(UserError, match="holds no student"):
        write_card(weights(network(VIT)), "student", tmp_path, format="timm", size=None)


@pytest.mark.parametrize("module", [timm, transformers])
def test_the_library_keeps_its_config_and_facts_come_back(
    module: Any, tmp_path: pathlib.Path
) -> None:
    held = weights(network(VIT, (32, 32), head=HEAD), **run())
    module.save(held, tmp_path)
    before = json.loads((tmp_path / "config.json").read_text())
    write_card(held, "teacher", tmp_path, format=module.__name__.split(".")[-1], size=None)
    after = json.loads((tmp_path / "config.json").read_text())
    assert after.pop("dino_jax")["head"]["prototypes"] == 24
    assert after == before
    assert module.load(tmp_path).facts == run()
    (tmp_path / "again").mkdir()
    safetensors.save(module.load(tmp_path), tmp_path / "again")
    assert safetensors.load(tmp_path / "again").facts == run()
