"""The command `embed`: exit codes, one line for a mistake, and a run killed twice."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from dino_jax import embed
from tests.data.images import encoded, pixels, write_folder, write_tar

ROOT = pathlib.Path(__file__).parents[1]
IMAGES = 3500
"""Seven parts."""


@pytest.fixture
def photos(tmp_path: pathlib.Path) -> pathlib.Path:
    files = {f"{k % 2}/{k}.png": encoded(pixels(k)) for k in range(12)}
    return write_folder(tmp_path / "photos", files | {"1/bad.png": b"no image"})


def run(*arguments: str) -> int:
    return embed.main(["embed", *arguments])


def test_features_of_a_folder(
    photos: pathlib.Path,
    tmp_path: pathlib.Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "new" / "f.npz"
    command = ("--weights=colour", f"--data={photos}", f"--out={out}", "--size=16")
    assert run(*command, "--batch-size=3") == embed.DONE == 0
    printed, logged = capfd.readouterr()
    assert printed == f"wrote {out}: features 12 x 216; left out, being unreadable: 1\n"
    assert "skipped unreadable image 1/bad.png" in caplog.text
    assert "13/13" in logged, "the bar ends at all images"
    with np.load(out) as found:
        assert found["names"][0] == "0/0.png"
        assert list(found["classes"]) == ["0", "1"]
        about = json.loads(found["about"].item())
    assert about["unreadable"] == [{"index": 12, "name": "1/bad.png"}]
    assert (about["weights"], about["size"], about["data"]) == ("colour", 16, str(photos))
    assert run(*command) == 2
    assert run(*command, "--overwrite", "--batch-size=3", "--feature=patches") == 0
    with np.load(out) as found:
        assert found["features"].shape == (12, 4, 216)


MISTAKES = {
    "no weights": ("--weights=", "--weights is missing"),
    "unknown weights": ("--weights=dino_vits17", "did you mean dino_vits16"),
    "no such images": ("--data=folder:absent", "there is no folder absent"),
    "unknown format": ("--out=f.txt", "expected a file ending in .npz"),
    "unknown feature": ("--feature=mean", "expected cls, patch-mean"),
    "no block": ("--feature=block:1", "has no blocks"),
    "no tokens in csv": ("--out=f.csv", "--feature=patches", "no tokens"),
    "odd size": ("--size=0", "--size"),
    "resize": ("--resize=8", "--resize=8 is less than the 16 pixels"),
    "precision": ("--precision=float16", "float32|bfloat16"),
    "unknown flag": ("--featur=cls", "did you mean --feature?"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(
    photos: pathlib.Path,
    tmp_path: pathlib.Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    mistake: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    *changed, line = MISTAKES[mistake]
    usual = ("--weights=colour", f"--data={photos}", "--out=f.npz", "--size=16")
    assert run(*usual, *changed) == 2
    out, err = capfd.readouterr()
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert line in err
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_help_names_every_flag(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--help")
    assert ended.value.code == 0
    shown = capfd.readouterr().out
    for flag in ("weights", "data", "out", "feature", "size", "resize", "batch-size", "precision"):
        assert f"--{flag}" in shown


def test_a_run_stopped_and_then_killed_ends_in_the_same_file(tmp_path: pathlib.Path) -> None:
    """SIGTERM lets it end its part and say so, SIGKILL nothing; the third process finishes."""
    image = encoded(pixels(0, (8, 8, 3)))
    tar = write_tar(tmp_path / "photos.tar", {f"{k:04}.png": image for k in range(IMAGES)})
    given = ("--weights=pixels", f"--data={tar}", "--size=8")
    out, parts = tmp_path / "f.npz", tmp_path / "f.npz.parts"
    command = [sys.executable, "-m", "dino_jax.embed", *given, f"--out={out}"]

    def ended() -> bytes:
        subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, check=True)
        return out.read_bytes()

    whole = ended()
    out.unlink()

    def started(parts_wanted: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ, stderr=subprocess.PIPE, text=True
        )
        while process.poll() is None and len(list(parts.glob("*.part"))) < parts_wanted:
            time.sleep(0.002)
        return process

    first = started(1)
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=120)
    assert first.returncode == 75
    assert f"saved {parts}; run the same command to go on" in said
    done = len(list(parts.glob("*.part")))
    assert 1 <= done < 7
    second = started(done + 1)
    second.kill()
    second.communicate(timeout=120)
    if second.returncode == -signal.SIGKILL:  # unless it was faster
        assert not out.exists()
        ended()
    assert out.read_bytes() == whole
    assert not parts.exists()
