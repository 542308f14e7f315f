"""Figures show the numbers that are written beside them, and say what they are of."""

import json

import numpy as np
import pytest
from PIL import Image

from dino_jax.viz.attend import figure as figures
from dino_jax.viz.attend.colour import enlarged, overlay, plain, scale_of
from dino_jax.viz.attend.figure import Seen, Style, write_figure
from dino_jax.viz.attend.files import Names, stem_of, write_arrays, write_heads
from dino_jax.viz.attend.maps import attention_maps
from dino_jax.viz.attend.picture import Picture
from dino_jax.viz.attend.sheet import Panel, Strip, write_sheet
from tests.viz.attend.networks import HEADS, fine, vit

POINTS = ((0.1, 0.2), (0.9, 0.9))


def seen_by(encoder, points=(), name="cat $5.png"):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    maps = attention_maps(encoder, pixels, block=-1, points=points)
    return Seen(encoder, encoder.depth - 1, Picture(name, pixels, pixels), maps)


@pytest.fixture
def sheets(monkeypatch):
    """What is drawn, in place of drawing it."""
    drawn = []
    monkeypatch.setattr(
        figures, "write_sheet", lambda path, *told, **options: drawn.append((*told, options))
    )
    return drawn


def test_the_panels_are_the_arrays_of_the_npz(sheets, tmp_path):
    """Every overlay and every outline, from what is written alone."""
    seen = [seen_by(vit()), seen_by(fine())]
    style = Style(mass=0.6)
    write_figure(tmp_path / "a.png", seen, style=style)
    write_arrays(tmp_path / "a.npz", seen, points=(), mass=0.6)
    (_, strips, options), *_ = sheets
    assert len(strips) == 2
    with np.load(tmp_path / "a.npz") as kept:
        found = [kept["attention"], kept["attention_1"]]
        means = [each.mean(axis=1) for each in found]
        scale = scale_of([*means, *found])
        assert options["scale"] == scale
        for number, strip in enumerate(strips):
            mark = f"_{number}" if number else ""
            shown, mean, *heads = strip.panels
            np.testing.assert_array_equal(shown.image, kept[f"pixels{mark}"])
            wanted = overlay(shown.image, means[number][0], scale=scale)
            np.testing.assert_array_equal(mean.image, wanted)
            np.testing.assert_array_equal(mean.mask, kept[f"mask_of_mean{mark}"][0])
            assert [panel.caption for panel in heads] == ["head 0", "head 1"]
            for head, panel in enumerate(heads):
                wanted = overlay(shown.image, found[number][0, head], scale=scale)
                np.testing.assert_array_equal(panel.image, wanted)
                np.testing.assert_array_equal(panel.mask, kept[f"mask{mark}"][0, head])


def test_the_arrays_are_the_maps_and_say_what_of(tmp_path):
    seen = seen_by(vit(), POINTS)
    write_arrays(tmp_path / "a.npz", [seen], points=POINTS, mass=None)
    with np.load(tmp_path / "a.npz") as kept:
        wanted = attention_maps(vit(), seen.picture.pixels, points=POINTS)
        np.testing.assert_array_equal(kept["attention"], wanted)
        assert set(kept) == {"attention", "pixels", "about"}
        about = json.loads(kept["about"].item())
    assert about["points"] == [[0.1, 0.2], [0.9, 0.9]]
    (told,) = about["weights"]
    assert (told["weights"], told["block"], told["patch"]) == ("small", 1, 8)
    assert (told["width"], told["height"], told["image"]) == (32, 24, "cat $5.png")


def test_every_figure_says_weights_block_head_size_and_threshold(sheets, tmp_path):
    write_figure(tmp_path / "a.png", [seen_by(vit())], style=Style(mass=0.8, head=1))
    title, (strip,), options = sheets[0]
    assert title == "cat $5.png: attention of the CLS token"
    assert strip.heading == "small · block 1 (the last) · 32 × 24 pixels, 4 × 3 patches of 8"
    assert [panel.caption for panel in strip.panels] == ["photograph", "head 1"]
    assert "80 % of each map" in options["note"]
    write_figure(tmp_path / "a.png", [seen_by(vit())._replace(block=0)], style=Style(mass=None))
    _, (strip,), options = sheets[1]
    assert "block 0 of 0 to 1" in strip.heading
    assert "no outline" in options["note"]
    assert all(panel.mask is None for panel in strip.panels)


def test_points_are_shown_as_figure_8_and_then_head_by_head(sheets, tmp_path):
    seen = seen_by(vit(), POINTS)
    write_figure(tmp_path / "a.png", [seen], points=POINTS, style=Style())
    _, strips, options = sheets[0]
    first, *others = strips
    assert [panel.caption for panel in first.panels] == [
        "photograph", "mean of heads, from CLS", "mean of heads, from point 1",
        "mean of heads, from point 2",
    ]  # fmt: skip
    assert [len(panel.marks) for panel in first.panels] == [2, 0, 1, 1]
    assert [(mark.x, mark.y, mark.number) for mark in first.panels[0].marks] == [
        (0.1, 0.2, 1), (0.9, 0.9, 2),
    ]  # fmt: skip
    assert [strip.panels[0].caption for strip in others] == [
        "from CLS", "from point 1", "from point 2",
    ]  # fmt: skip
    for query, strip in enumerate(others):
        head = overlay(seen.picture.image, seen.maps[query, 1], scale=options["scale"])
        np.testing.assert_array_equal(strip.panels[-1].image, head)
    write_figure(tmp_path / "a.png", [seen], points=POINTS, style=Style(head=0))
    _, (only,), _ = sheets[1]
    assert only.panels[2].caption == "head 0, from point 1"


@pytest.mark.parametrize("points", [(), POINTS])
@pytest.mark.parametrize("upsampling", ["nearest", "smooth"])
def test_a_page_is_written_whole(tmp_path, points, upsampling):
    path = tmp_path / "a.png"
    write_figure(
        path, [seen_by(vit(), points, name="猫 \udcff$")], points=points,
        style=Style(upsampling=upsampling),
    )  # fmt: skip
    with Image.open(path) as page:
        assert page.width == 1800
        assert np.asarray(page.convert("L")).std() > 20
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("shape", [(400, 8), (8, 400), (8, 8)])
def test_every_shape_has_a_page(tmp_path, shape):
    image = np.zeros((*shape, 3), np.uint8)
    panel = Panel("a", image, np.ones((shape[0] // 8, shape[1] // 8), bool))
    write_sheet(tmp_path / "a.png", "t", [Strip("h", [panel] * 5)], columns=3, pixels_per_inch=40)
    with Image.open(tmp_path / "a.png") as page:
        assert page.width == 360
        assert 40 < page.height < 1000


def test_a_file_a_head_as_the_original_writes_them(tmp_path):
    seen = seen_by(vit(), POINTS[:1])
    folder = write_heads(tmp_path / "heads", seen, Style(mass=0.6))
    names = {path.name for path in folder.iterdir()}
    own = {"attn-head0.png", "attn-head1.png", "attn-mean.png"}
    own |= {f"mask_th0.6_{which}.png" for which in ("head0", "head1", "mean")}
    assert names == {"img.png"} | own | {f"point1-{name}" for name in own}
    for head in range(HEADS):
        with Image.open(folder / f"attn-head{head}.png") as file:
            read = np.asarray(file)
        nearest = seen.maps[0, head].repeat(8, axis=0).repeat(8, axis=1)
        np.testing.assert_array_equal(read, plain(nearest))
        np.testing.assert_array_equal(nearest, enlarged(seen.maps[0, head], 24, 32))
    with Image.open(folder / "mask_th0.6_head0.png") as file:
        blue = (np.asarray(file) == (0x56, 0xB4, 0xE9)).all(axis=2)
    assert blue.any()


def test_names_of_files_are_one_each():
    names = Names()
    given = ("a/b.jpg", "a-b.png", "a/b.jpg", "", "../.x", "n\n.c.tif")
    wanted = ["a-b", "a-b-2", "a-b-3", "picture", "x", "n_.c"]
    assert [names.of(name) for name in given] == wanted
    assert len(names.of("x" * 300 + ".png")) == 150


@pytest.mark.parametrize("name", ["猫" * 80, "a" + "é" * 120, "\udcff" * 200, "." * 240, "-é" * 90])
def test_a_long_name_in_any_script_has_room_for_what_is_put_after_it(tmp_path, name):
    """File systems count bytes: 80 characters of three do not leave it."""
    stem = Names().of(f"{name}.png")
    assert stem == stem_of(stem)
    assert len(stem.encode()) <= 150
    write_arrays(tmp_path / f"{stem}-attention.npz", [seen_by(vit())], points=(), mass=None)
    assert len(list(tmp_path.iterdir())) == 1
