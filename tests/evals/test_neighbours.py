"""Nearest images: brute force, queries by number and by name, and the protocol on folders."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.config.protocol_options import NeighboursOptions
from dino_jax.evals.neighbours import agreement, by_chance, search, search_others
from dino_jax.evals.protocols import neighbours
from dino_jax.interop.encoder import open_encoder
from tests.evals.embed.networks import SHALLOW, encoder
from tests.evals.requests import request

HUES = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
EACH = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Three classes of images, each of about one colour."""
    root = tmp_path_factory.mktemp("bank")
    draw = np.random.default_rng(0)
    for name, hue in HUES.items():
        (root / name).mkdir()
        for number in range(EACH):
            pixels = np.full((24, 32, 3), hue, np.float64) * 0.9 + draw.uniform(0, 25, (24, 32, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{name[0]}{number}.png")
    return root


@pytest.fixture(scope="module")
def colour():
    return open_encoder("colour", size=16)


def brute(queries: np.ndarray, bank: np.ndarray) -> np.ndarray:
    lengths = [np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, bank)]
    return (queries / lengths[0]) @ (bank / lengths[1]).T


def test_search_is_brute_force() -> None:
    draw = np.random.default_rng(1)
    queries, bank = (draw.standard_normal((n, 6)).astype(np.float32) for n in (5, 17))
    cosine = brute(queries, bank)
    found = search(queries, bank, k=4)
    np.testing.assert_array_equal(found.rows, np.argsort(-cosine, axis=1)[:, :4])
    np.testing.assert_allclose(found.similarity, -np.sort(-cosine, axis=1)[:, :4], atol=1e-6)


def test_search_among_the_others_leaves_the_query_out() -> None:
    bank = np.random.default_rng(2).standard_normal((19, 6)).astype(np.float32)
    cosine = brute(bank, bank)
    np.fill_diagonal(cosine, -np.inf)
    found = search_others(bank, k=5)
    np.testing.assert_array_equal(found.rows, np.argsort(-cosine, axis=1)[:, :5])
    np.testing.assert_allclose(found.similarity, -np.sort(-cosine, axis=1)[:, :5], atol=1e-6)


def test_copies_of_a_query_are_neighbours_and_it_is_not() -> None:
    bank = np.tile(np.array([[1.0, 2]], np.float32), (6, 1))
    found = search_others(bank, k=2)
    for row, near in enumerate(found.rows.tolist()):
        assert row not in near
        assert len(set(near)) == 2
    np.testing.assert_allclose(found.similarity, 1, atol=1e-6)


def test_agreement_and_what_chance_gives() -> None:
    bank = ["a", "a", "b", "c"]
    rows = np.array([[0, 2], [3, 1]])
    np.testing.assert_array_equal(agreement(["a", "c"], bank, rows), [[1, 0], [1, 0]])
    assert by_chance(["a", "c", "d"], bank, itself=False) == pytest.approx(100 * (0.5 + 0.25) / 3)
    assert by_chance(bank, bank, itself=True) == pytest.approx(100 * (1 / 3 + 1 / 3) / 4)


def test_neighbours_of_a_colour_are_of_it(colour, folder: pathlib.Path, tmp_path) -> None:
    options = NeighboursOptions(k=EACH - 1, queries=("3",))
    report = neighbours.run(request(colour, options, folder, out=tmp_path))
    assert report.samples["precision"].value == 100
    assert len(report.samples["precision"].units) == 3 * EACH
    assert "in 27.3 %" in report.notes[1]
    rows = report.drawing.rows
    assert [row[0].name for row in rows] == ["blue/b0.png", "green/g2.png", "red/r3.png"]
    assert all(each.agrees for row in rows for each in row[1:])
    assert rows[0][0].agrees is None
    assert rows[0][0].pixels.shape == (160, 160, 3)
    told = json.loads((tmp_path / "sheet.json").read_text())["queries"][1]
    assert told["class"] == "green"
    assert [each["name"] for each in told["neighbours"]] == [each.name for each in rows[1][1:]]
    wider = NeighboursOptions(k=EACH, queries=("1",))
    assert neighbours.run(request(colour, wider, folder)).samples["precision"].value == 75


def test_queries_by_name_path_and_class(colour, folder: pathlib.Path) -> None:
    options = NeighboursOptions(k=1, queries=("red", "g0.png", "blue/b3.png"))
    report = neighbours.run(request(colour, options, folder))
    names = [row[0].name for row in report.drawing.rows]
    assert names == ["red/r2.png", "green/g0.png", "blue/b3.png"]


def test_other_images_as_queries(colour, folder: pathlib.Path, tmp_path) -> None:
    """One file has no class; a class that the bank lacks agrees with none."""
    file = folder / "red" / "r1.png"
    report = neighbours.run(request(colour, NeighboursOptions(k=2), folder, file))
    assert not report.samples
    assert [each.class_name for each in report.drawing.rows[0]] == [None, "red", "red"]
    assert report.drawing.rows[0][1].similarity == pytest.approx(1, abs=1e-6)
    assert report.drawing.rows[0][1].agrees is None
    for name in ("red", "violet"):
        (tmp_path / name).mkdir()
        Image.open(file).save(tmp_path / name / "x.png")
    both = neighbours.run(request(colour, NeighboursOptions(k=2), folder, tmp_path))
    np.testing.assert_array_equal(both.samples["precision"].units, [1, 0])


def test_images_without_classes_and_one_that_cannot_be_read(tmp_path, folder, caplog) -> None:
    for number, file in enumerate(sorted(folder.rglob("*.png"))[:6]):
        (tmp_path / f"{number}.png").write_bytes(b"" if number == 2 else file.read_bytes())
    report = neighbours.run(request(encoder(SHALLOW), NeighboursOptions(k=2), tmp_path))
    assert not report.samples
    assert [row[0].name for row in report.drawing.rows] == [f"{n}.png" for n in (0, 1, 3, 4, 5)]
    assert report.values == {"k": 2, "queries": 5, "bank": 5}
    assert "skipped unreadable image 2.png" in caplog.text
    with pytest.raises(UserError, match=r"--queries=2.png: no readable image or class"):
        neighbours.run(request(encoder(SHALLOW), NeighboursOptions(2, ("2.png",)), tmp_path))


MISTAKES = {
    "k": ({"k": 0}, "--k=0: expected 1 or more"),
    "many": ({"k": 12}, "--k=12 wants 12 images beside the query, but there are 11"),
    "none": ({"k": 1, "queries": ("0",)}, "--queries=0: expected 1 or more"),
    "unknown": ({"k": 1, "queries": ("z.png",)}, "--queries=z.png: .* such as blue/b0.png"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(colour, folder: pathlib.Path, mistake: str) -> None:
    changed, line = MISTAKES[mistake]
    with pytest.raises(UserError, match=line) as error:
        neighbours.run(request(colour, NeighboursOptions(**changed), folder))
    assert "\n" not in str(error.value)
