"""Pictures of maps: that they are written, and that names keep clear of each other."""

import pathlib
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from dino_jax.viz import scatter
from dino_jax.viz.scatter import COLOURS, MARKS, draw_scatter


def drawing(points: int, classes: int, *, named: bool = False, **changed) -> SimpleNamespace:
    draw = np.random.default_rng(0)
    labels = np.arange(points) % max(classes, 1)
    made = {
        "points": draw.normal(0, 30, (points, 2)),
        "labels": labels if classes else None,
        "class_names": [f"class {k}" for k in range(classes)],
        "named": named,
        "thumbnails": {},
        "title": "a title with a $ and a _",
    }
    return SimpleNamespace(**{**made, **changed})


def size(path: pathlib.Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_colours_and_marks_together_tell_many_classes_apart() -> None:
    pairs = {(k % len(COLOURS), k % len(MARKS)) for k in range(56)}
    assert len(pairs) == 56


@pytest.mark.parametrize(
    ("points", "classes", "named"),
    [(1, 0, False), (60, 0, False), (60, 7, False), (60, 1, False), (90, 45, False), (9, 9, True)],
)
def test_a_picture_is_written(
    tmp_path: pathlib.Path, points: int, classes: int, named: bool
) -> None:
    path = tmp_path / "new" / "map.png"
    draw_scatter(drawing(points, classes, named=named), path, pixels_per_inch=50)
    assert min(size(path)) > 150


def test_names_keep_clear_of_names_points_and_photographs(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are drawn: the extents of what matplotlib has drawn in the end."""
    texts, figures = [], []
    write = Axes.text

    def noted(self, *arguments, **options):
        texts.append(write(self, *arguments, **options))
        figures.append(self.figure)
        return texts[-1]

    monkeypatch.setattr(Axes, "text", noted)
    photographs = {k: np.full((96, 96, 3), 99, np.uint8) for k in range(0, 40, 4)}
    one = drawing(40, 40, named=True, thumbnails=photographs)
    draw_scatter(one, tmp_path / "map.png", pixels_per_inch=100)
    figure = figures[0]
    figure.set_dpi(100)
    renderer = figure.canvas.get_renderer()
    axis = figure.axes[0]
    boxes = [text.get_window_extent(renderer) for text in texts if text.axes is not None]
    photos = [artist.get_window_extent(renderer) for artist in axis.artists]
    assert 25 < len(boxes) < 40, "most are written, and in this crowd not all"
    assert 3 < len(photos) <= 10
    dots = axis.transData.transform(one.points)
    frame = axis.get_window_extent(renderer)
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:place] + photos)
        assert not any(box.contains(*dot) for dot in dots)
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1


def test_a_class_whose_name_begins_with_a_line_is_in_the_legend(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = []
    legend = Axes.legend

    def noted(self, *arguments, **options):
        labels.extend(self.get_legend_handles_labels()[1])
        return legend(self, *arguments, **options)

    monkeypatch.setattr(Axes, "legend", noted)
    one = drawing(9, 3, class_names=["_a", "$b$", "c"])
    draw_scatter(one, tmp_path / "map.png", pixels_per_inch=50)
    assert [label.lstrip("\u200b") for label in labels] == ["_a", r"\$b\$", "c"]


def test_photographs_of_one_channel_or_four(tmp_path: pathlib.Path) -> None:
    grey, clear = np.zeros((96, 96, 1), np.uint8), np.zeros((96, 96, 4), np.uint8)
    one = drawing(5, 0, thumbnails={0: grey, 1: clear})
    draw_scatter(one, tmp_path / "map.png", pixels_per_inch=50)
    assert min(size(tmp_path / "map.png")) > 150


def test_photographs_of_a_map_of_images_are_framed_by_class(tmp_path: pathlib.Path) -> None:
    labels, present = np.array([3, 5, 3]), [3, 5]
    assert scatter._frames(labels, present, 3) == [COLOURS[0], COLOURS[1], COLOURS[0]]
    assert len({*scatter._frames(None, [], 3)}) == 1
    white = np.full((96, 96, 3), 255, np.uint8)
    draw_scatter(drawing(9, 3, thumbnails={0: white, 1: white}), tmp_path / "map.png")
    assert min(size(tmp_path / "map.png")) > 150


def test_the_map_is_not_too_slender() -> None:
    middle, half = scatter._extent(np.array([[0.0, 0.0], [100.0, 1.0]]), 0.75)
    np.testing.assert_allclose(middle, [50, 0.5])
    np.testing.assert_allclose(half, [56, 42])
