"""Exit codes: every mistake is exactly one line on stderr, and 2."""

import os
import pathlib
import subprocess
import sys

import pytest

from dino_jax import main
from tests.config.recipes import FOLDER
from tests.data.images import encoded, pixels, write_folder

ROOT = pathlib.Path(__file__).parents[1]
AUTO = f"--config={FOLDER / 'auto.py'}"
QUICK = f"--config={FOLDER / 'quickstart.py'}"


@pytest.fixture
def place(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder of images, an empty one, one of damaged images, and a text file."""
    write_folder(tmp_path / "photos", {f"{i}.png": encoded(pixels(i)) for i in range(40)})
    write_folder(tmp_path / "damaged", {f"{i}.png": b"no image" for i in range(40)})
    few = {f"{i:02}.png": encoded(pixels(i)) if i != 8 else b"no image" for i in range(17)}
    write_folder(tmp_path / "few", few)
    write_folder(tmp_path / "texts", {"a.txt": b"text"})
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("text")
    return tmp_path


MISTAKES = {
    "missing folder": (AUTO, "--config.data.train=folder:{at}/absent", "there is no folder"),
    "empty folder": (AUTO, "--config.data.train=folder:{at}/empty", "holds no images"),
    "no images": (AUTO, "--config.data.train=folder:{at}/texts", "1 other files"),
    "text file": (AUTO, "--config.data.train=folder:{at}/text.txt", "is a file, not a folder"),
    "bare text file": (AUTO, "--config.data.train={at}/text.txt", "is a file, not a folder"),
    "text for a tar": (AUTO, "--config.data.train=tar:{at}/text.txt", "text.txt"),
    "unknown field": (QUICK, "--config.batchsize=3", "did you mean batch_size?"),
    "wrong type": (QUICK, "--config.epochs=many", "expected a number"),
    "missing config": ("--config=configs/absent.py", "does not exist"),
    "crop below patch": (QUICK, "--config.crops.local_size=4", "smaller than a patch of 8"),
    "batch and devices": (QUICK, "--config.batch_size=30", "not divisible by devices"),
    "batch and accumulate": (QUICK, "--config.accumulate=3", "not divisible by accumulate 3"),
    "too many devices": (QUICK, "--config.devices=64", "devices is 64: this run has 8"),
    "long warm-up": (QUICK, "--config.optim.warmup_epochs=200", "more than the 100 epochs"),
    "long temperature warm-up": (
        QUICK, "--config.teacher.warmup_temperature_epochs=101", "more than the 100 epochs",
    ),
    "unknown tfds": (QUICK, "--config.data.train=tfds:no_such_set", "no_such_set"),
    "unknown kind": (QUICK, "--config.data.train=ftp:x", "no source of the kind 'ftp'"),
    "no workdir": (QUICK, "--workdir={at}/text.txt/run", "cannot write into workdir"),
    "workdir is a file": (QUICK, "--workdir={at}/text.txt", "name a folder for --workdir"),
    "workdir of a long name": (QUICK, "--workdir={at}/" + "a" * 300, "File name too long"),
    "workdir of no name": (QUICK, "--workdir={at}/a\0b", "embedded null byte"),
    "workdir of nobody": (QUICK, "--workdir=~nouser/x", "there is no user nouser"),
    "endless epochs": (QUICK, "--config.epochs=1e308", "above 0 and at most 1e+06"),
    "endless steps": (QUICK, "--config.steps=99999999999", "from 1 to below 2^31"),
    "jitter beyond float32": (QUICK, "--config.augment.brightness=1e39", "from 0 to 10"),
    "field without its prefix": (QUICK, "--epochs=50", "did you mean --config.epochs=50?"),
    "damaged images": (AUTO, "--config.data.train=folder:{at}/damaged", "can be read (0.png: "),
    "damaged images, size given": (
        QUICK, "--config.batch_size=8", "--config.data.train=folder:{at}/damaged",
        "images of folder:",
    ),
    "damaged held-out image": (
        QUICK, "--config.batch_size=8", "--config.data.train=folder:{at}/few",
        "none of the 1 images of folder:",
    ),
    "few images": (
        QUICK, "--config.batch_size=64", "--config.data.train=folder:{at}/photos",
        "more than the 38 images",
    ),
    "no start": (QUICK, "--config.init_from={at}/empty", "no checkpoint at"),
    "unknown arch": (QUICK, "--config.model.arch=vit_huge", "expected one of vit_tiny"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    place: pathlib.Path, capfd: pytest.CaptureFixture[str], mistake: str
) -> None:
    *arguments, line = (text.replace("{at}", str(place)) for text in MISTAKES[mistake])
    code = main.main(["dino_jax", f"--workdir={place}/run", *arguments])
    out, err = capfd.readouterr()
    assert code == main.MISTAKE == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert line in err
    assert out == ""
    assert not (place / "run").exists(), "the folder is claimed, its owner's correction refused"


def test_the_exit_code_is_that_of_the_process(place: pathlib.Path) -> None:
    command = [sys.executable, "-m", "dino_jax.main", QUICK, f"--workdir={place}/run"]
    ended = subprocess.run(
        [*command, "--config.data.train=folder:absent"],
        cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("error: there is no folder absent")
    assert ended.stdout == ""


def test_a_mistake_in_the_command_line_is_answered_before_jax_is_loaded() -> None:
    """An answer in well under a second: neither jax nor grain is imported for it."""
    program = (
        "import sys; from dino_jax import main; "
        "code = main.main(['x', '--config=absent.py', '--workdir=x']); "
        "sys.exit(code if 'jax' not in sys.modules else 9)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert ended.returncode == 2


def test_ctrl_c_before_the_first_step_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    def interrupted(parsed: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "_train", interrupted)
    assert main.main(["dino_jax", QUICK, f"--workdir={tmp_path}"]) == main.INTERRUPTED == 75
    assert capfd.readouterr().err == "\ninterrupted at once; run the same command to go on\n"
