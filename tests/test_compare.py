"""The command `compare`: exit codes, the page, the table, and one line for a mistake."""

import json
import pathlib

import pytest

from dino_jax import compare
from tests.viz.compare.folders import measured, write_run


@pytest.fixture
def runs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two runs, by their paths from where the command is given."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs" / "first")
    write_run(tmp_path / "runs" / "second", seed=1, offset=2.0)
    return ["runs/first", "runs/second"]


def run(*arguments: str) -> int:
    return compare.main(["compare", *arguments])


def test_two_runs_make_a_page_and_a_table(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*runs) == compare.DONE == 0
    printed, logged = capsys.readouterr()
    assert logged == ""
    lines = printed.splitlines()
    assert lines[0].split() == ["config", "first", "second"]
    assert lines[2].split() == ["seed", "0", "1"]
    assert ["k-NN", "top", "1,", "%:", "teacher", "45.0", "47.0", "−2.0"] in map(str.split, lines)
    assert lines[-1] == "wrote compare.html"
    assert "Runs compared: first, second" in pathlib.Path("compare.html").read_text()


def test_flags_may_stand_anywhere(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pathlib.Path("knn.json").write_text(json.dumps(measured(*runs)))
    command = [runs[0], "--out", "new/page.html", "--x=images", runs[1], "--scores=knn.json"]
    assert run(*command) == 0
    text = pathlib.Path("new/page.html").read_text()
    assert 'data-x="images seen"' in text
    assert "+6.0 [−1.5, +9.0] even" in text
    assert "+6.0 [−1.5, +9.0] even" in capsys.readouterr().out


def test_of_one_run_the_report_is_written(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(runs[0]) == 0
    assert capsys.readouterr().out == "wrote runs/first/report.html\n"
    assert "Training report: first" in pathlib.Path("runs/first/report.html").read_text()


MISTAKES = {
    "nothing": ((), "no run is named: give folders of runs"),
    "no run": (("runs/first", "runs"), "runs is no run (it has no config.json)"),
    "absent": (("runs/first", "runs/x"), "runs/x is no run (there is no such folder)"),
    "twice": (("runs/first", "runs/../runs/first"), "is named twice"),
    "another flag": (("runs/first", "--ot=x"), "there is no flag --ot: did you mean --out?"),
    "another axis": (("runs/first", "runs/second", "--x=loss"), "step|epoch|images|hours"),
    "no page": (("runs/first", "runs/second", "--out=x.png"), "ends in .html"),
    "one with out": (("runs/first", "--out=x.html"), "nothing to be compared with"),
    "no scores": (("runs/first", "runs/second", "--scores=x"), "--scores=x cannot be read"),
    "a file": (("runs/first", "runs/first/config.json"), "is no run"),
    "no place": (("runs/first", "runs/second", "--out=a_file/x.html"), "cannot be written into"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(
    runs: list[str], capsys: pytest.CaptureFixture[str], mistake: str
) -> None:
    pathlib.Path("a_file").write_text("")
    arguments, said = MISTAKES[mistake]
    assert run(*arguments) == compare.MISTAKE == 2
    printed, logged = capsys.readouterr()
    assert printed == ""
    assert logged.startswith("error: ")
    assert said in logged
    assert logged.count("\n") == 1
    assert not pathlib.Path("compare.html").exists()


def test_help_says_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--help")
    assert not ended.value.code
    assert "usage: python -m dino_jax.compare RUN_A RUN_B" in capsys.readouterr().out
