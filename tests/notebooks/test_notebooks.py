"""The notebooks run from the first cell to the last, and show the library's numbers."""

import json
import pathlib
import shutil

import nbformat
import numpy as np
import pytest
import skimage
from PIL import Image

from dino_jax.interop.encoder import open_encoder
from dino_jax.viz.attend.maps import attention_maps
from dino_jax.viz.attend.picture import open_pictures
from tests.notebooks.running import FOLDER, NAMES, parameters, read, run

ROOT = FOLDER.parent
CHECKPOINT = ROOT / "tests" / "train" / "data" / "checkpoint_v1" / "3"
TINY = """
model.arch=vit_tiny model.width=8 model.depth=1 model.heads=1 model.patch_size=8 batch_size=8
head.prototypes=16 head.hidden=16 crops.global_size=16 crops.local_size=8 crops.local_number=1
data.workers=0
"""
BADGE = "https://colab.research.google.com/github/OWNER/REPOSITORY/blob/main/notebooks/{}.ipynb"


@pytest.fixture
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Where a notebook runs: with weights of one block, and images of two classes."""
    for name, value in {
        "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "jupyter"), "JUPYTER_PLATFORM_DIRS": "1",
        "DINO_JAX_CACHE": str(tmp_path / "cache"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    shutil.copytree(CHECKPOINT, tmp_path / "runs" / "tiny" / "checkpoints" / "3")
    cat = Image.open(pathlib.Path(skimage.data_dir, "chelsea.png"))
    for name, left in (("left", 0), ("right", 220)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(12):
            box = (left + 5 * number, 10 * number, left + 5 * number + 60, 10 * number + 60)
            cat.crop(box).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path


def shown(notebook: nbformat.NotebookNode) -> list[dict]:
    """What the cells ended in; what they wrote to the log is left out."""
    return [
        output.data
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type in ("execute_result", "display_data")
    ]


def test_attention_shows_the_numbers_of_the_library(home: pathlib.Path) -> None:
    done = shown(run("attention", home, WEIGHTS="runs/tiny", SIZE=32, POINT=(0.9, 0.2)))
    assert sum("image/png" in each for each in done) == 2
    [page] = [each["text/html"] for each in done if "text/html" in each]
    assert "srcdoc=" in page
    encoder = open_encoder(str(home / "runs" / "tiny"))
    photograph = home / "photographs" / "chelsea.png"
    (picture,) = open_pictures(photograph, encoder, size=32)
    wanted = attention_maps(encoder, picture.pixels, points=[(0.9, 0.2)])
    assert wanted.shape[0] == 2
    with np.load(home / "pictures" / "chelsea-attention.npz") as held:
        np.testing.assert_allclose(held["attention"], wanted, rtol=1e-5, atol=1e-7)
    columns = wanted.shape[3]
    at, share = int(wanted[0, 0].argmax()), float(wanted[0, 0].max())
    assert f"most at row {at // columns}, column {at % columns}: {share:.2%}" in str(done)


def test_training_ends_in_a_report(home: pathlib.Path) -> None:
    done = shown(
        run(
            "train_on_your_images", home, IMAGES="folder:images", RUN="runs/own", SMALL=False,
            STEPS=2, MORE=TINY.split(),
        )
    )  # fmt: skip
    summary = json.loads((home / "runs" / "own" / "summary.json").read_text())
    assert summary["step"] == 2
    [page] = [each["text/html"] for each in done if "text/html" in each]
    assert len(page) > len((home / "runs" / "own" / "report.html").read_text()) > 1000
    assert "image/png" in done[-1]


def test_features_go_from_a_file_to_matches(home: pathlib.Path) -> None:
    done = shown(
        run(
            "features", home, WEIGHTS="runs/tiny", IMAGES="folder:images", QUERIES="folder:images",
            SIZE=16,
        )
    )  # fmt: skip
    assert sum("image/png" in each for each in done) == 3
    with np.load(home / "features" / "features.npz") as held:
        assert held["features"].shape == (24, 8)
    for made in ("neighbours/sheet.json", "knn/knn.md", "pca/pca.png", "correspond/matches.json"):
        assert (home / "features" / made).exists(), made


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_committed_as_it_was_written(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert set(cell.metadata) <= {"tags"}
    assert notebook.metadata.keys() == {"kernelspec", "language_info"}
    assert BADGE.format(name) in notebook.cells[0].source
    assert parameters(notebook)[0] == 3


def test_notebooks_install_the_library_alike() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(NAMES)
    first, *others = (read(name).cells[1].source for name in NAMES)
    assert "%pip install" in first
    assert "://" not in first, "no address of a repository is made up"
    assert all(other == first for other in others)
