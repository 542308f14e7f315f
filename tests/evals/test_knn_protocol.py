"""The k-NN protocol: figures of one and of several labels, the classes' names, what is refused."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.config.protocol_options import KnnOptions
from dino_jax.data.evaluation import eval_image
from dino_jax.data.multilabel import open_labelled
from dino_jax.data.sources import open_source
from dino_jax.evals.protocol import Request
from dino_jax.evals.protocols.knn import run
from dino_jax.evals.store import FeatureStore
from dino_jax.interop.encoder import open_encoder
from dino_jax.train.sharding import make_mesh
from tests.ops.test_precision import by_loop

COLOURS = {"blue": (30, 60, 200), "green": (40, 190, 50), "red": (220, 40, 40)}
SIDE = 16


def picture(colour, random):
    noise = random.normal(0, 15, (20, 24, 3))
    return Image.fromarray(np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8))


def folder(path, counts, seed=0):
    random = np.random.default_rng(seed)
    for colour, count in counts.items():
        (path / colour).mkdir(parents=True)
        for number in range(count):
            picture(colour, random).save(path / colour / f"{number}.png")
    return str(path)


def voc(path, subset, count, seed=0):
    """Photographs with a red half, a green half, both or neither; class names in file names."""
    random = np.random.default_rng(seed)
    for part in ("JPEGImages", "ImageSets/Main"):
        (path / part).mkdir(parents=True, exist_ok=True)
    lines = {"green": [], "red": []}
    for number in range(count):
        name, shown = f"{subset}{number}", [bool(number & 1), bool(number & 2)]
        image = np.array(picture("blue", random))
        for half, (colour, each) in enumerate(zip(lines, shown, strict=True)):
            if each:
                image[:, 12 * half : 12 * half + 12] = COLOURS[colour]
            lines[colour].append(f"{name} {1 if each else -1}")
        Image.fromarray(image).save(path / "JPEGImages" / f"{name}.png")
    for colour, said in lines.items():
        (path / "ImageSets" / "Main" / f"{colour}_{subset}.txt").write_text("\n".join(said))
    return f"voc:{path}:{subset}"


def scored(data, val, *, devices=1, **options):
    options = KnnOptions(**{"k": (1, 5), **options})
    encoder = open_encoder("pixels", size=SIDE, resize=SIDE)
    mesh = make_mesh(devices)
    return run(Request(encoder, data, val, None, FeatureStore(None), mesh, 16, 0, options))


@pytest.fixture
def sets(tmp_path):
    return folder(tmp_path / "train", dict.fromkeys(COLOURS, 6)), folder(
        tmp_path / "val", dict.fromkeys(COLOURS, 4), seed=1
    )


def test_colours_are_told_apart_by_their_pixels(sets):
    report = scored(*sets)
    assert {name: sample.value for name, sample in report.samples.items()} == {
        "knn1_top1": 100,
        "knn5_top1": 100,
    }
    assert report.titles["knn5_top1"] == "5-NN top-1"
    assert report.notes == ("k-NN of 12 images among 18, temperature 0.07.",)
    assert report.samples["knn1_top1"].units.dtype == bool


def blocks(random, deviation):
    """A coarse pattern: 24 blocks of one colour each."""
    return np.kron(random.normal(0, deviation, (4, 6, 3)), np.ones((5, 4, 1)))


def write(path, pattern):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(128 + pattern, 0, 255).astype(np.uint8)).save(path)


def cosines(bank, queries):
    """Of every query with every image of the bank, in float64, by features one after another."""
    encoder, found = open_encoder("pixels", size=SIDE, resize=SIDE), []
    for source in (bank, queries):
        images = [eval_image(source.load(i), size=SIDE, resize=SIDE) for i in range(len(source))]
        prepared = encoder.prepared(jnp.asarray(np.stack(images)))
        rows = np.asarray(encoder.features(encoder.params, prepared).cls, np.float64)
        found.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return found[1] @ found[0].T


def votes_by_loop(row, shown, k, temperature):
    """Reference, section 1.10, for one query; `shown` (bank, classes) are 0 or 1."""
    votes = np.zeros(shown.shape[1])
    for neighbour in np.argsort(-row, kind="stable")[:k]:
        votes += shown[neighbour] * np.exp((row[neighbour] - row.max()) / temperature)
    return votes


def test_figures_are_those_of_a_plain_loop_and_hang_on_k_and_temperature(tmp_path):
    random = np.random.default_rng(0)
    patterns = [blocks(random, 20) for _ in range(7)]
    for part, count in (("train", 6), ("val", 4)):
        for number, pattern in enumerate(patterns):
            for each in range(count):
                write(tmp_path / part / f"c{number}" / f"{each}.png", pattern + blocks(random, 45))
    sets = [str(tmp_path / part) for part in ("train", "val")]
    bank, queries = (open_source(each, channels=3) for each in sets)
    products, seen = cosines(bank, queries), set()
    for temperature in (0.02, 1.0):
        report = scored(*sets, k=(1, 3, 30), temperature=temperature)
        for k in (1, 3, 30):
            order = [
                np.argsort(
                    -votes_by_loop(row, np.eye(7)[bank.labels], k, temperature), kind="stable"
                )
                for row in products
            ]
            wanted = [[label in o[:n] for o, label in zip(order, queries.labels, strict=True)]
                      for n in (1, 5)]  # fmt: skip
            found = [report.samples[f"knn{k}_top{n}"] for n in (1, 5)]
            assert [each.units.tolist() for each in found] == wanted, (k, temperature)
            assert found[0].value < 100
            seen.add((k == 1 or temperature, found[0].value, found[1].value))
    assert len(seen) == 5, "other figures for each k above 1 and temperature"
    assert min(top5 for *_, top5 in seen) < 100


def test_average_precision_is_that_of_a_plain_loop_and_hangs_on_k_temperature_and_form(tmp_path):
    random = np.random.default_rng(0)
    patterns = [blocks(random, 22) for _ in range(3)]
    specs = [noisy_voc(tmp_path, part, 30, patterns, random) for part in ("train", "test")]
    bank, queries = (open_labelled(spec, channels=3) for spec in specs)
    products, seen = cosines(bank, queries), set()
    for temperature, k in ((0.1, 4), (0.1, 30), (1.0, 30)):
        votes = [votes_by_loop(row, np.ones((30, 1)), k, temperature) for row in products]
        shares = [
            votes_by_loop(row, bank.relevant, k, temperature) / all_of
            for row, all_of in zip(products, votes, strict=True)
        ]
        scores = np.round(np.stack(shares), 6)
        for form in ("area", "step", "eleven"):
            precisions = [
                by_loop(column[~odd], shown[~odd], form)
                for column, shown, odd in zip(
                    scores.T, queries.relevant.T, queries.ignored.T, strict=True
                )
            ]
            options = {"temperature": temperature, "precision_form": form}
            found = scored(*specs, k=(k,), **options).samples[f"knn{k}_map"].value
            assert found == pytest.approx(100 * np.mean(precisions), abs=1e-9), (k, options)
            seen.add(round(found, 3))
    assert len(seen) == 9
    assert max(seen) < 100


def noisy_voc(path, subset, count, patterns, random):
    """Images that add up the patterns of what they show, and noise; the last is difficult."""
    lists = path / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    shown = random.random((count, len(patterns))) < 0.4
    for number, each in enumerate(shown):
        pattern = sum((patterns[c] for c in np.flatnonzero(each)), blocks(random, 30))
        write(path / "JPEGImages" / f"{subset}{number}.png", pattern)
    for c in range(len(patterns)):
        marks = [*np.where(shown[:-1, c], 1, -1), 0]
        lines = [f"{subset}{number} {mark:2d}" for number, mark in enumerate(marks)]
        (lists / f"class{c}_{subset}.txt").write_text("\n".join(lines))
    return f"voc:{path}:{subset}"


def test_one_device_and_eight_say_the_same_of_every_image(sets):
    reports = [scored(*sets, devices=devices) for devices in (1, 8)]
    for name, sample in reports[0].samples.items():
        np.testing.assert_array_equal(sample.units, reports[1].samples[name].units)


def test_classes_are_matched_by_name_and_one_without_queries_is_noted(sets, tmp_path, caplog):
    val = folder(tmp_path / "some", {"red": 3, "green": 2})
    report = scored(sets[0], val)
    assert report.samples["knn5_top1"].value == 100
    assert report.notes[1:] == (f"{val} has no image of the class blue.",)
    assert [record.getMessage() for record in caplog.records] == list(report.notes[1:])


def test_without_queries_some_are_held_out(sets):
    report = scored(sets[0], None)
    assert len(report.samples["knn1_top1"].units) == 1
    assert "held out" in report.notes[1]


def test_the_only_image_of_a_class_may_be_held_out(tmp_path):
    """One of three is held out, the middle one."""
    data = folder(tmp_path, {"blue": 1, "green": 1, "red": 1})
    report = scored(data, None, k=(1,))
    assert report.samples["knn1_top1"].value == 0
    assert "All images of the class green are held out." in report.notes


def test_several_labels_are_scored_by_average_precision(tmp_path):
    bank, queries = voc(tmp_path, "train", 24), voc(tmp_path, "test", 12, seed=1)
    report = scored(bank, queries, k=(3, 6))
    assert {name: sample.value for name, sample in report.samples.items()} == {
        "knn3_map": 100,
        "knn6_map": 100,
    }
    assert report.titles["knn3_map"] == "3-NN mAP"
    forms = [scored(bank, queries, k=(24,), precision_form=form) for form in ("area", "step")]
    assert all(0 < each.samples["knn24_map"].value <= 100 for each in forms)


def test_of_the_default_k_those_that_fit_are_taken(sets, tmp_path):
    report = scored(*sets, k=KnnOptions().k)
    assert all(name.startswith("knn10_") for name in report.samples)
    assert report.notes[1] == ("--k=20,100,200: more than the 18 images of the bank, so left out.")
    few = folder(tmp_path / "few", dict.fromkeys(COLOURS, 2))
    with pytest.raises(UserError, match="--k=10 wants 10 images, but there are 6 in"):
        scored(few, sets[1], k=KnnOptions().k)


def test_an_image_that_cannot_be_read_is_left_out(sets, tmp_path):
    (tmp_path / "train" / "red" / "0.png").write_bytes(b"not an image")
    assert "among 17" in scored(*sets).notes[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": (20,)}, "--k=20 wants 20 images, but there are 18 in"),
        ({"k": (0, 5)}, "--k: expected numbers"),
        ({"k": ()}, "--k: expected numbers"),
        ({"temperature": 0.0}, "--temperature=0.0: expected more than 0"),
    ],
)
def test_mistakes_in_the_options_are_one_line(sets, options, said):
    with pytest.raises(UserError, match=said):
        scored(*sets, **options)


def test_mistakes_in_the_images_are_one_line(sets, tmp_path):
    (tmp_path / "val" / "purple").mkdir()
    picture("red", np.random.default_rng(0)).save(tmp_path / "val" / "purple" / "0.png")
    with pytest.raises(UserError, match="no image of the class 'purple', and"):
        scored(*sets)
    flat = tmp_path / "flat"
    flat.mkdir()
    picture("red", np.random.default_rng(0)).save(flat / "0.png")
    with pytest.raises(UserError, match="has no labels"):
        scored(sets[0], str(flat))
    several = voc(tmp_path / "voc", "train", 24)
    with pytest.raises(UserError, match=r"in both .* or in neither"):
        scored(several, sets[1])
    with pytest.raises(UserError, match="--val is missing"):
        scored(several, None)
    other = voc(tmp_path / "other", "test", 8)
    lists = tmp_path / "other" / "ImageSets" / "Main"
    (lists / "red_test.txt").rename(lists / "pink_test.txt")
    with pytest.raises(UserError, match="has the class 'pink'"):
        scored(several, other)


def test_features_that_are_not_finite_are_refused(sets, monkeypatch):
    encoder = open_encoder("pixels", size=SIDE, resize=SIDE)
    bad = dataclasses.replace(encoder, mean=(float("nan"),) * 3)
    monkeypatch.setattr(f"{__name__}.open_encoder", lambda *_, **__: bad)
    with pytest.raises(UserError, match="not all finite"):
        scored(*sets)
