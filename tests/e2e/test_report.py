"""A run's page is there from the first line on, goes on with the run, and can be done without."""

import json
import math
import pathlib
import re
import shutil
import signal

import numpy as np
import pytest

from dino_jax.interop.checkpoint import load_network
from dino_jax.main import DONE, INTERRUPTED
from dino_jax.train.records import Records
from dino_jax.viz.report import reporter
from dino_jax.viz.report.write import report
from tests.e2e.command import Ended, figures, signalled, train


@pytest.fixture(scope="module")
def stopped(
    photos: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[pathlib.Path, Ended, list[str]]:
    """A run that a signal ended, sent at the line of step 7, and its page before each line."""
    workdir = tmp_path_factory.mktemp("stopped") / "run"
    pages: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        signalled(patch, 7, signal.SIGTERM)
        patch.setattr(reporter, "ALLOWANCE", math.inf)
        write = Records.write

        def write_and_look(self: Records, entry: dict[str, object]) -> None:
            page = workdir / "report.html"
            pages.append(page.read_text() if page.exists() else "")
            write(self, entry)

        patch.setattr(Records, "write", write_and_look)
        ended = train(workdir, f"data.train={photos}", "eval_every=3")
    return workdir, ended, pages


def test_the_page_is_there_after_the_first_line_and_follows_the_evaluations(
    stopped: tuple[pathlib.Path, Ended, list[str]],
) -> None:
    workdir, ended, pages = stopped
    assert ended.code == INTERRUPTED
    assert "the report" not in ended.err
    assert pages[0] == "", "before the first line"
    assert "Running: step 0 of 12" in pages[1]
    assert "The first batch" in pages[1]
    assert "Running: step 3 of 12" in pages[4]
    page = (workdir / "report.html").read_text()
    assert "Stopped at step 8 of 12" in page
    assert "Healthy: no collapse seen" in page
    assert "It holds thumbnails of your images" in page
    assert set(re.findall(r">step (\d+)<", page)) >= {"0", "3", "6"}
    assert str(workdir.parent) not in page


@pytest.fixture(scope="module")
def resumed(
    stopped: tuple[pathlib.Path, Ended, list[str]],
    photos: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[pathlib.Path, Ended]:
    """The same run gone on with, one of its snapshots damaged."""
    workdir = pathlib.Path(shutil.copytree(stopped[0], tmp_path_factory.mktemp("resumed") / "run"))
    (workdir / "report" / "attention-00000006.npz").write_bytes(b"damaged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reporter, "ALLOWANCE", math.inf)
        return workdir, train(workdir, f"data.train={photos}", "eval_every=3")


def test_a_resumed_run_goes_on_with_its_report(
    stopped: tuple[pathlib.Path, Ended, list[str]], resumed: tuple[pathlib.Path, Ended]
) -> None:
    workdir, ended = resumed
    assert ended.code == DONE
    assert ended.out.splitlines()[-1].endswith(f"curves: {workdir}/report.html")
    kept = (stopped[0] / "report" / "attention-00000003.npz").read_bytes()
    assert (workdir / "report" / "attention-00000003.npz").read_bytes() == kept
    page = (workdir / "report.html").read_text()
    assert page == report(workdir), "the page is a function of the folder"
    assert "Finished: 12 steps in " in page
    assert "and 2 calls" in page
    columns = set(re.findall(r">step (\d+)<", page))
    assert {"0", "3", "9", "12"} <= columns
    assert "6" not in columns
    calls = json.loads((workdir / "report" / "calls.json").read_text())
    assert [call["step"] for call in calls] == [0, 8]


def test_the_run_is_the_same_without_it(
    resumed: tuple[pathlib.Path, Ended], photos: str, tmp_path: pathlib.Path
) -> None:
    """Stopped and resumed with it, in one go without: speed and waiting aside all is equal."""
    ended = train(tmp_path / "run", f"data.train={photos}", "eval_every=3", "report=false")
    assert ended.code == DONE
    assert not (tmp_path / "run" / "report.html").exists()
    assert figures(resumed[0]) == figures(tmp_path / "run")
    for network in ("teacher", "student"):
        ours, theirs = (load_network(each, network)[0] for each in (resumed[0], tmp_path / "run"))
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_a_report_that_cannot_be_written_is_a_line_and_the_run_goes_on(
    photos: str, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report").write_text("in the way")
    (tmp_path / "run" / "report.html").mkdir()
    ended = train(tmp_path / "run", f"data.train={photos}", "steps=2", "eval_every=2")
    assert ended.code == DONE
    told = [line for line in ended.err.splitlines() if line.startswith("the report ")]
    assert 1 <= len(told) == len(set(told))
    assert "Traceback" not in ended.err


def test_without_it_nothing_of_it_is_there(photos: str, tmp_path: pathlib.Path) -> None:
    ended = train(tmp_path / "run", f"data.train={photos}", "steps=1", "report=false")
    assert ended.code == DONE
    assert ended.out.splitlines()[-1].endswith("run/tensorboard")
    assert not [path for path in (tmp_path / "run").iterdir() if "report" in path.name]
