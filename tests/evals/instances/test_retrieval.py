"""`retrieval` from folder to figures, against one image at a time; and what it refuses."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data.instances import Shrunk
from dino_jax.evals.instances.ground_truth import GroundTruth, Query
from dino_jax.evals.protocols import retrieval
from dino_jax.interop.encoder import open_encoder
from dino_jax.ops import pooling, ranking
from tests.evals.instances import trees
from tests.shared import unpacked


@pytest.fixture
def folder(tmp_path):
    trees.landmarks(tmp_path / "scenes")
    return tmp_path / "scenes"


def described(encoder, features, path, longest, *, multiscale=False, box=None):
    """One image by itself, straight through Pillow and the network."""
    image = Image.open(path).convert("RGB")
    if box is not None:
        image = image.crop([round(edge) for edge in box])
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    values = (np.asarray(image, np.float32) / 255 - encoder.mean) / encoder.std
    images = jnp.asarray(values, jnp.float32)[None]
    scales = pooling.SCALES if multiscale else (1.0,)
    each = [features(encoder.params, pooling.shrunk(images, s)).cls[0] for s in scales]
    mean = np.mean(each, axis=0, dtype=np.float64)
    return mean / np.linalg.norm(mean)


def expected(encoder, folder, **options):
    """Average precisions of the three setups, by hand."""
    told = json.loads((folder / "gnd_scenes.json").read_text())
    jpg = folder / "jpg"
    crop = options.pop("crop_queries", False)
    by = encoder, jax.jit(encoder.features)
    database = [described(*by, jpg / f"{name}.jpg", 32, **options) for name in told["imlist"]]
    found = {"easy": [], "medium": [], "hard": []}
    for name, entry in zip(told["qimlist"], told["gnd"], strict=True):
        box = entry["bbx"] if crop else None
        query = described(*by, jpg / f"{name}.jpg", 32, box=box, **options)
        order = np.argsort([-float(query @ image) for image in database], kind="stable")
        good = {"easy": entry["easy"], "hard": entry["hard"]}
        good["medium"] = entry["easy"] + entry["hard"]
        bad = {"easy": entry["junk"] + entry["hard"], "hard": entry["junk"] + entry["easy"]}
        for setup, scored in found.items():
            kept = [image for image in order if image not in bad.get(setup, entry["junk"])]
            places = np.flatnonzero(np.isin(kept, good[setup]))
            scored.append(ranking.trapezoid(places, len(good[setup])))
    return found


@pytest.mark.parametrize("options", [{}, {"multiscale": True, "crop_queries": True}], ids=str)
def test_figures_are_those_of_one_image_at_a_time(folder, options):
    encoder = trees.network()
    report = retrieval.run(trees.retrieval(folder, encoder, **options))
    for setup, wanted in expected(encoder, folder, **options).items():
        sample = report.samples[f"{setup}_map"]
        np.testing.assert_allclose(sample.units, wanted, rtol=1e-12)
        assert sample.value == pytest.approx(100 * np.mean(wanted))
    assert set(report.titles) == set(report.samples)
    assert {f"{s}_mp{k}" for s in retrieval.SETUPS for k in (1, 5, 10)} == set(report.values)


def test_figures_do_not_depend_on_devices_or_batches(folder):
    encoder = trees.network()
    eight, one = (
        retrieval.run(trees.retrieval(folder, encoder, devices=devices)) for devices in (8, 1)
    )
    for name, sample in eight.samples.items():
        np.testing.assert_array_equal(sample.units, one.samples[name].units)


@pytest.mark.parametrize("spec", ["pixels", "colour"])
@pytest.mark.parametrize("multiscale", [False, True])
def test_trivial_descriptions_see_squares(folder, spec, multiscale):
    encoder = open_encoder(spec)
    report = retrieval.run(trees.retrieval(folder, encoder, multiscale=multiscale))
    if spec == "colour":  # by which the scenes are made
        assert report.samples["medium_map"].value == 100


def test_features_are_kept_and_read_again(folder, tmp_path, monkeypatch):
    first = retrieval.run(trees.retrieval(folder, cache=tmp_path / "cache"))
    monkeypatch.delattr(Shrunk, "load")
    again = retrieval.run(trees.retrieval(folder, cache=tmp_path / "cache"))
    np.testing.assert_array_equal(first.samples["hard_map"].units, again.samples["hard_map"].units)


def query(easy=(), hard=(), junk=()):
    return Query(tuple(easy), tuple(hard), tuple(junk), None)


def report(queries, name="scenes"):
    orders = np.stack([np.arange(6)] * len(queries))
    truth = GroundTruth(name, ("image",) * 6, ("query",) * len(queries), tuple(queries))
    return retrieval.report(truth, orders, trees.retrieval("").options)


def test_queries_with_nothing_to_find_are_left_out_and_said():
    found = report([query(easy=[0]), query(hard=[1], easy=[0]), query(junk=[2])])
    assert {name: len(sample.units) for name, sample in found.samples.items()} == {
        "medium_map": 2,
        "hard_map": 1,
        "easy_map": 2,
    }
    # The easy image before it is taken out for `hard`.
    assert found.samples["hard_map"].value == 100
    assert any("2 queries have nothing to find in hard" in note for note in found.notes)
    assert set(report([query(easy=[0])]).samples) == {"medium_map", "easy_map"}
    with pytest.raises(UserError, match="no query of gnd_scenes has an easy or a hard image"):
        report([query(junk=[1]), query()])


def test_only_the_benchmarks_bear_names_that_figures_are_published_by():
    found = report([query(easy=[0], hard=[1])], "roxford5k")
    assert set(found.samples) == {f"roxford5k_{setup}_map" for setup in retrieval.SETUPS}


@pytest.mark.parametrize("longest", [-5, 0, 10**6])
def test_a_longest_side_that_cannot_be_is_one_line(folder, longest):
    with pytest.raises(UserError, match=f"--longest={longest}: expected 1 to 8192 pixels"):
        retrieval.run(trees.retrieval(folder, longest=longest))


def test_bad_images_are_one_line(folder, caplog):
    with pytest.raises(UserError, match=r"jpg has 4x3 pixels .* raise --longest"):
        retrieval.run(trees.retrieval(folder, trees.network(), longest=4))
    with pytest.raises(UserError, match=r"less at a scale of 0\.5"):
        retrieval.run(trees.retrieval(folder, trees.network(), longest=14, multiscale=True))
    damaged = folder / "jpg" / "scene1_1.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    for encoder in (None, trees.network()):
        with pytest.raises(UserError, match=r"cannot read .*scene1_1\.jpg \(.*: copy it again"):
            retrieval.run(trees.retrieval(folder, encoder))
    assert not caplog.records
    damaged.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"cannot read .*scene1_1\.jpg.*: copy it again"):
        retrieval.run(trees.retrieval(folder, trees.network()))


def test_bad_boxes_are_one_line(folder):
    told = json.loads((folder / "gnd_scenes.json").read_text())
    told["gnd"][1]["bbx"] = [500, 0, 600, 10]
    trees.write(folder, told)
    for encoder in (None, trees.network()):
        with pytest.raises(UserError, match=r"box .*query1\.jpg is not within its 60x40 .* mend"):
            retrieval.run(trees.retrieval(folder, encoder, crop_queries=True))
    del told["gnd"][1]["bbx"]
    trees.write(folder, told)
    with pytest.raises(UserError, match=r"--crop-queries: query1\.jpg has no box"):
        retrieval.run(trees.retrieval(folder, crop_queries=True))
    retrieval.run(trees.retrieval(f"folder:{folder}"))


def test_colours_find_most_of_the_shared_landmarks():
    folder = unpacked("retrieval_rdavis.tar") / "rdavis"
    found = retrieval.run(trees.retrieval(folder, longest=64))
    assert found.title == "retrieval: rdavis, 12 queries among 132 images, mAP"
    assert found.samples["easy_map"].value > found.samples["hard_map"].value > 50
