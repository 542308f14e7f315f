"""Killed, interrupted, moved to other devices, done: the same command goes on where it was."""

import json
import pathlib
import shutil
import signal

import numpy as np
import pytest

from dino_jax.config import UserError, load_record
from dino_jax.interop.checkpoint import load_network, read_tree
from dino_jax.interop.runs import read_metrics
from dino_jax.train.run import initial_state, prepare
from tests.e2e.command import (
    Ended,
    figures,
    killed,
    leave_result,
    load_recipe,
    signalled,
    train,
)

FIELDS = (
    "epoch loss learning_rate weight_decay momentum teacher_temperature grad_norm teacher_entropy "
    "teacher_marginal_entropy assignment_information kl images_per_second data_wait"
).split()
SCORES = ("knn_top1", "view_retrieval_top1", "effective_rank", "effective_rank_centred")
STEPS = 12


@pytest.fixture(scope="module")
def whole(photos: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, Ended]:
    """The workdir of a run that nothing disturbed, and how it ended."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    return workdir, train(workdir, f"data.train={photos}")


@pytest.fixture(scope="module")
def crashed(photos: str, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The workdir of a run that kill -9 ended in the middle: to be copied, then resumed."""
    workdir = tmp_path_factory.mktemp("crashed") / "run"
    assert killed(workdir, 7, f"data.train={photos}") == -signal.SIGKILL
    return workdir


def copied(workdir: pathlib.Path, to: pathlib.Path) -> pathlib.Path:
    return shutil.copytree(workdir, to / "run")


def losses(workdir: pathlib.Path) -> list[float]:
    return [line["loss"] for line in read_metrics(workdir / "metrics.jsonl")[1:]]


def test_a_run_leaves_what_was_promised(whole: tuple[pathlib.Path, Ended]) -> None:
    workdir, ended = whole
    assert ended.code == 0
    done, where = ended.out.splitlines()[-2:]
    assert done == f"done: {workdir}/checkpoints/12"
    assert where.startswith(f"figures: {workdir}/summary.json; ")
    assert "61 images to train on, 3 held out, 3 classes (class0, " in ended.err
    assert "12 steps of 16 images on 1 x cpu" in ended.err
    assert (workdir / "checkpoints" / "12").is_dir()
    assert list((workdir / "tensorboard").iterdir())
    lines = read_metrics(workdir / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(STEPS + 1))
    for line in lines[1:]:
        assert line["epoch"] == line["step"] / 3
        assert all(isinstance(line[name], float) for name in FIELDS)
    summary = json.loads((workdir / "summary.json").read_text())
    for name in SCORES:
        assert name in lines[0]
        assert isinstance(summary[name], float)
        assert isinstance(summary[f"student_{name}"], float)
    assert summary["steps"] == STEPS
    assert summary["unreadable_images"] == []
    record = load_record(workdir)
    assert record is not None
    assert (record.requested.precision, record.resolved.precision) == ("auto", "float32")
    assert record.examples == 61


def test_killed_and_run_again_is_as_if_nothing_had_been(
    whole: tuple[pathlib.Path, Ended], crashed: pathlib.Path, photos: str, tmp_path: pathlib.Path
) -> None:
    """Bit-identical, each step once, though the kill fell between a line and its checkpoint."""
    workdir = copied(crashed, tmp_path)
    assert [line["step"] for line in figures(workdir)] == list(range(8))
    ended = train(workdir, f"data.train={photos}")
    assert ended.code == 0
    assert "resuming after step" in ended.err
    assert figures(workdir) == figures(whole[0])
    for network in ("teacher", "student"):
        ours, theirs = (load_network(each, network)[0] for each in (workdir, whole[0]))
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_killed_again_and_again_and_compiled_anew_each_time(
    whole: tuple[pathlib.Path, Ended], photos: str, tmp_path: pathlib.Path
) -> None:
    """All along the run, after a line and amid a save, the last at the very end."""
    workdir, data = tmp_path / "run", f"data.train={photos}"
    deaths = {1: "line", 3: "save", 5: "line", 6: "save", 8: "line", 9: "save", 12: "save"}
    for step, place in deaths.items():
        in_save = place == "save"
        code = killed(workdir, step, data, in_save=in_save, compiled_anew=True)
        assert code == -signal.SIGKILL
    assert train(workdir, data).code == 0
    assert figures(workdir) == figures(whole[0])
    leave_result(
        "killed_again_and_again",
        "tests/e2e/test_resume.py",
        deaths=[f"step {step}, {place}" for step, place in deaths.items()],
        bit_identical=True,
    )


@pytest.mark.slow  # tests/sharding has it without the command
def test_other_devices_go_on_with_the_run(
    whole: tuple[pathlib.Path, Ended], crashed: pathlib.Path, photos: str, tmp_path: pathlib.Path
) -> None:
    workdir = copied(crashed, tmp_path)
    assert train(workdir, f"data.train={photos}", "devices=2").code == 0
    ours, theirs = np.array(losses(workdir)), np.array(losses(whole[0]))
    error = float(np.max(np.abs(ours / theirs - 1)))
    assert error <= 1e-5
    leave_result(
        "resumed_on_two_devices", "tests/e2e/test_resume.py", largest_relative_error_of_a_loss=error
    )


def test_a_signal_saves_and_the_run_goes_on(
    whole: tuple[pathlib.Path, Ended], photos: str, tmp_path: pathlib.Path
) -> None:
    workdir = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        signalled(patch, 4, signal.SIGTERM)
        ended = train(workdir, f"data.train={photos}")
    assert ended.code == 75
    assert ended.err.splitlines()[-1].startswith(f"interrupted; saved {workdir}/checkpoints/5; ")
    assert train(workdir, f"data.train={photos}").code == 0
    assert figures(workdir) == figures(whole[0])


def test_a_finished_run_stays_as_it_is(
    whole: tuple[pathlib.Path, Ended], photos: str, tmp_path: pathlib.Path
) -> None:
    workdir = copied(whole[0], tmp_path)
    files = [workdir / name for name in ("metrics.jsonl", "summary.json")]
    before = [path.read_text() for path in files]
    ended = train(workdir, f"data.train={photos}")
    assert ended.code == 0
    assert [path.read_text() for path in files] == before


def test_figures_that_a_killed_call_left_are_not_taken_for_final(
    whole: tuple[pathlib.Path, Ended], photos: str, tmp_path: pathlib.Path
) -> None:
    workdir = copied(whole[0], tmp_path)
    (workdir / "summary.json").write_text('{"step": 5, "loss": 99.0}')
    assert train(workdir, f"data.train={photos}").code == 0
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["step"] == STEPS
    assert summary["loss"] == losses(workdir)[-1]


def test_checkpoints_beyond_the_end_or_of_an_unknown_run_are_refused(
    whole: tuple[pathlib.Path, Ended], photos: str, tmp_path: pathlib.Path
) -> None:
    workdir = copied(whole[0], tmp_path)
    before = (workdir / "config.json").read_text()
    shorter = load_recipe(f"data.train={photos}", "steps=6")
    with pytest.raises(UserError, match="is at step 12, beyond the 6 of this configuration"):
        prepare(shorter, workdir, force_schedule=True)
    assert (workdir / "config.json").read_text() == before
    (workdir / "config.json").unlink()
    with pytest.raises(UserError, match=r"checkpoints but no config\.json"):
        prepare(load_recipe(f"data.train={photos}"), workdir)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("seed=1", "the workdir holds another run (seed: 0 -> 1)"),
        ("model.width=32", "(model.width: 16 -> 32)"),
        ("crops.local_number=1", "(crops.local_number: 2 -> 1)"),
        ("epochs=7", "began otherwise (epochs: 6.0 -> 7.0)"),
        ("steps=24", "by --force_schedule"),
    ],
)
def test_another_run_is_refused(
    whole: tuple[pathlib.Path, Ended], photos: str, override: str, line: str
) -> None:
    before = (whole[0] / "config.json").read_text()
    ended = train(whole[0], f"data.train={photos}", override)
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert line in ended.err
    assert (whole[0] / "config.json").read_text() == before


def test_the_number_of_images_is_identity(
    whole: tuple[pathlib.Path, Ended], photos: str, tmp_path: pathlib.Path
) -> None:
    workdir = copied(whole[0], tmp_path)
    more = shutil.copytree(photos.removeprefix("folder:"), tmp_path / "more")
    for number in range(2):
        shutil.copy(more / "class0" / "000.png", more / "class0" / f"again{number}.png")
    ended = train(workdir, f"data.train=folder:{more}")
    assert ended.code == 2
    assert "number of images: 61 -> 63" in ended.err


def test_a_run_starts_from_another(
    whole: tuple[pathlib.Path, Ended], photos: str, tmp_path: pathlib.Path
) -> None:
    config = load_recipe(f"data.train={photos}", f"init_from={whole[0]}", "seed=5")
    state = initial_state(prepare(config, tmp_path / "run"))
    assert int(state.step) == 0
    for network in ("teacher", "student"):
        saved = load_network(whole[0], network)[0]
        assert all(np.array_equal(getattr(state, network)[name], saved[name]) for name in saved)
    centre = read_tree(whole[0], ("target_state",))[0]["target_state"]
    assert np.any(centre)
    assert np.array_equal(state.target_state, centre)


def test_a_start_that_does_not_fit_is_said(
    whole: tuple[pathlib.Path, Ended], photos: str, tmp_path: pathlib.Path
) -> None:
    ended = train(
        tmp_path / "run", f"data.train={photos}", f"init_from={whole[0]}", "head.prototypes=64"
    )
    assert ended.code == 2
    assert "head.prototypes 64: set --config.head.prototypes=32" in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_worker_processes_change_nothing(
    whole: tuple[pathlib.Path, Ended], photos: str, tmp_path: pathlib.Path, workers: int
) -> None:
    workdir = tmp_path / "run"
    ended = train(workdir, f"data.train={photos}", f"data.workers={workers}", "data.threads=2")
    assert ended.code == 0
    assert figures(workdir) == figures(whole[0])
    if workers == 3:
        leave_result(
            "three_workers", "tests/e2e/test_resume.py", identical_lines=len(figures(workdir))
        )
