"""Pictures of components: what is drawn is what was computed."""

import pathlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dino_jax.viz.components import draw_components, edges


def drawing(*, across: bool = False, channels: int = 3, side: str = "where CLS attends more"):
    draw = np.random.default_rng(0)
    rows = []
    for grid in ((4, 6), (7, 3)):
        kept = draw.random(grid) > (0.4 if side else 0)
        rows.append(
            SimpleNamespace(
                name="a $ and a _" * 9,
                image=draw.integers(0, 256, (grid[0] * 8, grid[1] * 8, channels), np.uint8),
                first=draw.standard_normal(grid), threshold=0.0, foreground=kept,
                colours=draw.random((*grid, 3)), explained=(0.5, 0.25, 0.1),
            )
        )  # fmt: skip
    return SimpleNamespace(rows=rows, across=across, title="net_a $1: 2 images", side=side)


@pytest.mark.parametrize(
    ("across", "channels", "side"),
    [(False, 3, "where CLS attends more"), (True, 1, ""), (True, 4, "where")],
)
def test_a_picture_is_written(tmp_path: pathlib.Path, across, channels, side) -> None:
    path = tmp_path / "new" / "pca.png"
    given = drawing(across=across, channels=channels, side=side)
    draw_components(given, path, pixels_per_inch=40)
    with Image.open(path) as picture:
        assert picture.width == pytest.approx(8 * 40, abs=40)


def test_colours_are_shown_as_they_are(tmp_path: pathlib.Path) -> None:
    """One image, two patches of it coloured: both colours fill a patch, the rest is white."""
    kept = np.zeros((2, 2), bool)
    kept[0] = True
    colours = np.zeros((2, 2, 3))
    colours[0] = [[1.0, 0.2, 0], [0, 0.4, 1]]
    row = SimpleNamespace(
        name="a", image=np.full((16, 16, 3), 128, np.uint8), first=kept * 1.0, threshold=0.5,
        foreground=kept, colours=colours, explained=(1.0, 0.0, 0.0),
    )  # fmt: skip
    path = tmp_path / "pca.png"
    given = SimpleNamespace(rows=[row], across=False, title="", side="here")
    draw_components(given, path, pixels_per_inch=100)
    with Image.open(path) as picture:
        shown = np.asarray(picture.convert("RGB"), int)
    patch = (100 * (8 - 3 * 0.04) / (3 + 1 / 3) / 2) ** 2
    for colour in colours[0]:
        alike = np.abs(shown - np.round(255 * colour)[None, None]).max(axis=2) <= 2
        assert alike.sum() == pytest.approx(patch, rel=0.05)
        assert np.ptp(np.argwhere(alike), axis=0).max() <= 1.05 * patch**0.5


def test_edges_part_the_foreground_from_the_rest() -> None:
    kept = np.zeros((3, 4), bool)
    kept[1, 1] = True
    assert sorted(edges(kept)) == [
        ([1, 1], [1, 2]), ([1, 2], [1, 1]), ([1, 2], [2, 2]), ([2, 2], [1, 2]),
    ]  # fmt: skip
    assert edges(np.ones((3, 4), bool)) == []
