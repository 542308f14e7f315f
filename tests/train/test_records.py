"""What a run writes: each step once, float32 to the last bit, whole or not at all."""

import json
import logging
import pathlib

import numpy as np
import pytest

from dino_jax.interop.runs import read_metrics, read_summary
from dino_jax.train.records import Records, plain, write_summary


def write(folder: pathlib.Path, steps: range, *, resumed_at: int = 0, mark: str = "a") -> None:
    records = Records(folder, resumed_at=resumed_at)
    for step in steps:
        records.write({"step": step, "epoch": step / 4, "loss": np.float32(step / 3), "run": mark})
    records.close()


def test_each_step_appears_once_after_a_resume(tmp_path: pathlib.Path) -> None:
    write(tmp_path, range(9))
    write(tmp_path, range(6, 12), resumed_at=5, mark="b")
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(12))
    assert [line["run"] for line in lines] == ["a"] * 6 + ["b"] * 6


def test_a_run_that_starts_again_from_nothing_keeps_nothing(tmp_path: pathlib.Path) -> None:
    write(tmp_path, range(3))
    write(tmp_path, range(2), mark="b")
    assert [line["run"] for line in read_metrics(tmp_path / "metrics.jsonl")] == ["b", "b"]


def test_lines_are_there_as_soon_as_they_are_written(tmp_path: pathlib.Path) -> None:
    records = Records(tmp_path)
    records.write({"step": 1, "epoch": 0.5, "loss": 2.0})
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1, "epoch": 0.5, "loss": 2.0}]
    records.close()


@pytest.mark.parametrize("cut", ['{"step": 3, "lo', '{"step": 3, "loss": 1.0', "\0\0\0", "{"])
def test_a_last_line_cut_off_by_a_crash_is_left_out(tmp_path: pathlib.Path, cut: str) -> None:
    write(tmp_path, range(3))
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + cut)
    assert [line["step"] for line in read_metrics(path)] == [0, 1, 2]
    write(tmp_path, range(2, 4), resumed_at=1)
    assert [line["step"] for line in read_metrics(path)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "bad",
    [
        b"[]", b"3", b"null", b"{}", b'{"loss": 1.0}', b'{"step": "3"}', b'{"step": 2.5}',
        b'{"step": true}', b'{"step": null}', b"\xff\xfe", b'{"step": 1, "run": "\xe9"}',
        b"\0\0\0", b"", b"no JSON", b"[" * 100_000, b'{"step": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda bad: repr(bad[:20]),
)  # fmt: skip
def test_reading_stops_at_a_strange_line_and_says_once_which(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, bad: bytes
) -> None:
    write(tmp_path, range(5))
    path = tmp_path / "metrics.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:3], bad, *lines[3:]]) + b"\n")
    with caplog.at_level(logging.WARNING, logger="dino_jax"):
        assert [line["step"] for line in read_metrics(path)] == [0, 1, 2]
        assert [record.getMessage().count(f"line 4 of {path}") for record in caplog.records] == [1]
        caplog.clear()
        write(tmp_path, range(5, 7), resumed_at=4)
        assert [line["step"] for line in read_metrics(path)] == [0, 1, 2, 5, 6]
        assert len(caplog.records) == 1, "the resume rewrote the file: it is whole again"


def test_a_line_cut_off_is_silent_and_so_is_starting_anew(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, range(3))
    path = tmp_path / "metrics.jsonl"
    with caplog.at_level(logging.WARNING, logger="dino_jax"):
        path.write_bytes(path.read_bytes() + b'{"step": 3, "run": "\xc3')
        assert [line["step"] for line in read_metrics(path)] == [0, 1, 2]
        path.write_bytes(b"[]\n" + path.read_bytes())
        write(tmp_path, range(2))
        assert not caplog.records
        assert [line["step"] for line in read_metrics(path)] == [0, 1]


def test_numbers_round_trip_float32(tmp_path: pathlib.Path) -> None:
    random = np.random.default_rng(0)
    bits = random.integers(0, 2**32, 2000, np.uint64).astype(np.uint32)
    values = [value for value in bits.view(np.float32) if np.isfinite(value)]
    records = Records(tmp_path)
    for step, value in enumerate(values):
        records.write({"step": step, "epoch": 0.0, "text": value})
    records.close()
    back = [np.float32(line["text"]) for line in read_metrics(tmp_path / "metrics.jsonl")]
    assert np.array_equal(back, values)


def test_numbers_are_as_short_as_they_can_be() -> None:
    assert json.dumps(plain(np.float32(0.1))) == "0.1"
    assert json.dumps(plain({"a": (np.int64(3), True, None, "x", 0.5)})) == (
        '{"a": [3, true, null, "x", 0.5]}'
    )


def test_what_json_has_no_number_for_is_text() -> None:
    assert plain({"a": np.float32(np.nan), "b": [np.inf]}) == {"a": "nan", "b": ["inf"]}


def test_summary_is_replaced_whole(tmp_path: pathlib.Path) -> None:
    write_summary(tmp_path, {"knn_top1": np.float32(12.5), "alarms": []})
    write_summary(tmp_path, {"knn_top1": np.float32(13.5), "alarms": ["collapse"]})
    assert json.loads((tmp_path / "summary.json").read_text()) == {
        "knn_top1": 13.5, "alarms": ["collapse"],
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize(
    "content",
    [b"[]", b"3", b"null", b"", b"\xff", b'{"a": 1', b"[" * 100_000],
    ids=lambda content: repr(content[:9]),
)
def test_a_summary_that_is_not_whole_is_none(tmp_path: pathlib.Path, content: bytes) -> None:
    assert read_summary(tmp_path) == {}
    (tmp_path / "summary.json").write_bytes(content)
    assert read_summary(tmp_path) == {}


def test_figures_reach_tensorboard(tmp_path: pathlib.Path) -> None:
    write(tmp_path, range(3))
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert events.read_bytes().count(b"loss") == 3
