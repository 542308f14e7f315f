"""What the notebooks begin with."""

import html
import pathlib
import re

import pytest

from dino_jax.config import UserError
from dino_jax.viz import notebook


def test_weights_named_are_taken(tmp_path: pathlib.Path, monkeypatch) -> None:
    (tmp_path / "runs" / "quickstart" / "checkpoints").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert notebook.weights_at_hand("dino_vits16") == "dino_vits16"
    assert notebook.weights_at_hand() == str(tmp_path / "runs" / "quickstart")


def test_without_weights_there_is_an_untrained_network(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    assert notebook.weights_at_hand() == notebook.UNTRAINED
    assert "untrained" in caplog.text


@pytest.mark.parametrize(("trained", "size"), [(32, 96), (96, 288), (224, 480)])
def test_sizes(trained: int, size: int) -> None:
    assert notebook.size_for(trained) == size


def test_photographs_are_copied(tmp_path: pathlib.Path) -> None:
    files = notebook.photographs(tmp_path / "some")
    assert [file.stem for file in files] == list(notebook.SHOWN)
    assert all(file.stat().st_size > 10_000 for file in files)
    with pytest.raises(UserError, match="there is no photograph of_a_dog: expected one of"):
        notebook.photographs(tmp_path, ["of_a_dog"])


def test_a_page_is_whole_inside_its_frame(tmp_path: pathlib.Path) -> None:
    page = '<!doctype html><html><head><title>"a" & <b></title></head><body>é</body></html>'
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    made = notebook.frame(tmp_path / "page.html", height=300)
    [held] = re.findall(r'srcdoc="([^"]*)"', made)
    assert html.unescape(held) == page
    assert "height: 300px" in made
