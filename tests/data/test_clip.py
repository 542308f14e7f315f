"""Reading clips: every frame, in order, upright, at the right rate; what is broken is one line."""

import logging
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.config.looking import is_film_name
from dino_jax.data.clip import frame_rate, natural, open_clip
from tests.data.films import pan, run, write_film, write_frames


def frames_of(clip):
    return np.stack(list(clip.frames()))


def one_line(path, **options):
    """What is said of a clip that cannot be read, in the opening or at its first frame."""
    with pytest.raises(UserError) as raised:
        next(open_clip(path, **options).frames())
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("printed", "exact"),
    [
        (23.98, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (30, Fraction(30)),
        (12.5, Fraction(25, 2)),
        (29.9, Fraction(299, 10)),
    ],
)
def test_rates_of_broadcasting_are_exact(printed, exact):
    assert frame_rate(printed) == exact


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(25, 2)])
def test_a_film_keeps_every_frame_and_its_rate(tmp_path, rate):
    frames = pan(7, 37, 51)
    clip = open_clip(write_film(tmp_path / "a.mp4", frames, rate))
    assert (clip.rate, clip.number, clip.sound) == (rate, 7, False)
    np.testing.assert_array_equal(frames_of(clip), frames)
    np.testing.assert_array_equal(frames_of(clip), frames)  # a second time too


def test_names_that_ffmpeg_would_take_for_something_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = pan(2)
    for name in ("-y.mp4", "http:x.mp4", "é %04d.mkv"):
        write_film(tmp_path / name, frames)
        np.testing.assert_array_equal(frames_of(open_clip(name)), frames)
    assert is_film_name("a/B.MP4")
    assert not is_film_name("a.png")


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_film_taken_by_a_turned_telephone_is_upright(tmp_path, turns):
    frames = pan(3)
    lying = write_film(tmp_path / "lying.mp4", np.rot90(frames, -turns, (1, 2)))
    run("-display_rotation", 90 * turns, "-i", lying, "-c", "copy", tmp_path / "upright.mp4")
    np.testing.assert_array_equal(frames_of(open_clip(tmp_path / "upright.mp4")), frames)


def test_pixels_are_made_square_and_sound_is_known_of(tmp_path):
    wide = write_film(tmp_path / "w.mp4", pan(2), also=("-vf", "setsar=16/11"))
    assert frames_of(open_clip(wide)).shape == (2, 48, 93, 3)  # 64 x 16 / 11
    with_sound = tmp_path / "sound.mp4"
    run("-i", wide, "-f", "lavfi", "-t", "0.1", "-i", "sine", "-c:v", "copy", with_sound)
    assert open_clip(with_sound).sound


def test_fewer_frames_a_second_are_taken_out_and_more_are_refused(tmp_path):
    frames = pan(30)
    path = write_film(tmp_path / "a.mp4", frames, Fraction(30))
    clip = open_clip(path, fps=10)
    assert (clip.rate, clip.number) == (10, 10)
    found = frames_of(clip)
    # ffmpeg takes the frame nearest to each tenth of a second, the middle of three.
    places = [int(np.abs(frames - each).sum(axis=(1, 2, 3)).argmin()) for each in found.astype(int)]
    assert np.diff(places).tolist() == [3] * 9
    assert "no more than 30 frames" in one_line(path, fps=60)
    assert "above 0" in one_line(path, fps=0)


def test_a_folder_is_in_natural_order_upright_and_at_a_rate(tmp_path):
    frames = pan(12)
    folder = write_frames(tmp_path / "f", frames)
    (folder / "notes.txt").write_text("no frame")
    (folder / ".hidden.png").write_bytes(b"")
    turned = Image.fromarray(np.rot90(frames[11], -1))
    exif = turned.getexif()
    exif[0x0112] = 8
    turned.save(folder / "frame-11.png", exif=exif)
    clip = open_clip(folder)
    assert (clip.rate, clip.number) == (30, 12)
    np.testing.assert_array_equal(frames_of(clip), frames)
    assert open_clip(folder, fps=29.97).rate == Fraction(30000, 1001)
    names = ["a10", "b", "a2", "A2", "a", "2", "10"]
    assert sorted(names, key=natural) == ["2", "10", "A2", "a", "a2", "a10", "b"]


def test_folders_that_are_no_clip_are_one_line(tmp_path):
    (tmp_path / "none").mkdir()
    assert "holds no images" in one_line(tmp_path / "none")
    folder = write_frames(tmp_path / "f", pan(3))
    (folder / "frame-1.png").write_bytes((folder / "frame-1.png").read_bytes()[:500])
    assert "frame-1.png cannot be read" in one_line_of_all(folder)
    Image.new("RGB", (64, 50)).save(folder / "frame-1.png")
    said = one_line(folder)
    assert "differ in size" in said
    assert "frame-0.png has 64 x 48 pixels, frame-1.png 64 x 50" in said
    (folder / "frame-1.png").write_text("text")
    assert "frame-1.png cannot be read" in one_line(folder)


def one_line_of_all(path):
    with pytest.raises(UserError) as raised:
        frames_of(open_clip(path))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_files_that_are_no_film_are_one_line(tmp_path):
    whole = write_film(tmp_path / "a.mp4", pan(4)).read_bytes()
    contents = {"empty": b"", "text": b"not a film\n", "cut": whole[: len(whole) // 2]}
    said = {}
    for name, content in contents.items():
        (tmp_path / f"{name}.mp4").write_bytes(content)
        said[name] = one_line(tmp_path / f"{name}.mp4")
    assert "is empty" in said["empty"]
    assert all("its end is missing" in said[name] for name in ("text", "cut"))
    run("-f", "lavfi", "-t", "0.1", "-i", "sine", tmp_path / "sound.m4a")
    assert "it has no pictures" in one_line(tmp_path / "sound.m4a")
    assert "there is no clip" in one_line(tmp_path / "missing.mp4")


def test_a_film_cut_short_gives_what_there_is_and_says_so_once(tmp_path, caplog):
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    path = write_film(tmp_path / "a.mp4", noise, also=("-movflags", "+faststart", "-g", "1"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    clip = open_clip(path)
    with caplog.at_level(logging.WARNING, logger="dino_jax"):
        found = frames_of(clip)
        frames_of(clip)
    assert 10 < len(found) < 30
    assert clip.number == len(found)
    np.testing.assert_array_equal(found[:10], noise[:10])
    (record,) = caplog.records
    assert f"{len(found)} of about 40 frames are read" in record.getMessage()


def test_a_film_of_one_frame(tmp_path):
    clip = open_clip(write_film(tmp_path / "a.mp4", pan(1), Fraction(1)))
    assert (clip.number, frames_of(clip).shape) == (1, (1, 48, 64, 3))


def test_a_reader_that_stops_early_leaves_no_process(tmp_path, monkeypatch):
    path, started, popen = write_film(tmp_path / "a.mp4", pan(60)), [], subprocess.Popen

    class Noted(popen):
        def __init__(self, *given, **options):
            super().__init__(*given, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    frames = open_clip(path).frames()
    next(frames)
    assert started[-1].poll() is None or started[-1].poll() == 0
    frames.close()
    assert all(process.poll() is not None for process in started)


def test_without_ffmpeg_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    path = write_film(tmp_path / "a.mp4", pan(1))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert "pip install imageio-ffmpeg" in one_line(path)
    assert open_clip(write_frames(tmp_path / "f", pan(2))).number == 2
