"""`video` from the folder to the figures: the official ones, and masks carried by real patches."""

import dataclasses

import jax
import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.config.protocol_options import VideoOptions
from dino_jax.data.davis import Truth
from dino_jax.data.palette import read_indexed
from dino_jax.evals.protocol import Request
from dino_jax.evals.protocols.video import run
from dino_jax.evals.store import FeatureStore
from dino_jax.evals.video.score import score_objects
from dino_jax.interop.encoder import open_encoder
from dino_jax.models.vit import Features
from dino_jax.train.sharding import make_mesh
from tests.data.videos import SIZE, frames_of, masks_of, write_masks, write_tree, write_video
from tests.evals.dense.requests import diverged
from tests.shared import unpacked

OPTIONS = VideoOptions(size=64, context=2, neighbourhood=3)


def request(data, *, encoder="pixels", out=None, **changes):
    if isinstance(encoder, str):
        encoder = open_encoder(encoder)
    options = dataclasses.replace(OPTIONS, **changes)
    mesh = make_mesh(1)
    return Request(encoder, str(data), None, out, FeatureStore(None), mesh, 8, 0, options)


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "tree", one=masks_of(1, 6), two=masks_of(2, 6))


def test_figures_of_osvos_are_the_official_ones(tmp_path):
    folder = unpacked("davis_video.tar")
    predictions, names = folder / "osvos_results", ("blackswan", "car-shadow", "libby")
    report = run(
        request(
            folder / "DAVIS", encoder=None, out=tmp_path, score=str(predictions), sequences=names
        )
    )
    for ours, theirs in [
        ("global_results-val.csv", "EXPECTED_official_JF_global.csv"),
        ("per-sequence_results-val.csv", "EXPECTED_official_JF.csv"),
    ]:
        assert (tmp_path / ours).read_text().split() == (predictions / theirs).read_text().split()
    official = (predictions / "EXPECTED_official_JF_global.csv").read_text().split()[1].split(",")
    figures = [sample.value / 100 for sample in report.samples.values()]
    assert figures == pytest.approx([float(each) for each in official], abs=5.1e-4)


def test_scores_of_several_objects_in_closed_form():
    truth = Truth(masks_of(2, 6), objects=3)
    predicted = truth.masks[1:-1].copy()
    predicted[predicted == 2] = 0
    predicted[2:][predicted[2:] == 1] = 2
    one, two, three = score_objects("v", truth, predicted)
    assert [score.name for score in (one, two, three)] == ["v_1", "v_2", "v_3"]
    # Right in two of four frames; the first quarter is the first two frames, the last the last two.
    assert one.region == one.contour == (0.5, 0.5, 1.0)
    assert two.region == (0.0, 0.0, 0.0)
    assert three.region == three.contour == (1.0, 1.0, 0.0)  # nowhere, and not predicted
    np.testing.assert_array_equal(one.figures(), [0.5, 0.5, 0.5, 1, 0.5, 0.5, 1])


def test_an_example_is_a_sequence_and_the_figure_the_mean_over_objects(tree, tmp_path):
    predictions = tmp_path / "p"
    write_masks(predictions, "one", masks_of(1, 6))
    write_masks(predictions, "two", np.minimum(masks_of(2, 6), 1))
    report = run(request(tree, encoder=None, score=str(predictions)))
    assert list(report.values["objects"]) == ["one_1", "two_1", "two_2"]
    sample = report.samples["j_mean"]
    np.testing.assert_allclose(sample.units, [[1, np.nan], [0.5, 0]])
    assert sample.value == pytest.approx(50)
    assert sample.statistic(sample.units[[1, 1]]) == pytest.approx(25)  # what a bootstrap may draw
    assert report.notes[-1] == "Intervals draw sequences."
    assert set(report.titles) == set(report.samples)
    assert not report.files


def test_patches_follow_what_the_first_mask_does_not(tmp_path):
    truth = {"one": masks_of(1, 6, speed=4), "two": masks_of(2, 6, speed=4)}
    tree, out = write_tree(tmp_path / "tree", **truth), tmp_path / "out"
    # Four times the pixels: the squares, of 12, then cover six patches a side.
    network = run(request(tree, out=out, size=192, neighbourhood=8))
    still = run(request(tree, encoder=None, propagate="first"))
    assert network.samples["j_mean"].value > 70 > still.samples["j_mean"].value + 30
    for name, masks in truth.items():
        files = sorted((out / name).iterdir())
        assert [file.name for file in files] == [f"{i:05d}.png" for i in range(6)]
        np.testing.assert_array_equal(read_indexed(files[0]), masks[0])
        assert read_indexed(files[-1]).shape == SIZE
    again = run(request(tree, encoder=None, score=str(out)))
    assert again.samples["f_mean"].value == network.samples["f_mean"].value
    assert out / "global_results-val.csv" in network.files


def test_the_first_mask_repeated(tree, tmp_path):
    run(request(tree, encoder=None, propagate="first", out=tmp_path))
    for number in range(6):
        found = read_indexed(tmp_path / "two" / f"{number:05d}.png")
        np.testing.assert_array_equal(found, masks_of(2, 6)[0])


def test_nothing_that_moves_is_carried_without_loss(tmp_path):
    masks = np.kron(masks_of(3, 4, size=(8, 16), speed=0) > 0, np.ones((1, 8, 8))).astype(np.uint8)
    tree = write_tree(tmp_path, still=masks)  # in whole patches of a frame that isn't resized
    report = run(request(tree, encoder="colour", size=64))
    assert report.samples["jf_mean"].value > 90


class Seen:
    """Stands in for a network: each patch is its mean; keeps what it is given."""

    def __init__(self, patch, width=3):
        self.patch, self.width, self.shapes = patch, width, []

    def __call__(self, params, images, **options):
        self.shapes.append(images.shape)
        jax.debug.callback(self.keep, images.mean(axis=(0, 1, 2)))
        n, height, width, channels = images.shape
        cut = images.reshape(n, height // self.patch, self.patch, width // self.patch, -1, channels)
        patches = cut.mean(axis=(2, 4)).reshape(n, -1, channels)
        return Features(patches.mean(axis=1), patches[:, : patches.shape[1] - self.width + 3])

    def keep(self, means):
        self.means = np.asarray(means)


def stand_in(seen, **changes):
    encoder = dataclasses.replace(open_encoder("pixels"), features=seen, patch_size=seen.patch)
    return dataclasses.replace(encoder, **changes)


def test_frames_are_read_at_the_references_size_and_deviation(tmp_path):
    masks = masks_of(1, 3)
    tree = write_tree(tmp_path, grey=masks)
    write_video(tree, "grey", masks, np.full((3, *SIZE, 3), 100, np.uint8))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    seen = Seen(16)
    run(request(tree, encoder=stand_in(seen, mean=mean, std=std), size=128))
    assert seen.shapes == [(1, 128, 192, 3)]  # 213 are cut to a multiple of 64
    level = 100 / 255
    expected = [(level - 0.485) / 0.228, (level - 0.456) / 0.224, (level - 0.406) / 0.225]
    np.testing.assert_allclose(seen.means, expected, rtol=1e-4)
    run(request(tree, encoder=stand_in(seen, mean=mean, std=(0.5, 0.5, 0.5)), size=128))
    np.testing.assert_allclose(seen.means, (level - np.array(mean)) / 0.5, rtol=1e-4)


def test_an_object_smaller_than_a_patch_is_said_to_be_lost(tree, caplog):
    masks = masks_of(2, 6)
    masks[masks == 2] = 0
    masks[:, 40, 40] = 2
    write_video(tree, "two", masks)
    report = run(request(tree))
    assert "two: object 2 is too small for a patch of the first frame" in caplog.text
    assert caplog.text.count("is lost") == 1
    assert report.values["objects"]["two_2"]["j_mean"] == 0


def test_devices_share_the_frames(tree):
    single, several = request(tree), request(tree)
    several = dataclasses.replace(several, mesh=make_mesh(4))
    for name, sample in run(single).samples.items():
        np.testing.assert_allclose(run(several).samples[name].units, sample.units)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": -1}, "--context=-1: expected 0 or more"),
        ({"neighbourhood": -2}, "--neighbourhood=-2: expected 0 or more"),
        ({"top_k": 0}, "--top-k=0: expected 1 or more"),
        ({"temperature": 0.0}, r"--temperature=0\.0: expected more than 0"),
        ({"size": 100}, "--size=100 is no multiple of the patch, 8: 96 is, say"),
        ({"sequences": ("none",)}, "there is no sequence none"),
        ({"score": "nowhere"}, "there is no folder of predictions nowhere"),
    ],
)
def test_options_out_of_range_are_refused(tree, changes, message):
    with pytest.raises(UserError, match=message):
        run(request(tree, **changes))


def test_a_network_without_a_patch_to_every_place_is_refused(tree):
    with pytest.raises(UserError, match="does not give 8 × 8 patches of frames of 64 × 64 pixels"):
        run(request(tree, encoder=stand_in(Seen(8, width=4))))


def test_a_network_that_diverged_is_refused(tree):
    with pytest.raises(UserError, match="the features of raw pixels are not all finite"):
        run(request(tree, encoder=diverged(open_encoder("pixels"))))


def test_a_network_is_needed_to_follow_patches(tree):
    with pytest.raises(UserError, match="--weights is missing"):
        run(request(tree, encoder=None))


def test_a_mistake_in_the_last_sequence_is_told_before_any_is_done(tree, tmp_path):
    masks = masks_of(2, 6)
    masks[4, 0, 0] = 9
    write_video(tree, "two", masks, frames_of(masks_of(2, 6)))
    seen = Seen(8)
    with pytest.raises(UserError, match="holds object 9"):
        run(request(tree, encoder=stand_in(seen), out=tmp_path / "out"))
    assert not seen.shapes
    assert not (tmp_path / "out").exists()
