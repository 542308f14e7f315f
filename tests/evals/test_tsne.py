"""Maps: their figures against scikit-learn's and brute force, the protocol on small folders."""

import csv
import json
import pathlib

import numpy as np
import pytest
from PIL import Image
from sklearn.manifold import trustworthiness

from dino_jax.config import UserError
from dino_jax.config.protocol_options import TsneOptions
from dino_jax.evals.protocols import tsne
from dino_jax.evals.tsne.layout import fitting_perplexity, lay_out
from dino_jax.evals.tsne.picture import spread
from dino_jax.evals.tsne.points import class_means, evenly
from dino_jax.evals.tsne.quality import agreement, neighbours_of, trust
from dino_jax.interop.encoder import open_encoder
from tests.evals.requests import request
from tests.evals.sources import Coloured

QUICK = {"iterations": 250, "perplexity": 3.0}
CLASSES = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Six classes of eight images, each about a colour of its own; one file is damaged."""
    root = tmp_path_factory.mktemp("classes")
    draw = np.random.default_rng(0)
    for label in range(CLASSES):
        (root / f"class {label}").mkdir()
        colour = draw.integers(20, 235, 3)
        for number in range(8):
            image = np.clip(draw.normal(colour, 9, (16, 20, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(root / f"class {label}" / f"{number}.png")
    (root / "class 0" / "3.png").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def colour():
    return open_encoder("colour", size=16)


def rows(path: pathlib.Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_class_means_are_means(folder) -> None:
    draw = np.random.default_rng(0)
    features = draw.standard_normal((40, 5)).astype(np.float32)
    labels = draw.choice([0, 2, 7], 40)
    means, present = class_means(features, labels)
    assert list(present) == [0, 2, 7]
    expected = np.stack([features[labels == label].mean(axis=0) for label in present])
    np.testing.assert_allclose(means, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", [8, 300])
def test_trust_is_scikit_learns(count: int) -> None:
    draw = np.random.default_rng(count)
    features = draw.standard_normal((count, 6)).astype(np.float32)
    points = (features[:, :2] + draw.normal(0, 0.3, (count, 2))).astype(np.float32)
    neighbours = neighbours_of(count)
    expected = trustworthiness(features, points, n_neighbors=neighbours)
    assert trust(features, points, neighbours).mean() == pytest.approx(expected, abs=1e-9)
    np.testing.assert_array_equal(trust(points, points, neighbours), 1.0)


def test_agreement_counts_neighbours_of_the_class() -> None:
    points = np.array([[0, 0], [1, 0], [3, 0], [10, 0], [11, 0], [13, 0]], np.float32)
    labels = np.array([0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(agreement(points, labels, 2), [0.5, 0.5, 0, 1, 1, 1])
    assert agreement(points, np.zeros(6, int), 2).mean() == 1


def test_the_same_seed_makes_the_same_map() -> None:
    features = np.random.default_rng(0).standard_normal((30, 40)).astype(np.float32)
    options = TsneOptions(**QUICK)
    first, again = (lay_out(features, options, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.points, again.points)
    assert first.reduced.shape == (30, 30)
    assert lay_out(features, TsneOptions(**QUICK, components=5), seed=3).reduced.shape == (30, 5)


def test_perplexity_is_at_most_a_third_of_the_others() -> None:
    assert fitting_perplexity(20, 1000) == 20
    assert fitting_perplexity(20, 10) == 3
    assert fitting_perplexity(20, 4) == 1


def test_examples_are_taken_evenly_and_points_apart() -> None:
    assert list(evenly(Coloured(9), 3)) == [0, 4, 8]
    points = np.array([[0, 0], [0.1, 0], [5, 0], [0, 5]], np.float32)
    assert set(spread(points, 3)) >= {2, 3}
    assert len(spread(points, 9)) == 4
    assert len(spread(points, 0)) == 0


def test_classes_are_mapped(
    folder: pathlib.Path, colour, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = TsneOptions(iterations=250, thumbnails=2)
    report = tsne.run(request(colour, options, folder, out=tmp_path))
    assert report.notes == ("perplexity 20 is too large for 6 points: 1.67 was used",)
    assert report.notes[0] in caplog.text, "it is lowered aloud"
    assert set(report.samples) == {"trust"}
    assert [path.name for path in report.files] == ["points.csv", "points.json"]
    table = rows(tmp_path / "points.csv")
    assert [row["class"] for row in table] == [f"class {k}" for k in range(CLASSES)]
    assert [int(row["images"]) for row in table] == [7, 8, 8, 8, 8, 8]
    assert all(row["name"].startswith(row["class"]) for row in table)
    told = json.loads((tmp_path / "points.json").read_text())
    assert [point["name"] for point in told["points"]] == [row["name"] for row in table]
    assert told["points"][2]["x"] == pytest.approx(float(report.drawing.points[2, 0]), abs=1e-4)
    drawn = report.drawing
    assert drawn.named
    assert drawn.class_names[5] == "class 5"
    assert {image.shape for image in drawn.thumbnails.values()} == {(96, 96, 3)}


def test_images_of_a_class_lie_together(folder: pathlib.Path, colour) -> None:
    options = TsneOptions(of="images", **{**QUICK, "perplexity": 5.0})
    report = tsne.run(request(colour, options, folder))
    assert report.values["points"] == 47
    assert report.samples["agreement"].value > 50
    assert not report.files
    assert list(report.drawing.labels) == [0] * 7 + [k for k in range(1, 6) for _ in range(8)]
    few = tsne.run(request(colour, TsneOptions(of="images", images=12, **QUICK), folder))
    assert few.values["points"] == 12


def test_images_need_no_classes(folder: pathlib.Path, colour, tmp_path: pathlib.Path) -> None:
    flat = folder / "class 1"
    report = tsne.run(request(colour, TsneOptions(of="images", **QUICK), flat, out=tmp_path))
    assert report.drawing.labels is None
    assert set(report.samples) == {"trust"}
    assert rows(tmp_path / "points.csv")[0]["class"] == ""
    with pytest.raises(UserError, match=r"has no classes to map: .* add --of=images"):
        tsne.run(request(colour, TsneOptions(), flat))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"perplexity": 0.0}, "--perplexity=0: expected a number above 0"),
        ({"perplexity": float("nan")}, "--perplexity=nan: expected"),
        ({"learning_rate": -1.0}, "--learning-rate=-1"),
        ({"iterations": 10}, "--iterations=10: expected 250 or more"),
        ({"components": -1}, "--components=-1"),
        ({"images": 2}, "--images=2: expected 4"),
    ],
)
def test_options_out_of_range_are_one_line(colour, options: dict[str, float], line: str) -> None:
    with pytest.raises(UserError, match=line):
        tsne.run(request(colour, TsneOptions(**options), "folder:absent"))


def test_points_that_make_no_map_are_one_line(folder, colour, tmp_path: pathlib.Path) -> None:
    for label in range(3):
        (tmp_path / str(label)).mkdir()
        Image.new("RGB", (16, 16), (9, 9, 9)).save(tmp_path / str(label) / "0.png")
    with pytest.raises(UserError, match="has 3 classes, which make no map: 4 or more do"):
        tsne.run(request(colour, TsneOptions(), tmp_path))
    with pytest.raises(UserError, match="3 points make no map"):
        tsne.run(request(colour, TsneOptions(of="images"), tmp_path))
    Image.new("RGB", (16, 16), (9, 9, 9)).save(tmp_path / "0" / "1.png")
    with pytest.raises(UserError, match="all features are the same"):
        tsne.run(request(colour, TsneOptions(of="images"), tmp_path))
    with pytest.raises(UserError, match="not finite"):
        lay_out(np.full((9, 3), np.nan, np.float32), TsneOptions(), seed=0)
