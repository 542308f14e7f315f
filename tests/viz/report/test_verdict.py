"""The words on top of a report: where the run is, how it is, what it has learnt."""

import pathlib
from typing import Any

import pytest

from dino_jax.train.guards import CollapseWatch
from dino_jax.viz.report import verdict
from dino_jax.viz.report.verdict import Record
from dino_jax.viz.report.write import read_record
from tests.viz.report.records import HEALTHY, LIMIT, SCORED, call, line, write_run

DONE = {"step": 12, "steps": 12, "seconds": 189.0, **HEALTHY}


def record(tmp_path: pathlib.Path, *lines: dict[str, Any], **more: Any) -> Record:
    return read_record(write_run(tmp_path / "run", *lines, **more))


def test_where_a_run_is(tmp_path: pathlib.Path) -> None:
    running = record(tmp_path, line(0), line(6), calls=[call()])
    told = verdict.progress(running)
    assert told.startswith("Running: step 6 of 12 (50 %), line written 20")
    assert "UTC. Reload the page" in told
    stopped = record(tmp_path, line(0), line(6), summary=DONE | {"step": 6}, calls=[call()])
    assert verdict.progress(stopped).startswith("Stopped at step 6 of 12 in 3 min 9 s; the same")
    # gone on with since: the summary is of the call before
    again = record(
        tmp_path, line(0), line(6), line(7), summary=DONE | {"step": 6}, calls=[call(), call(6)]
    )
    assert verdict.progress(again).startswith("Running: step 7")
    finished = record(tmp_path, line(0), line(12), summary=DONE, calls=[call(), call(6)])
    assert verdict.progress(finished) == "Finished: 12 steps in 3 min 0 s and 2 calls."
    alone = record(tmp_path, line(0), line(12), summary=DONE)
    assert verdict.progress(alone).startswith("Finished: 12 steps in 3 min")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (90000, "25 h 0 min")],
)
def test_durations(seconds: float, told: str) -> None:
    assert verdict.duration(seconds) == told


def collapsed_alarm() -> str:
    """An alarm as training words it."""
    watch = CollapseWatch(32, patience=1)
    alarm = watch.see(5, {"teacher_entropy": 0.0, "teacher_marginal_entropy": 0.0, "kl": 1.0})
    assert alarm is not None
    return alarm


def test_healthy_collapsed_recovered_and_unknown(tmp_path: pathlib.Path) -> None:
    lines = line(0), line(6), line(12)
    told, kind = verdict.health(record(tmp_path, *lines, summary=DONE))
    assert kind == "good"
    assert told.startswith("Healthy: no collapse seen. The teacher's entropy is 1.20 nats")
    assert f"ln K being {LIMIT:.2f}: an assignment tells 1.80 nats" in told
    alarm = collapsed_alarm()
    sick = DONE | {"collapse": "one prototype", "alarms": [alarm]}
    told, kind = verdict.health(record(tmp_path, *lines, summary=sick))
    assert kind == "bad"
    assert told.startswith(f"COLLAPSED: {alarm}")
    told, kind = verdict.health(record(tmp_path, *lines, summary=sick | {"collapse": None}))
    assert told.startswith(f"It had collapsed and recovered: {alarm}")
    (tmp_path / "run" / "summary.json").unlink()
    told, kind = verdict.health(record(tmp_path, *lines))
    assert (told[:20], kind) == ("Whether it collapsed", "")
    assert verdict.health(record(tmp_path, line(0))) == ("No step has been recorded yet.", "")
    assert verdict.health(record(tmp_path)) == ("No step has been recorded yet.", "")


def test_while_running_the_verdict_is_that_of_the_calls(tmp_path: pathlib.Path) -> None:
    """What an earlier call saw is not forgotten when the run goes on."""
    alarm = {"step": 5, "text": collapsed_alarm()}
    sick = call(troubles=HEALTHY | {"alarms": [alarm], "collapse": "one prototype"})
    lines = line(0), line(6), line(7)
    running = record(tmp_path, *lines, calls=[sick])
    assert verdict.health(running)[0].startswith("COLLAPSED: collapse (one prototype) since step 5")
    gone_on = record(tmp_path, *lines, calls=[sick, call(6)])
    assert verdict.health(gone_on)[0].startswith("It had collapsed and recovered")
    ended = record(tmp_path, *lines, line(12), summary=DONE, calls=[sick, call(6)])
    assert verdict.health(ended)[0].startswith("It had collapsed and recovered")
    fresh = record(tmp_path, *lines, summary={}, calls=[call()])
    assert verdict.health(fresh)[1] == "good"


def test_scores_are_held_against_what_needs_no_training(tmp_path: pathlib.Path) -> None:
    scored = line(6, **SCORED), line(12, **SCORED | {"knn_top1": 55.0})
    running = record(tmp_path, line(0), *scored)
    assert verdict.levels(running, "knn_top1") == {"untrained": 40.0}
    knn, views = verdict.learnt(running)
    assert knn == (
        "Teacher's k-NN: 55.0 % at step 12; best 60.0 % at step 6 (percent: untrained 40.0)."
    )
    assert views.startswith("Teacher's view retrieval: 9.0 % at step 12")
    baselines = {"pixels_knn_top1": 46.6, "chance_knn_top1": 10, "untrained_knn_top1": 41.0}
    ended = record(tmp_path, line(0), *scored, summary=DONE | baselines)
    assert verdict.levels(ended, "knn_top1") == {
        "chance": 10.0, "raw pixels": 46.6, "untrained": 41.0,
    }  # fmt: skip
    assert verdict.learnt(record(tmp_path, line(0))) == []


def test_the_start_is_called_untrained_only_where_it_is(tmp_path: pathlib.Path) -> None:
    started = record(tmp_path, line(0), line(6, **SCORED), init_from="runs/first")
    assert verdict.levels(started, "knn_top1") == {"start": 40.0}


def test_warnings(tmp_path: pathlib.Path) -> None:
    names = [f"folder/{i}.png" for i in range(6)]
    bad = DONE | {"skipped_updates": 1200, "unreadable_images": names}
    lines = [line(step, data_wait=0.4) for step in (3, 6, 12)]
    skipped, unreadable, waiting = verdict.warnings(record(tmp_path, *lines, summary=bad))
    assert skipped.startswith("1,200 updates were skipped")
    assert unreadable == "6 images could not be read: 0.png, 1.png, 2.png, 3.png, …."
    assert "waits for images 40 % of the time" in waiting
    assert verdict.warnings(record(tmp_path, line(0), line(12), summary=DONE)) == []


def test_what_is_no_number_is_no_figure(tmp_path: pathlib.Path) -> None:
    """A loss that is not finite is written as a string."""
    found = record(tmp_path, line(0), line(6, loss="nan", kl="inf", teacher_entropy="nan"))
    assert "loss" not in verdict.figures(found)
    assert verdict.figures(found)["images a second"] == "200"
    assert verdict.health(found)[0].endswith("not recorded for this run. ")
