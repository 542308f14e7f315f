"""What is kept of a call says neither whose machine it was nor where things lie on it."""

import json
import pathlib
import platform

import pytest

from dino_jax.viz.report import calls


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("--workdir=runs/first", "--workdir=runs/first"),
        ("--workdir=/home/me/runs/first", "--workdir=.../first"),
        ("--workdir=~/runs/first/", "--workdir=.../first/"),
        ("--config.data.val=folder:/home/me/my photos/cats", "--config.data.val=folder:.../cats"),
        ("--config.data.val=tar:/a/b,/c/d e.tar", "--config.data.val=tar:.../b,.../d e.tar"),
        ("/photos", "/photos"),
        ("configs/vit_s16.py", "configs/vit_s16.py"),
        ("100 / 3", "100 / 3"),
        ("embedded:photos:train", "embedded:photos:train"),
    ],
)  # fmt: skip
def test_folders_outside_are_not_told(typed: str, kept: str) -> None:
    assert calls.without_folders(typed) == kept


def test_a_call_can_be_typed_again_and_tells_no_host(tmp_path: pathlib.Path) -> None:
    words = ("python", "-m", "dino_jax.main", "--workdir=/home/me/a b/c", "--config=x.py")
    call = calls.new_call(5, 1000.0, words)
    assert call["command"] == "python -m dino_jax.main --workdir=.../c --config=x.py"
    calls.write_calls(tmp_path / "report", [call])
    text = (tmp_path / "report" / "calls.json").read_text()
    assert "/home" not in text
    assert str(pathlib.Path(__file__).parents[3]) not in text
    host = platform.node()
    assert not host or host not in text
    assert calls.read_calls(tmp_path / "report") == [call] == json.loads(text)
    assert set(call["machine"]) == {"devices", "processes", "processor", "system", "python", "jax"}


ODD = ["", "{", "{}", "[1]", "[{}]", '[{"step": 1}]', "null", "[" * 100_000]


@pytest.mark.parametrize("content", ODD)
def test_what_is_not_ours_is_no_call(tmp_path: pathlib.Path, content: str) -> None:
    (tmp_path / "calls.json").write_text(content)
    assert calls.read_calls(tmp_path) == []


def test_an_alarm_keeps_the_step_at_which_it_was_heard_first() -> None:
    troubles = {"alarms": ["a"], "collapse": "x"}
    first = calls.with_alarms([], troubles, 20)
    assert first == {"alarms": [{"step": 20, "text": "a"}], "collapse": "x"}
    both = calls.with_alarms(first["alarms"], {"alarms": ["a", "b"]}, 50)
    assert both["alarms"] == [{"step": 20, "text": "a"}, {"step": 50, "text": "b"}]
