"""Pictures of matches, and which of them get a line."""

import pathlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dino_jax.viz.matches import apart, draw_matches, titled


def test_lines_lie_apart_and_the_most_similar_come_first() -> None:
    grid = np.stack(np.meshgrid(np.arange(10.0), np.arange(10.0)), axis=-1).reshape(-1, 2)
    chosen = apart(grid, 9)
    assert len(chosen) == len(set(chosen.tolist())) == 9
    assert chosen[0] == 0
    offsets = grid[chosen][:, None] - grid[chosen][None]
    distance = np.linalg.norm(offsets, axis=-1)[~np.eye(9, dtype=bool)]
    assert distance.min() >= 1.4


def test_as_many_lines_as_asked_for_however_crowded() -> None:
    assert len(apart(np.zeros((5, 2)), 3)) == 3
    assert len(apart(np.zeros((2, 2)), 3)) == 2
    assert len(apart(np.zeros((0, 2)), 3)) == 0
    assert len(apart(np.ones((4, 2)), 0)) == 0


def test_the_title_says_how_many_have_lines() -> None:
    assert titled("net: 1996 matches of a and b", 60, 1996).endswith("; lines of 60 of the 1996")
    assert titled("net: 9 matches", 9, 9) == "net: 9 matches"


@pytest.mark.parametrize("matches", [0, 1, 50])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_picture_is_written(tmp_path: pathlib.Path, matches: int, channels: int) -> None:
    draw = np.random.default_rng(0)
    images = tuple(np.zeros((*sides, channels), np.uint8) for sides in ((40, 60), (90, 30)))
    drawing = SimpleNamespace(
        images=images,
        first=draw.uniform(0, 40, (matches, 2)),
        second=draw.uniform(0, 30, (matches, 2)),
        similarity=np.ones(matches),
        drawn=20,
        title="a $ and a _",
    )
    path = tmp_path / "new" / "matches.png"
    draw_matches(drawing, path, pixels_per_inch=40)
    with Image.open(path) as picture:
        wide, high = picture.size
    assert wide == pytest.approx(8 * 40, abs=12)
    assert high == pytest.approx(8 * 40 / (1.02 * (1.5 + 1 / 3)) + 12, abs=12)


def test_a_match_is_drawn_at_its_pixel(tmp_path: pathlib.Path) -> None:
    """A red dot on black images: the picture is red at that place of either one."""
    images = (np.zeros((100, 100, 3), np.uint8),) * 2
    drawing = SimpleNamespace(
        images=images, first=np.array([[20.0, 30]]), second=np.array([[70.0, 80]]),
        similarity=np.ones(1), drawn=0, title="",
    )  # fmt: skip
    path = tmp_path / "matches.png"
    draw_matches(drawing, path, pixels_per_inch=100)
    with Image.open(path) as picture:
        shown = np.asarray(picture.convert("RGB"), int)
    lit = (shown.sum(axis=2) > 60) & (shown.min(axis=2) < 200)  # neither black nor the white margin
    black = shown.sum(axis=2) < 15
    rows, columns = np.flatnonzero(black.any(axis=1)), np.flatnonzero(black.any(axis=0))
    top, left, side = rows[0], columns[0], rows[-1] - rows[0]
    found = np.argwhere(lit & (np.arange(lit.shape[0])[:, None] >= top + 4))
    inside = (found - [top, left]) / side
    for x, y in ((0.205, 0.305), (1.04 + 0.705, 0.805)):
        assert np.linalg.norm(inside - [y, x], axis=1).min() < 0.03
