"""Writing a film: what a reader that is not ours finds in it, and what is left when it fails."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.viz.clips.film import written_film
from dino_jax.viz.clips.frames import written_frames
from tests.data.films import pan, read_back


def write(path, frames, rate=Fraction(25), **options):
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    with written_film(path, height=height, width=width, rate=rate, **options) as take:
        for frame in itertools.chain([first], frames):
            take(frame)


def write_frames(folder, frames):
    with written_frames(folder) as take:
        for frame in frames:
            take(frame)


def interrupted(frames, error):
    yield from frames
    raise error


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(1)])
def test_a_film_is_read_back_as_it_was_written(tmp_path, rate):
    frames = pan(9, 48, 64)
    write(tmp_path / "a.mp4", frames, rate, said="weights; block 5")
    found, told = read_back(tmp_path / "a.mp4")
    assert found.shape == frames.shape
    assert told["fps"] == pytest.approx(float(rate), abs=0.005)
    assert told["codec"] == "h264"
    assert told["pix_fmt"].startswith("yuv420p(tv, bt709")
    assert "audio_codec" not in told
    assert np.abs(found.astype(int) - frames).mean() < 4
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert b"weights; block 5" in (tmp_path / "a.mp4").read_bytes()


def test_colours_are_those_that_were_given(tmp_path):
    """Each plain colour comes back within what a byte of luma and chroma can tell."""
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [250, 250, 160], [20, 20, 20]])
    frames = np.broadcast_to(colours[:, None, None], (5, 32, 32, 3)).astype(np.uint8)
    write(tmp_path / "a.mp4", frames)
    found, _ = read_back(tmp_path / "a.mp4")
    assert np.abs(found[:, 8:24, 8:24].astype(int) - frames[:, 8:24, 8:24]).max() <= 6


@pytest.mark.parametrize(("height", "width"), [(33, 47), (1, 1), (2, 31)])
def test_odd_sides_lose_nothing(tmp_path, height, width):
    frames = pan(3, height, width)
    write(tmp_path / "a.mp4", frames)
    found, _ = read_back(tmp_path / "a.mp4")
    assert found.shape == (3, height + height % 2, width + width % 2, 3)
    if height > 2:
        assert np.abs(found[:, :height, :width].astype(int) - frames).mean() < 5
        assert np.abs(found[:, -1].astype(int) - found[:, -2]).mean() < 5


def test_what_is_interrupted_leaves_what_was_before(tmp_path):
    frames = pan(30)
    write(tmp_path / "a.mp4", frames[:3])
    before = (tmp_path / "a.mp4").read_bytes()
    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error):
            write(tmp_path / "a.mp4", interrupted(frames, error))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == before


@pytest.mark.parametrize("number", [1, 400])
def test_what_ffmpeg_cannot_write_is_one_line(tmp_path, number):
    with pytest.raises(UserError, match=r"cannot be written \(.+\)") as raised:
        write(tmp_path / "missing" / "a.mp4", np.concatenate([pan(20)] * (number // 20 + 1)))
    assert "\n" not in str(raised.value)


def test_frames_of_before_go_and_other_files_stay(tmp_path):
    folder, frames = tmp_path / "new" / "f", pan(12)
    for number in (12, 3):
        write_frames(folder, frames[:number])
        (folder / "notes.txt").touch()
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"attn-frame-000{k}.png" for k in range(3)] + ["notes.txt"]
    with pytest.raises(KeyboardInterrupt):
        write_frames(folder, interrupted(frames, KeyboardInterrupt))
    assert len(list(folder.glob("*.png"))) == 3
    assert [path.name for path in folder.parent.iterdir()] == ["f"]
