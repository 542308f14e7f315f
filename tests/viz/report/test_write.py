"""The page: a pure function of the folder, whole whatever is missing, and nobody's script."""

import json
import pathlib
import re
from typing import Any

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.viz.report import write
from dino_jax.viz.report.write import report, write_report
from tests.viz.report.records import HEALTHY, SCORED, call, line, write_pictures, write_run

DONE = {"step": 12, "steps": 12, "seconds": 189.0, **HEALTHY}
LINES = line(0), line(6, **SCORED), line(12, **SCORED)
TABLE = "**Images of folder:/a/b**\n\n| | k-NN |\n| --- | ---: |\n| HOG | 20.3 |\n\n- How.\n"


def sections(page: str) -> dict[str, str]:
    parts = re.findall(r"<h2>(.*?)</h2>(.*?)</section>", page, flags=re.DOTALL)
    return dict(parts)


def test_all_that_a_run_leaves_is_on_the_page(tmp_path: pathlib.Path) -> None:
    run = write_run(
        tmp_path / "run",
        *LINES,
        summary=DONE | {"pixels_knn_top1": 30.0},
        calls=[call()],
        data__train="folder:photos",
    )
    write_pictures(run, 0, 6, 12)
    (run / "table.md").write_text(TABLE)
    path = write_report(run)
    page = path.read_text()
    assert path == run / "report.html"
    assert "Left out" not in page
    found = sections(page)
    for title, charts in {
        "Learning": 3, "Scores while training": 3, "Speed and steadiness": 3, "Schedules": 4,
    }.items():  # fmt: skip
        assert found[title].count("<svg") >= charts
    assert "ln K = 3.47" in found["Learning"]
    assert "raw pixels 30.0" in found["Scores while training"]
    assert "untrained 40.0" in found["Scores while training"]
    assert found["Attention while training"].count("<img") == 2 * (1 + 3)
    assert found["Nearest neighbours"].count("<img") == 2 * 2 * 6
    assert found["The first batch, as the network sees it"].count("<img") == 2 * (2 + 2)
    assert "<td" in found["Against what needs no training"]
    assert "/a/b" not in page
    assert "python -m dino_jax.main" in found["Command and machine"]
    assert "0.9 s of 90 (1.0 %)" in found["Command and machine"]
    assert "It holds thumbnails of your images" in page
    assert "crops.global_size" in found["Configuration"]
    assert [each.name for each in run.iterdir() if each.name.startswith("report.")] == [
        "report.html"
    ]


def test_the_same_folder_gives_the_same_page(tmp_path: pathlib.Path) -> None:
    run = write_run(tmp_path / "run", *LINES, calls=[call()])
    write_pictures(run, 0, 6)
    assert report(run) == report(run)


@pytest.mark.parametrize("lines", [(), LINES[:1], LINES[:2], LINES])
def test_of_a_run_without_anything_else_the_rest_is_left_out_with_a_reason(
    tmp_path: pathlib.Path, lines: tuple[dict[str, object], ...]
) -> None:
    page = report(write_run(tmp_path / "run", *lines))
    found = sections(page)
    for title in (
        "Attention while training",
        "Nearest neighbours",
        "The first batch, as the network sees it",
        "Command and machine",
    ):
        assert "Left out: " in found[title]
    assert "thumbnails" not in page
    assert "<img" not in page


def test_damaged_files_leave_their_panels_out(tmp_path: pathlib.Path) -> None:
    run = write_run(tmp_path / "run", *LINES, summary=DONE, calls=[call()])
    write_pictures(run, 0, 6, 12)
    whole = report(run)
    for path in sorted((run / "report").iterdir()):
        content = path.read_bytes()
        for damaged in (b"", content[: len(content) // 2]):
            path.write_bytes(damaged)
            assert len(report(run)) < len(whole)
        path.write_bytes(content)
    for name in ("summary.json", "config.json", "metrics.jsonl"):
        path, content = run / name, (run / name).read_bytes()
        for damaged in (b"\xff\xfe", b'{"resolved": []}'):
            path.write_bytes(damaged)
            report(run)
        path.write_bytes(content)
    assert report(run) == whole


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("summary.json", {"skipped_updates": "a"}),
        ("summary.json", {"alarms": [1, {"a": 1}]}),
        ("summary.json", {"chance_knn_top1": 10**400}),
        ("config.json", {"reasons": 7}),
        ("config.json", {"steps_per_epoch": "q"}),
        ("config.json", {"resolved": {"head": None, "steps": None, "epochs": "x"}}),
        ("report/calls.json", [call(troubles={"alarms": 7})]),
        ("report/calls.json", [call(began=1e300)]),
        ("report/calls.json", [call(troubles={"skipped_updates": "a"})]),
    ],
)
def test_what_is_damaged_in_a_file_is_left_out_with_a_line(
    tmp_path: pathlib.Path, name: str, change: Any
) -> None:
    run = write_run(tmp_path / "run", *LINES, summary=DONE, calls=[call()])
    content = json.loads((run / name).read_text())
    changed = content | change if isinstance(content, dict) else change
    (run / name).write_text(json.dumps(changed))
    page = report(run)
    assert f'<p class="bad">{name} is damaged: ' in page
    assert "left out." in page


def test_figures_too_large_for_a_chart_are_gaps(tmp_path: pathlib.Path) -> None:
    run = write_run(tmp_path / "run", line(0), line(6, knn_top1=10**400, data_wait=-1e308))
    (run / "config.json").write_text("{}")
    assert "Learning" in sections(report(run))
    (run / "metrics.jsonl").unlink()
    (run / "summary.json").write_text('{"pixels_knn_top1": 30.0}')
    assert "No step has been recorded yet" in report(run)


def test_a_page_that_cannot_be_put_there_is_the_users_mistake(tmp_path: pathlib.Path) -> None:
    run = write_run(tmp_path / "run", *LINES)
    (run / "report.html").mkdir()
    with pytest.raises(UserError, match=r"report\.html cannot be written \(it is a folder\)"):
        write_report(run)


def test_snapshots_of_another_shape_leave_their_panels_out(tmp_path: pathlib.Path) -> None:
    """As of another version, or of a folder put together by hand."""
    run = write_run(tmp_path / "run", *LINES, calls=[call()])
    write_pictures(run, 0)
    other = write_run(tmp_path / "other", *LINES)
    write_pictures(other, 0)
    for name in ("attention-00000000.npz", "neighbours-00000000.npz"):
        (run / "report" / "images.npz").rename(run / "report" / name)
        (run / "report" / "images.npz").write_bytes((other / "report/images.npz").read_bytes())
        assert "Left out: what was kept of it cannot be read" in report(run)


def test_a_snapshot_that_holds_no_numbers_is_left_out_with_a_line(tmp_path: pathlib.Path) -> None:
    run = write_run(tmp_path / "run", *LINES)
    write_pictures(run, 0, 6, 12)
    with np.load(run / "report" / "neighbours-00000012.npz") as held:
        near = dict(held)
    for kind, arrays in (
        ("attention", {"maps": np.full((2, 16, 16), np.nan, np.float32)}),
        ("neighbours", near | {"similarity": np.full((2, 5), np.nan, np.float32)}),
        ("neighbours", near | {"bank": np.array("many")}),
        ("neighbours", near | {"thumbs": near["thumbs"].astype(float)}),
        ("neighbours", near | {"classes": near["classes"][:, :3]}),
    ):
        np.savez(run / "report" / f"{kind}-00000012.npz", **arrays)
        title = {"attention": "Attention while training", "neighbours": "Nearest neighbours"}[kind]
        found = sections(report(run))[title]
        assert "Left out: step 12, damaged or not finite." in found
        assert "<img" in found


HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


def test_names_are_text_wherever_they_come_from(tmp_path: pathlib.Path) -> None:
    unreadable = DONE | {"unreadable_images": [HOSTILE], "alarms": [HOSTILE], "collapse": HOSTILE}
    run = write_run(
        tmp_path / "run", *LINES, summary=unreadable,
        calls=[call(command=HOSTILE, commit=HOSTILE, machine={HOSTILE: HOSTILE})],
        data__train=f"folder:{HOSTILE}",
    )  # fmt: skip
    write_pictures(run, 0, 6, label=HOSTILE)
    (run / "table.md").write_text(
        f"| {HOSTILE} | a |\n| --- | --- |\n| {HOSTILE} | {HOSTILE} |\n\n- {HOSTILE}\n"
    )
    page = report(run)
    assert "<script>alert" not in page
    assert "onerror=alert(2)>" not in page
    assert page.count("&lt;script&gt;alert") > 8


def test_nothing_is_fetched(tmp_path: pathlib.Path) -> None:
    run = write_run(tmp_path / "run", *LINES, calls=[call()])
    write_pictures(run, 0)
    page = report(run)
    sources = re.findall(r'(?:src|href)="(.{0,10})', page)
    assert sources
    assert all(source.startswith("data:image") for source in sources)
    assert 'http-equiv="refresh"' not in page


def test_whose_photographs_they_are_is_said(tmp_path: pathlib.Path) -> None:
    run = write_run(tmp_path / "run", *LINES, data__train="embedded:photos:train")
    write_pictures(run, 0)
    assert "NOTICE" in report(run)
    assert "your images" not in report(run)


def test_a_folder_without_a_run_is_the_users_mistake(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        write_report(tmp_path)
    with pytest.raises(UserError, match="holds no run"):
        write_report(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_made_leaves_the_one_before(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", *LINES)
    before = write_report(run).read_text()
    monkeypatch.setattr(write, "report", lambda workdir: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(run)
    assert (run / "report.html").read_text() == before
    assert {path.name for path in run.iterdir()} == {"config.json", "metrics.jsonl", "report.html"}
