"""Sheets of neighbours: frames, marks and names."""

import pathlib
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from dino_jax.viz.sheets import OTHER, SAME, draw_sheet, short


def shown(**changed) -> SimpleNamespace:
    pixels = np.full((20, 20, changed.pop("channels", 3)), 255, np.uint8)
    plain = {"pixels": pixels, "name": "folder/a $1_.png", "class_name": None, "agrees": None}
    return SimpleNamespace(**plain | {"similarity": 0.5} | changed)


def area(path: pathlib.Path, colour: str) -> int:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"), float) / 255
    return int((np.abs(pixels - np.array(to_rgb(colour))[None, None]).max(axis=2) < 0.05).sum())


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_picture_is_written(tmp_path: pathlib.Path, channels: int) -> None:
    row = [shown(similarity=None, channels=channels), *[shown(channels=channels)] * 3]
    path = tmp_path / "new" / "sheet.png"
    draw_sheet(SimpleNamespace(rows=[row, row[:2]], title="a_$1"), path, pixels_per_inch=50)
    assert area(path, SAME) == area(path, OTHER) == 0, "without classes there are no frames"


def test_frames_tell_classes_apart_by_more_than_colour(tmp_path: pathlib.Path) -> None:
    frames = {}
    for same in (True, False):
        row = [shown(similarity=None, class_name="x"), shown(agrees=same, class_name="x")]
        path = tmp_path / f"{same}.png"
        draw_sheet(SimpleNamespace(rows=[row], title=""), path, pixels_per_inch=100)
        frames[same] = area(path, SAME) - 80, area(path, OTHER) - 80  # less the legend's words
    assert frames[True][0] > 800
    assert frames[True][1] < 300
    assert frames[False][1] > 400
    assert frames[False][0] < 300
    assert frames[False][1] < 0.85 * frames[True][0], "the other frame is dashed"


def test_names_are_short() -> None:
    assert short("tench") == "tench"
    assert short("n01440764_10026_a.JPEG") == "…764_10026_a.JPEG"
    assert len(short("x" * 40)) == 17
