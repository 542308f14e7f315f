"""Collapse: which kind, for how long, said once an episode."""

import logging
import math

import pytest

from dino_jax.train.guards import PATIENCE, CollapseWatch, collapse_kind

LIMIT = math.log(64)


def figures(entropy: float, marginal: float, kl: float = 1.0) -> dict[str, float]:
    return {
        "teacher_entropy": entropy * LIMIT,
        "teacher_marginal_entropy": marginal * LIMIT,
        "kl": kl,
    }


HEALTHY = figures(0.3, 0.9)
ONE = figures(0.01, 0.02)
UNIFORM = figures(0.999, 0.9995, 0.001)


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (HEALTHY, None),
        (ONE, "one prototype"),
        (UNIFORM, "uniform"),
        (figures(0.049, 0.049), "one prototype"),
        (figures(0.051, 0.051), None),
        (figures(0.01, 0.9), None),  # sharp, and every image a prototype of its own: the aim
        (figures(0.981, 0.99, 0.049), "uniform"),
        (figures(0.981, 0.99, 0.051), None),  # as before the first step: the student still differs
        (figures(0.979, 0.99, 0.0), None),
        (figures(math.nan, math.nan, math.nan), None),
    ],
)
def test_kind(seen: dict[str, float], kind: str | None) -> None:
    assert collapse_kind(seen, 64) == kind


def test_alarm_at_the_twentieth_step_in_a_row_and_once() -> None:
    watch = CollapseWatch(64)
    assert PATIENCE == 20
    heard = [watch.see(step, ONE) for step in range(100, 200)]
    assert [step for step, alarm in enumerate(heard, 100) if alarm] == [119]
    assert heard[19].startswith("collapse (one prototype) since step 100: ")
    assert "teacher.temperature" in heard[19]
    assert "\n" not in heard[19]
    assert watch.alarms == [heard[19]]
    assert watch.collapsed == "one prototype"


def test_one_healthy_step_ends_an_episode_and_the_next_is_said_again() -> None:
    watch = CollapseWatch(64, patience=3)
    steps = [ONE, ONE, HEALTHY, ONE, ONE, ONE, ONE, HEALTHY, UNIFORM, UNIFORM, UNIFORM]
    heard = [watch.see(step, seen) for step, seen in enumerate(steps)]
    assert [step for step, alarm in enumerate(heard) if alarm] == [5, 10]
    assert "(one prototype) since step 3:" in heard[5]
    assert "(uniform) since step 8:" in heard[10]
    assert watch.collapsed == "uniform"
    watch.see(11, HEALTHY)
    assert watch.collapsed is None
    assert len(watch.alarms) == 2


def test_one_kind_after_the_other_is_two_episodes() -> None:
    watch = CollapseWatch(64, patience=3)
    heard = [watch.see(step, seen) for step, seen in enumerate([ONE, ONE, UNIFORM, UNIFORM])]
    assert heard == [None] * 4
    assert watch.see(4, UNIFORM) is not None


def test_a_guard_leaves_the_voice_to_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        watch = CollapseWatch(64, patience=1)
        assert watch.see(1, ONE)
    assert not caplog.records
