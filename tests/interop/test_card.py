"""Model cards: what they say, and that programs can read it."""

import json
import pathlib
from typing import Any

import pytest

from dino_jax.config import Config, ModelConfig, UserError, to_dict
from dino_jax.interop.card import write_card
from dino_jax.interop.formats import safetensors, timm, transformers
from dino_jax.interop.network import Weights
from tests.interop.networks import HEAD, RESNET, VIT, XCIT, names_in, network, weights

FORMATS = ("orbax", "dino-pth", "timm", "transformers", "torchvision", "safetensors", "onnx")


def run() -> dict[str, Any]:
    """The facts of a run of ours."""
    config = Config(epochs=30, batch_size=64, seed=5)
    config.data.train, config.steps = "folder:photos", 12345
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
    file: str = "",
    **facts: Any,
) -> str:
    held = Weights({"teacher": network(one, native)}, epoch=facts.get("epoch"), facts=facts)
    write_card(held, "teacher", folder, format=form, size=size, file=file)
    return (folder / "README.md").read_text()


def test_it_tells_of_a_run(tmp_path: pathlib.Path) -> None:
    text = card(tmp_path, VIT, **run(), epoch=30)
    for line in (
        "# vit_tiny, 32 wide, 2 blocks, 4 heads, with patches of 8 pixels",
        "The teacher network of `runs/first` in the format `safetensors`",
        "| network | 2 blocks, 4 heads, 32 features, 56,800 parameters of the backbone |",
        "| data | folder:photos (4,000 images) |",
        "| recipe | adamw, learning rate 0.0005 per 256 images, 2 views of 224 and 8 crops of 96 ",
        "pixels, 65536 prototypes, seed 5 |",
        "| steps | 12,345 of batches of 64 images |",
        "| epochs | 197.5 of the data (steps × batch / images) |",
        "| | k-NN top-1 |\n|---|---:|\n| **this network, the teacher** | 48.0 |\n",
        "In percent of images held out of `folder:photos`, when the run ended.",
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
    facts: dict[str, Any] = {"address": "https://example.org/a.pth", "scores": {"knn_top1": 74.5}}
    text = card(tmp_path, VIT, source="dino_vits16", data="ImageNet-1k", **facts)
    assert "| address | https://example.org/a.pth |" in text
    assert "| data | ImageNet-1k |" in text
    assert "as the publisher says; they were not measured here." in text
    assert "| **this network, the teacher** | 74.5 |" in text
    assert "published at https://example.org/a.pth" in text
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


def test_networks_without_positions_name_the_size_of_training(tmp_path: pathlib.Path) -> None:
    config = Config()
    config.crops.global_size, config.eval.resize = 32, 40
    facts: dict[str, Any] = {"config": to_dict(config)}
    for model in (RESNET, XCIT):
        text = card(tmp_path, model, "dino-pth", **facts)
        assert "It was trained at 32×32" in text
        assert "its short side to 40 pixels (bicubic) and cut 32×32 out of the centre" in text
        text = card(tmp_path, model, "timm", size=(64, 64), **facts)
        assert "its short side to 73 pixels (bicubic) and cut 64×64 out" in text
        assert "trained at 32×32; the lines above use 64×64" in text
        assert "own preparation" not in text
        said = "timm's own preparation reads 224×224 in `config.json`; for 32×32 there export"
        assert said in card(tmp_path, model, "timm", **facts)
        text = card(tmp_path, model, "onnx", **facts)
        assert "takes images of 224×224 (height × width) alone" in text
        assert "trained at 32×32; for that export with `--size=32x32`" in text
        assert "trained at 224×224" in card(tmp_path, model, "timm", address="x")
        assert "At what it was trained is not known" in card(tmp_path, model, "timm")
    told = json.loads((tmp_path / "config.json").read_text())["dino_jax"]
    assert told["images"] == [224, 224]


def test_a_student_s_own_scores_are_the_first(tmp_path: pathlib.Path) -> None:
    scores = {
        "knn_top1": 63.0, "view_retrieval_top1": 5.0, "student_knn_top1": 65.0,
        "student_view_retrieval_top1": 5.4, "untrained_knn_top1": 29.0, "pixels_knn_top1": 46.6,
        "knn_top5": 100.0, "student_knn_top5": 100.0,
    }  # fmt: skip
    config = Config()
    config.data.val = "folder:kept"
    facts: dict[str, Any] = {"scores": scores, "config": to_dict(config)}
    one = network(VIT)
    write_card(
        Weights({"student": one}, facts=facts), "student", tmp_path, format="timm", size=None
    )
    text = (tmp_path / "README.md").read_text()
    rows = text.split("|---|---:|\n")[1].split("\n\n")[0].split("\n")
    assert rows == [
        "| **this network, the student** | 65.0 |",
        "| the teacher of the same run | 63.0 |",
        "| the untrained network | 29.0 |",
        "| raw pixels | 46.6 |",
    ]
    assert "`folder:kept`" in text
    assert "its 20 nearest training images" in text
    # kept alone, and written once more
    text = card(tmp_path, VIT, **facts, network="student")
    assert "The student network of" in text
    assert "| **this network, the student** | 65.0 |" in text


def test_view_retrieval_is_left_out_where_it_says_nothing(tmp_path: pathlib.Path) -> None:
    views: dict[str, Any] = {"view_retrieval_top1": 5.0}
    assert "| view retrieval |" in card(tmp_path, VIT, scores=views)
    assert "view retrieval" not in card(tmp_path, VIT, scores={**views, "knn_top1": 50.0})
    compared: dict[str, Any] = {**views, "knn_top1": 50.0, "chance_view_retrieval_top1": 0.2}
    assert "| chance | – | 0.2 |" in card(tmp_path, VIT, scores=compared)
    text = card(tmp_path, VIT, scores={"view_retrieval_top1": 100.0})
    assert "## Scores\n\nNot known." in text


def test_a_run_that_stopped_early(tmp_path: pathlib.Path) -> None:
    text = card(tmp_path, VIT, **{**run(), "steps": 2, "images": 100_000})
    assert "| steps | 2 of 12,345 planned, of batches of 64 images |" in text
    assert "| epochs | less than 0.1 of the data" in text
    text = card(tmp_path, VIT, **{name: value for name, value in run().items() if name != "images"})
    assert "| epochs | not known |" in text


def test_what_it_began_from(tmp_path: pathlib.Path) -> None:
    config = Config(init_from="quickstart.pth", init_head=False)
    text = card(tmp_path, VIT, config=to_dict(config))
    assert "| began from | `quickstart.pth`, without its head |" in text
    assert "and the weights that the run began from, `quickstart.pth`. dino_jax" in text
    assert "began" not in card(tmp_path, VIT, config=to_dict(Config()))


@pytest.mark.parametrize("form", ["dino-pth", "timm", "safetensors", "onnx", "torchvision"])
def test_a_file_by_itself_is_called_by_its_name(form: str, tmp_path: pathlib.Path) -> None:
    text = card(tmp_path, RESNET if form == "torchvision" else VIT, form, file="my.bin")
    python = text.split("```python\n")[1].split("\n```")[0]
    assert '"PATH/my.bin"' in python
    assert not any(name in python for name in ("PATH/model", "PATH/check", "PATH/res", "local-dir"))
    assert "`PATH` is the folder that `my.bin` lies in" in text


@pytest.mark.parametrize(
    ("model", "native", "said"),
    [
        (ModelConfig("vit_small", 16), (224, 224), "`--arch vit_small --patch_size 16 --pre"),
        (RESNET, (224, 224), "`--arch resnet50 --pretrained_weights PATH/checkpoint.pth`"),
        (ModelConfig("xcit_small_12", 8), (224, 224), "`--arch xcit_small_12_p8 --pretrained"),
        (ModelConfig("vit_tiny", 16), (64, 64), "have no `--arch` for this network"),
        (VIT, (224, 224), "have no `--arch` for this network"),
        (XCIT, (224, 224), "have no `--arch` for this network"),
    ],
)
def test_whether_the_original_s_scripts_take_it(
    model: ModelConfig, native: tuple, said: str, tmp_path: pathlib.Path
) -> None:
    assert said in card(tmp_path, model, "dino-pth", native=native)


def test_the_processor_of_transformers_prepares_in_another_way(tmp_path: pathlib.Path) -> None:
    assert "squashes what is not square" in card(tmp_path, VIT, "transformers")
    assert "squashes" not in card(tmp_path, VIT, "timm")


@pytest.mark.parametrize("module", [safetensors, timm, transformers])
def test_every_file_may_be_read_by_who_the_umask_says(module: Any, tmp_path: pathlib.Path) -> None:
    module.save(weights(network(VIT, (32, 32))), tmp_path)
    (tmp_path / "plain").touch()
    assert len({file.stat().st_mode for file in tmp_path.iterdir()}) == 1


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_says_how_it_is_opened(form: str, tmp_path: pathlib.Path) -> None:
    text = card(tmp_path, RESNET if form == "torchvision" else VIT, form)
    lines = text.split("```python\n")[1].split("\n```")[0].split("\n")
    assert 3 <= len(lines) <= (9 if form == "safetensors" else 6)
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
