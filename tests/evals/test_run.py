"""One protocol over several networks: rows, differences, what is published, what is written."""

import json
import pathlib

import numpy as np
import pytest
from jax.sharding import Mesh

from dino_jax.evals.protocol import Report, Request, Sample
from dino_jax.evals.run import Result, evaluate, line, write
from dino_jax.evals.store import FeatureStore
from dino_jax.interop.encoder import open_encoder

CORRECT = {
    "pixels": np.arange(200) % 10 < 5,
    "colour": np.arange(200) % 10 < 3,
    "random:vit_small_16": np.arange(200) % 10 < 9,
}


def protocol(request: Request) -> Report:
    """Scores that are known."""
    units = CORRECT[request.network.spec]
    samples = {"knn20_top1": Sample(units), "error": Sample(~units, lower_wins=True)}
    titles = {"knn20_top1": "20-NN top-1", "error": "error"}
    return Report("Known", samples, titles, ("A note.",), {"seen": len(units)})


def result(mesh: Mesh, *specs: str) -> Result:
    requests = [
        Request(open_encoder(spec, size=32), "d", None, None, FeatureStore(None), mesh, 8, 0, None)
        for spec in specs
    ]
    return evaluate("knn", protocol, requests, settings={"seed": 0})


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    import jax

    return jax.make_mesh((1,), ("data",), devices=jax.devices()[:1])


def test_every_network_is_a_row_and_the_first_is_compared(mesh: Mesh) -> None:
    found = result(mesh, "pixels", "colour")
    difference = "raw pixels less colour histogram"
    titles = [row.title for row in found.table.rows]
    assert titles == ["raw pixels", "colour histogram", difference]
    assert found.values["figures"]["raw pixels"] == {"knn20_top1": 50, "error": 50, "seen": 200}
    better = found.values["differences"]["colour histogram"]
    assert better["knn20_top1"]["value"] == pytest.approx(20)
    assert better["knn20_top1"]["verdict"] == "beats"
    assert better["error"]["value"] == pytest.approx(-20)
    assert better["error"]["verdict"] == "beats"
    cell = found.table.rows[2].cell("knn20_top1")
    low, high = better["knn20_top1"]["low"], better["knn20_top1"]["high"]
    assert cell == f"+20.0 [{low:+.1f}, {high:+.1f}] beats"
    assert cell in found.table.text()


def test_the_same_weights_twice_are_two_rows(mesh: Mesh) -> None:
    found = result(mesh, "pixels", "pixels")
    assert [row.title for row in found.table.rows[:2]] == ["raw pixels", "raw pixels (2)"]
    assert found.values["differences"]["raw pixels (2)"]["knn20_top1"]["verdict"] == "even"


def test_what_is_published_of_the_architecture_is_the_last_row(mesh: Mesh) -> None:
    found = result(mesh, "random:vit_small_16", "pixels")
    assert found.table.rows[-1].title == "paper: vit_small / 16 on ImageNet"
    assert found.table.rows[-1].values == {"knn20_top1": 74.5}  # README of the original
    assert found.values["published"] == {"knn20_top1": 74.5}
    assert result(mesh, "pixels", "random:vit_small_16").values["published"] == {}


def test_a_table_shows_intervals(mesh: Mesh) -> None:
    found = result(mesh, "pixels")
    low, high = found.values["intervals"]["raw pixels"]["knn20_top1"]
    assert 42 < low < 50 < high < 58
    assert f"50.0 [{low:.1f}, {high:.1f}]" in found.table.text()
    assert f"| 50.0 [{low:.1f}, {high:.1f}] |" in found.table.markdown()


def test_files_and_line_hold_the_same(mesh: Mesh, tmp_path: pathlib.Path) -> None:
    found = result(mesh, "pixels", "colour")
    table, figures = write(found, "knn", tmp_path / "new" / "folder")
    assert table.read_text() == found.table.markdown() + "\n"
    assert json.loads(figures.read_text()) == json.loads(line(found))
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "knn.json",
        "knn.md",
    ]
    assert "\n" not in line(found)


def test_json_has_no_number_where_there_is_none(mesh: Mesh) -> None:
    def nothing(request: Request) -> Report:
        single = Sample(np.array([1.0]))
        return Report(
            "Nothing",
            {"one": single},
            {"one": "One"},
            values={"nan": float("nan"), "of": np.float32(0.5), "to": (1, 2)},
        )

    request = Request(
        open_encoder("pixels", size=32), "d", None, None, FeatureStore(None), mesh, 8, 0, None
    )
    found = evaluate("knn", nothing, [request], settings={"out": pathlib.Path("x")})
    told = json.loads(line(found))
    assert told["figures"]["raw pixels"] == {"one": 100, "nan": None, "of": 0.5, "to": [1, 2]}
    assert told["intervals"]["raw pixels"] == {"one": [None, None]}
    assert told["settings"] == {"out": "x"}


def test_a_handful_of_examples_gives_no_verdict(mesh: Mesh) -> None:
    def few(request: Request) -> Report:
        return Report("Few", {"j": Sample(np.array([0.5, 0.7, 0.9]))}, {"j": "J"})

    encoder = open_encoder("pixels", size=32)
    request = Request(encoder, "d", None, None, FeatureStore(None), mesh, 8, 0, None)
    found = evaluate("video", few, [request, request], settings={})
    cells = [row.cell("j") for row in found.table.rows]
    assert cells == ["70.0 [50.0, 90.0]", "70.0 [50.0, 90.0]", "+0.0 [+0.0, +0.0] too few"]
    assert "There are fewer than 6 examples" in found.table.text()
