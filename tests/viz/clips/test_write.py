"""A clip of attention: the stills of its frames on one scale, whole, and in bounded memory."""

import dataclasses
import itertools
import logging
import sys
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.viz.attend.colour import Scale, masks, outlined, overlay, scale_of
from dino_jax.viz.attend.maps import attention_maps
from dino_jax.viz.attend.picture import pictured
from dino_jax.viz.clips import write as writing
from dino_jax.viz.clips.caption import caption
from dino_jax.viz.clips.write import Shown, described, drawn_frame, write_clip
from tests.data.films import pan, read_back, write_film, write_frames
from tests.evals.embed import networks

SIZE = 32


def frames_in(folder):
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def stills(frames, *, head=None):
    """The picture of every frame and its map, each on its own."""
    encoder = networks.encoder()
    for frame in frames:
        picture = pictured(frame, encoder, size=SIZE)
        heads = attention_maps(encoder, picture.pixels)[0]
        yield picture, heads.mean(axis=0) if head is None else heads[head]


@pytest.mark.parametrize("options", [{}, {"head": 1, "mass": 0.6, "upsampling": "smooth"}])
def test_frames_are_the_stills_of_their_photographs_on_one_scale(tmp_path, options):
    frames = pan(6, 40, 61)
    source = write_film(tmp_path / "walk.mp4", frames, Fraction(30000, 1001))
    files = write_clip(
        source, tmp_path / "out", networks.encoder(), size=SIZE, frames=True, **options
    )
    assert [path.name for path in files] == ["walk-attention.mp4", "walk-attention"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in files
    )
    drawn = frames_in(files[1])
    alone = list(stills(frames, head=options.get("head")))
    scale = Scale(np.percentile([scale_of([values]).full for _, values in alone], 90))
    for frame, (picture, values) in zip(drawn, alone, strict=True):
        still = overlay(
            picture.image, values, scale=scale, upsampling=options.get("upsampling", "nearest")
        )
        if "mass" in options:
            still = outlined(still, masks(values, options["mass"]))
        assert frame.shape == still.shape == (32, 48, 3)
        assert np.abs(frame.astype(int) - still).max() <= 1
    found, told = read_back(files[0])
    assert (len(found), round(told["fps"], 2)) == (6, 29.97)
    assert found.shape == drawn.shape  # too narrow for a caption
    # Outlines of two pixels lose half of their colour, as all colour does in this format.
    assert np.abs(found.astype(int) - drawn).mean() < (14 if "mass" in options else 6)


def test_a_clip_of_one_frame_is_its_still(tmp_path):
    frames = pan(1, 32, 48)
    source = write_frames(tmp_path / "f", frames)
    *_, folder = write_clip(source, tmp_path / "o", networks.encoder(), size=SIZE, frames=True)
    ((picture, values),) = stills(frames)
    assert np.abs(frames_in(folder)[0].astype(int) - overlay(picture.image, values)).max() <= 1


def test_a_place_keeps_its_colour_while_others_change(monkeypatch, tmp_path):
    """Every second frame has a peak elsewhere; by scales of their own the rest would flicker."""
    maps = np.random.default_rng(0).random((4, 6)).astype(np.float32)[None].repeat(10, axis=0)
    maps[::2, 0], maps[1::2, 0] = 1, [5.5, 0.1, 0.1, 0.1, 0.1, 0.1]  # of one sum
    monkeypatch.setattr(writing, "maps_of_frames", lambda *given, **options: iter(maps))
    source = write_frames(tmp_path / "f", np.full((10, 32, 48, 3), 90, np.uint8))
    *_, folder = write_clip(source, tmp_path / "o", networks.encoder(), size=SIZE, frames=True)
    lower = frames_in(folder)[:, 8:].astype(int)
    own = [overlay(np.full((32, 48, 3), 90, np.uint8), each)[8:] for each in maps]
    assert np.abs(np.diff(np.array(own, int), axis=0)).max() > 15
    np.testing.assert_array_equal(lower, lower[:1].repeat(10, axis=0))


def test_one_frame_out_of_many_does_not_dim_the_others(monkeypatch, tmp_path):
    maps = np.ones((20, 4, 6), np.float32)
    maps[:, 1, 2] = 4
    maps[7, 3, 3] = 1000
    monkeypatch.setattr(writing, "maps_of_frames", lambda *given, **options: iter(maps))
    source = write_frames(tmp_path / "f", np.full((20, 32, 48, 3), 90, np.uint8))
    *_, folder = write_clip(source, tmp_path / "o", networks.encoder(), size=SIZE, frames=True)
    still = overlay(np.full((32, 48, 3), 90, np.uint8), maps[0])
    assert np.abs(frames_in(folder)[0].astype(int) - still).max() <= 1


def test_beside_and_blend():
    (picture, values), show = next(stills(pan(1, 32, 48))), Shown(beside=True, blend=0.0)
    drawn = drawn_frame(picture, values, show, Scale(4.0))
    np.testing.assert_array_equal(drawn[:, :48], picture.image)
    assert (drawn[:, 48:] == drawn[:, 48:, :1]).all()  # no colour at all


def test_the_caption_is_beneath_the_film_and_not_in_the_frames(tmp_path):
    source = write_frames(tmp_path / "f", pan(2, 32, 96))
    film, folder = write_clip(source, tmp_path / "o", networks.encoder(), size=SIZE, frames=True)
    found, _ = read_back(film)
    assert frames_in(folder).shape == (2, 32, 96, 3)
    assert found.shape[1] > 50
    assert found[0, 32:].max() > 150


def test_a_clip_of_a_long_name_is_cut_to_what_a_file_may_be_called(tmp_path):
    source = write_frames(tmp_path / ("猫" * 80), pan(1, 32, 48))
    files = write_clip(source, tmp_path / "o", networks.encoder(), size=SIZE, frames=True)
    assert [path.name for path in files] == [f"{'猫' * 50}-attention{end}" for end in (".mp4", "")]
    assert all(path.exists() for path in files)


def test_a_film_and_frames_that_cannot_be_written_are_one_line(tmp_path):
    source, out = write_frames(tmp_path / "f", pan(2, 32, 48)), tmp_path / "o"
    for taken in ("f-attention.mp4", "f-attention/attn-frame-0001.png"):
        (out / taken).mkdir(parents=True)
        with pytest.raises(UserError, match=f"{taken} cannot be written .it is a folder"):
            write_clip(source, out, networks.encoder(), size=SIZE, frames="/" in taken)
        (out / taken).rmdir()


@pytest.mark.parametrize("calls", [2, 8])
def test_what_is_stopped_leaves_nothing(tmp_path, calls):
    source, asked = write_frames(tmp_path / "f", pan(6, 32, 48)), itertools.count(1)
    with pytest.raises(KeyboardInterrupt):
        write_clip(
            source, tmp_path / "o", networks.encoder(), size=SIZE, frames=True,
            stop=lambda: next(asked) == calls,
        )  # fmt: skip
    assert not list((tmp_path / "o").iterdir())


def test_memory_does_not_grow_with_the_clip(tmp_path):
    encoder, peaks = networks.encoder(), []
    options = {"size": SIZE, "frames": True, "batch_size": 4}
    for number in (4, 12, 60):
        source = write_film(tmp_path / f"{number}.mp4", np.resize(pan(60), (number, 48, 64, 3)))
        if number > 4:  # the first compiles and imports
            tracemalloc.start()
        write_clip(source, tmp_path / "o", encoder, **options)
        if number == 4:
            continue
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    frame = 48 * 64 * 3
    assert peaks[1] - peaks[0] < 8 * frame  # of the 48 that there are more


def test_without_ffmpeg_frames_are_written_all_the_same(tmp_path, monkeypatch, caplog):
    source = write_frames(tmp_path / "f", pan(2, 32, 32))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match="pip install"):
        write_clip(source, tmp_path / "o", networks.encoder(), size=SIZE)
    with caplog.at_level(logging.WARNING, logger="dino_jax"):
        files = write_clip(source, tmp_path / "o", networks.encoder(), size=SIZE, frames=True)
    assert files == [tmp_path / "o" / "f-attention"]
    assert len(frames_in(files[0])) == 2
    assert "no film of f, frames alone" in caplog.text


def test_what_cannot_be_is_one_line(tmp_path):
    source, encoder = write_frames(tmp_path / "f", pan(2, 32, 32)), networks.encoder()
    wrong = (
        (encoder, {"head": 2}, "has 2 heads"),
        (encoder, {"block": 2}, "2 blocks"),
        (encoder, {"size": 4}, "less than a patch"),
        (dataclasses.replace(encoder, channels=4), {}, "reads 4 channels"),
    )
    for network, options, said in wrong:
        with pytest.raises(UserError, match=said):
            write_clip(source, tmp_path / "o", network, **options)
    assert not (tmp_path / "o").exists() or not list((tmp_path / "o").iterdir())


def test_the_caption_says_weights_block_heads_and_mask():
    encoder = dataclasses.replace(networks.encoder(), name="runs/first/")
    assert described(encoder, Shown(block=1, mass=0.6)) == (
        "first: attention of CLS, block 1 (the last), mean of 2 heads; 60 % of it outlined"
    )
    assert described(encoder, Shown(block=0, head=1)).endswith("block 0, head 1")


@pytest.mark.parametrize("width", [16, 96, 480, 1920])
def test_a_caption_fits_any_width(width):
    strip = caption(width, "a rather long name of weights: block 11, " * 3, Scale(7.5))
    assert strip.shape[1:] == (width, 3)
    assert strip.shape[0] % 2 == 0
    assert (strip.shape[0] > 0) == (width >= 96)
    assert strip[:, -2:].max(initial=0) < 60  # no letter reaches the right edge
