"""`segment` as a whole: made folders that colour solves, real ones, and mistakes."""

import dataclasses

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.data.palette import read_indexed, write_indexed
from dino_jax.evals.protocols import segment
from dino_jax.interop.encoder import open_encoder
from tests.data.layouts import write_camvid, write_voc
from tests.evals.dense.requests import request
from tests.shared import unpacked


@pytest.mark.parametrize("layout", [write_camvid, write_voc])
def test_squares_are_found_by_their_colour(tmp_path, layout):
    report = segment.run(request("segment", layout(tmp_path), size=64, devices=8))
    figures = {name: sample.value for name, sample in report.samples.items()}
    assert set(figures) == set(report.titles)
    assert min(figures.values()) > 75, figures
    assert figures["linear_accuracy"] > 90
    counted = report.samples["linear_miou"].units
    assert len(counted) == (2 if layout is write_camvid else 3)


def test_the_figure_is_that_of_a_loop_over_pixels(tmp_path):
    """The confusion of every image against predictions made here, of patches without a probe."""
    folder = write_camvid(tmp_path)
    report = segment.run(request("segment", folder, size=32, probes=("knn",), k=1))
    counts = report.samples["knn_miou"].units
    for number in range(2):
        labels = read_indexed(folder / "valannot" / f"val_{number}.png")
        assert counts[number].sum() == (labels < 11).sum()
        np.testing.assert_array_equal(
            counts[number].sum(axis=1), np.bincount(labels[labels < 11], minlength=11)
        )
    total = counts.sum(axis=0)
    overlaps = [total[c, c] / (total[c].sum() + total[:, c].sum() - total[c, c]) for c in (0, 1)]
    assert report.samples["knn_miou"].value == pytest.approx(100 * np.mean(overlaps))
    assert report.values["knn_iou"]["building"] == pytest.approx(100 * overlaps[1])
    assert report.values["knn_iou"]["sky"] == pytest.approx(100 * overlaps[0])
    assert report.values["knn_iou"]["car"] is None


def test_batches_change_nothing(tmp_path):
    folder = write_voc(tmp_path)
    found = [
        segment.run(
            request("segment", folder, size=32, batch=batch, devices=devices, iterations=40)
        )
        for batch, devices in ((1, 1), (4, 2))
    ]
    for name in ("linear_miou", "knn_miou"):
        first, second = (each.samples[name].units.astype(int) for each in found)
        assert np.abs(first - second).sum() <= 0.01 * first.sum()  # rounding, at edges


def test_classes_of_one_side_only_are_told(tmp_path):
    folder = write_camvid(tmp_path)
    path = folder / "valannot" / "val_0.png"
    write_indexed(path, np.where(read_indexed(path) == 1, 3, 0).astype(np.uint8))
    path = folder / "valannot" / "val_1.png"
    write_indexed(path, np.zeros_like(read_indexed(path)))
    notes = segment.run(request("segment", folder, size=32, probes=("knn",))).notes
    assert [note.split(" ")[0] for note in notes] == ["road", "building"]
    assert "not learned" in notes[0]
    assert "no held-out image" in notes[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 60}, "--size=60: expected a multiple of the patch, 8"),
        ({"probes": ("svm",)}, "--probes=svm: expected linear or knn"),
        ({"probes": ()}, "expected linear or knn"),
        ({"k": 0}, "--k"),
        ({"temperature": 0.0}, "--temperature"),
        ({"classes": 300}, "--classes=300: expected 2 to 255"),
        ({"train_set": "test"}, "there is no folder"),
        ({"classes": 1 + 1}, "holds label 11: expected 0 to 1, or 2 for void"),
    ],
)
def test_options_that_cannot_be(tmp_path, options, said):
    folder = write_camvid(tmp_path)
    with pytest.raises(UserError, match=said):
        segment.run(request("segment", folder, **{"size": 32} | options))


def test_folders_that_cannot_be(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        segment.run(request("segment", tmp_path / "none", size=32))
    with pytest.raises(UserError, match=r"neither as CamVid .* nor as VOC .*: it holds nothing"):
        segment.run(request("segment", tmp_path, size=32))
    folder = write_camvid(tmp_path)
    for subset, said in (("val", r"camvid:.*val hold nothing but void"), ("train", "but void")):
        for path in (folder / f"{subset}annot").iterdir():
            write_indexed(path, np.full_like(read_indexed(path), 11))
        with pytest.raises(UserError, match=said):
            segment.run(request("segment", folder, size=32))


def test_real_road_scenes_by_colour():
    """Four scenes of CamVid, at a size that takes a moment: far better than one class for all."""
    folder = unpacked("camvid12.tar") / "camvid12"
    asked = request("segment", folder, open_encoder("colour"), size=112, probes=("linear",))
    asked = dataclasses.replace(asked, options=dataclasses.replace(asked.options, iterations=30))
    report = segment.run(asked)
    counts = report.samples["linear_miou"].units
    assert counts.shape == (24, 11, 11)
    constant = 100 * counts.sum(axis=(0, 2)).max() / counts.sum()
    assert report.samples["linear_accuracy"].value > constant + 10
    assert report.samples["linear_miou"].value > 100 / 11
