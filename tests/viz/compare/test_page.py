"""The page: every curve of every run, what is said of it, and the pictures side by side."""

import json
import pathlib
import re

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.viz.compare.attention import attention, kept
from dino_jax.viz.compare.curves import LEARNING, RUNNING, SCHEDULES, curves
from dino_jax.viz.compare.runs import AXES, open_runs
from dino_jax.viz.compare.write import aligned, checked_out, comparison, summary, write_comparison
from tests.viz.compare.folders import write_attention, write_run
from tests.viz.web.reading import Page, tree


def figures(text: str) -> dict[str, str]:
    """The charts of a page by their titles."""
    found = re.findall(r'<figure class="chart".*?</figure>', text, re.DOTALL)
    return {Page(each).texts["p"][0]: each for each in found}


def data(figure: str) -> list[list]:
    return json.loads(tree(figure).attrib["data-lines"])


def test_curves_of_all_runs_lie_over_each_other(tmp_path: pathlib.Path) -> None:
    runs = open_runs(
        [write_run(tmp_path / "a"), write_run(tmp_path / "b", done=50, offset=1.0, seed=1)]
    )
    charts = figures(curves(runs, "step"))
    assert {title for title, _ in (LEARNING | RUNNING).values()} <= set(charts)
    first, second = data(charts["Loss"])
    assert first[0] == list(range(5, 105, 5))
    assert second == [list(range(5, 55, 5)), [f"{6 - s / 50:.4g}" for s in range(5, 55, 5)]]
    names = [item.findall("span") for item in tree(charts["k-NN, top 1"]).iter("li")]
    shown = [each[0].text for each in names if len(each) == 2]
    assert shown == ["a", "a, student", "b", "b, student"]
    assert [each[1][-1] for each in data(charts["k-NN, top 1"])] == ["45", "45.5", "33.5", "34"]


@pytest.mark.parametrize("axis", AXES)
def test_every_axis_carries_them(tmp_path: pathlib.Path, axis: str) -> None:
    runs = open_runs([write_run(tmp_path / "a"), write_run(tmp_path / "b", batch_size=4)])
    charts = figures(curves(runs, axis))
    assert tree(charts["Loss"]).attrib["data-x"] == AXES[axis]
    for run, drawn in zip(runs, data(charts["Loss"]), strict=True):
        assert drawn[0] == [run.places(axis)[step] for step in range(5, 105, 5)]


def test_levels_are_of_collapse_and_of_what_needs_no_training(tmp_path: pathlib.Path) -> None:
    folders = [write_run(tmp_path / "a"), write_run(tmp_path / "b", head__prototypes=1024)]
    charts = figures(curves(open_runs(folders), "step"))
    for title in ("Loss", "Entropy of the teacher, of one view"):
        assert "ln K = 5.55" in charts[title]
        assert "ln K = 6.93" in charts[title]
    assert "chance 10.0" in charts["k-NN, top 1"]
    assert "raw pixels 40.5" in charts["k-NN, top 1"]
    write_run(tmp_path / "b", data__val="folder:other")
    charts = figures(curves(open_runs(folders), "step"))
    assert "raw pixels" not in charts["k-NN, top 1"]


def test_schedules_are_drawn_where_they_differ(tmp_path: pathlib.Path) -> None:
    folders = [write_run(tmp_path / "a"), write_run(tmp_path / "b", done=50)]
    titles = {title for title, _ in SCHEDULES.values()}
    text = curves(open_runs(folders), "step")
    assert not titles & set(figures(text))
    assert "The same in all runs" in text
    path = folders[1] / "metrics.jsonl"
    path.write_text(path.read_text().replace('"weight_decay": 0.04', '"weight_decay": 0.05'))
    assert titles & set(figures(curves(open_runs(folders), "step"))) == {"Weight decay"}


def test_a_reader_is_warned_in_bold(tmp_path: pathlib.Path) -> None:
    folders = [
        write_run(tmp_path / "a", head__prototypes=64),
        write_run(tmp_path / "b", data__train="folder:other"),
    ]
    path = folders[1] / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b"[]\n")
    runs = open_runs(folders)
    bold = Page(comparison(tmp_path / "c.html", runs, "step", ())).texts["strong"]
    assert ["same images" in bold[0], "prototypes K" in bold[1], "damaged" in bold[2]] == [True] * 3
    assert "metrics.jsonl of b is damaged after step 100" in summary(runs, "step")
    alike = open_runs([write_run(tmp_path / "c"), write_run(tmp_path / "d")])
    assert "strong" not in Page(comparison(tmp_path / "c.html", alike, "step", ())).texts
    assert "the configurations are the same" in summary(alike, "step")


def test_names_of_folders_are_escaped(tmp_path: pathlib.Path) -> None:
    nasty = "<script>alert('&')<"
    folders = [write_run(tmp_path / nasty), write_run(tmp_path / 'b" onload="x')]
    text = comparison(tmp_path / "c.html", open_runs(folders), "step", ())
    page = Page(text)
    assert len(page.of("script")) == 1
    assert not any("onload" in attributes for _, attributes in page.elements)
    assert nasty in page.texts["title"][0]


def test_nothing_of_it_is_elsewhere(tmp_path: pathlib.Path) -> None:
    folders = [write_run(tmp_path / "a"), write_run(tmp_path / "b", seed=1)]
    for folder in folders:
        write_attention(folder)
    text = comparison(tmp_path / "c.html", open_runs(folders), "step", ())
    assert set(re.findall(r"\w+://[^\"' ]*", text)) == {"http://www.w3.org/2000/svg"}
    assert all(each["src"].startswith("data:image/") for each in Page(text).of("img"))


def test_attention_lies_side_by_side(tmp_path: pathlib.Path) -> None:
    folders = [write_run(tmp_path / name, seed=n) for n, name in enumerate("ab")]
    for number, folder in enumerate(folders):
        write_attention(folder, seed=number)
    page = Page(attention(open_runs(folders)))
    assert page.texts["th"] == ["name", "image", "a, step 100", "b, step 100", "cat", "b.png"]
    assert len(page.of("img")) == 6
    found = kept(folders[0] / "report")
    assert found is not None
    assert found.maps.shape == (2, 8, 8)
    assert np.allclose(found.maps.sum(axis=(1, 2)), 1)


def test_attention_is_left_out_with_a_reason(tmp_path: pathlib.Path) -> None:
    folders = [write_run(tmp_path / name, seed=n) for n, name in enumerate("ab")]
    write_attention(folders[0])
    assert "b kept no snapshots" in attention(open_runs(folders))
    write_attention(folders[1], first="other.png")
    assert "different images" in attention(open_runs(folders))
    for other in ({"images": 1}, {"of": "dog"}):  # of the same names
        write_attention(folders[1], **other)
        assert "different images" in attention(open_runs(folders))
    (folders[1] / "report" / "images.npz").write_bytes(b"damaged")
    assert "b kept no snapshots" in attention(open_runs(folders))


def test_the_page_is_written_whole_and_into_a_new_folder(tmp_path: pathlib.Path) -> None:
    runs = open_runs([write_run(tmp_path / "a"), write_run(tmp_path / "b")])
    path = write_comparison(tmp_path / "new" / "c.html", runs, axis="step")
    assert path.read_text().endswith("</html>\n")
    assert [each.name for each in path.parent.iterdir()] == ["c.html"]
    assert path.read_text() == comparison(path, runs, "step", ())


def test_where_it_goes(tmp_path: pathlib.Path) -> None:
    assert checked_out(str(tmp_path)) == tmp_path / "compare.html"
    assert checked_out("a/b.html") == pathlib.Path("a/b.html")
    with pytest.raises(UserError, match=r"name a file that ends in \.html"):
        checked_out("runs/table.md")


def test_columns_lie_under_each_other() -> None:
    rows = [["a", "1.0"], ["longer", "-" * 60]]
    text = aligned(["", "x"], rows)
    assert len({len(line) for line in (text[0], text[2], text[3])}) == 1
    assert text[3].endswith("…" + "-" * 39)
