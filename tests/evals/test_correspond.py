"""Matching patches: brute force, known displacements, and the protocol on files of any shape."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.config.protocol_options import CorrespondOptions
from dino_jax.evals.correspond import matching
from dino_jax.evals.correspond.homography import judged, mapped, precision, recall
from dino_jax.evals.correspond.matching import Matches, match
from dino_jax.evals.correspond.photograph import open_photograph
from dino_jax.evals.protocols import correspond
from dino_jax.interop.encoder import open_encoder
from tests.evals.dense.requests import diverged
from tests.evals.embed.networks import SHALLOW, encoder
from tests.evals.requests import request

PATCH = 8
HEIGHT, WIDTH = 96, 144


@pytest.fixture(scope="module")
def pixels():
    return open_encoder("pixels", size=16)


def scene() -> np.ndarray:
    """Smooth noise: every patch differs from every other."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def saved(path: pathlib.Path, image: np.ndarray, **options) -> pathlib.Path:
    Image.fromarray(image).save(path, **options)
    return path


@pytest.mark.parametrize("mutual", [True, False])
def test_matches_are_those_of_brute_force(mutual: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "_ROWS", 7)
    draw = np.random.default_rng(1)
    first, second = (draw.standard_normal((n, 5)).astype(np.float32) for n in (23, 17))
    first[4] = 0  # of no direction: no error
    cosine = np.array(
        [[a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12) for b in second] for a in first]
    )
    expected = {}
    for i in range(len(first)):
        j = int(cosine[i].argmax())
        if not mutual or int(cosine[:, j].argmax()) == i:
            expected[i] = j
    found = match(first, second, mutual=mutual)
    assert dict(zip(found.first.tolist(), found.second.tolist(), strict=True)) == expected
    near = [cosine[i, j] for i, j in zip(found.first, found.second, strict=True)]
    np.testing.assert_allclose(found.similarity, near, atol=1e-6)
    assert (np.diff(found.similarity) <= 0).all()
    best = match(first, second, mutual=mutual, top=3)
    np.testing.assert_array_equal(best.first, found.first[:3])


def test_only_the_patches_within_take_part() -> None:
    rows = np.eye(6, dtype=np.float32)
    within = np.array([1, 1, 0, 1, 0, 0], bool), np.array([0, 1, 1, 1, 1, 1], bool)
    found = match(rows, rows, within=within)
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert {(1, 1), (3, 3)} <= pairs
    assert all(within[0][i] and within[1][j] for i, j in pairs)
    assert len(match(rows, rows, within=(within[0], np.zeros(6, bool))).first) == 0


@pytest.mark.parametrize(("height", "width"), [(96, 144), (90, 250), (301, 50), (33, 33)])
def test_patches_know_where_they_lie(tmp_path: pathlib.Path, height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    file = saved(tmp_path / "a.png", image)
    photograph = open_photograph(str(file), size=40, patch_size=PATCH, channels=3)
    rows, columns = photograph.grid
    assert min(rows, columns) == 5
    assert photograph.pixels.shape == (rows * PATCH, columns * PATCH, 3)
    centres = photograph.centres(np.arange(rows * columns))
    expected = [(c + 0.5, r + 0.5) for r in range(rows) for c in range(columns)]
    np.testing.assert_allclose(photograph.positions(centres), expected)
    assert (centres > -0.5).all()
    assert (centres < [[width - 0.5, height - 0.5]]).all()
    middle = centres.mean(axis=0)
    np.testing.assert_allclose(middle, [(width - 1) / 2, (height - 1) / 2], atol=height / 40)


def test_a_patch_lies_at_the_middle_of_its_pixels(tmp_path: pathlib.Path) -> None:
    file = saved(tmp_path / "a.png", np.zeros((16, 24, 3), np.uint8))
    photograph = open_photograph(str(file), size=16, patch_size=8, channels=3)
    found = photograph.centres(np.array([0, 5]))
    np.testing.assert_allclose(found, [[3.5, 3.5], [19.5, 11.5]])


def test_a_shifted_image_matches_by_its_shift(pixels, tmp_path: pathlib.Path) -> None:
    image = scene()
    first = saved(tmp_path / "a.png", image[:80, :112])
    second = saved(tmp_path / "b.png", image[16:96, 32:144])
    options = CorrespondOptions(size=80, homography=str(tmp_path / "h.txt"))
    (tmp_path / "h.txt").write_text("1 0 -32\n0 1 -16\n0 0 1\n")
    report = correspond.run(request(pixels, options, first, second, out=tmp_path / "out"))
    told = json.loads((tmp_path / "out" / "matches.json").read_text())
    shared = [m for m in told["matches"] if m["similarity"] > 0.9999]
    assert len(shared) == 8 * 10
    for pair in shared:
        assert np.subtract(pair["first"], pair["second"]).tolist() == [32, 16]
    assert report.samples["recall"].value == 100
    assert report.samples["precision"].value > 75
    assert report.values["matches"] == len(told["matches"])
    assert told["images"][0]["patch_grid"] == [10, 14]
    drawn = report.drawing
    assert drawn.images[1].shape == (80, 112, 3)
    np.testing.assert_allclose(drawn.first[0], told["matches"][0]["first"])


def test_other_sizes_of_one_image_match_in_place(pixels, tmp_path: pathlib.Path) -> None:
    """Coordinates are of the originals, whatever the images were resized to."""
    image = scene()
    first = saved(tmp_path / "a.png", image)
    large = Image.fromarray(image).resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.BICUBIC)
    second = saved(tmp_path / "b.png", np.asarray(large))
    report = correspond.run(request(pixels, CorrespondOptions(size=HEIGHT), first, second))
    assert report.notes == ("raw pixels: 216 mutual matches, of a mean similarity of 1.000.",)
    drawn = report.drawing
    assert len(drawn.first) == (HEIGHT // PATCH) * (WIDTH // PATCH)
    np.testing.assert_allclose(2 * drawn.first + 0.5, drawn.second, atol=1e-9)


def test_a_mirrored_image_matches_mirrored(tmp_path: pathlib.Path) -> None:
    """By the colours of a patch, which no mirror changes."""
    first = saved(tmp_path / "a.png", scene())
    second = saved(tmp_path / "b.png", scene()[:, ::-1])
    (tmp_path / "h.txt").write_text(f"-1 0 {WIDTH - 1}\n0 1 0\n0 0 1\n")
    options = CorrespondOptions(size=HEIGHT, homography=str(tmp_path / "h.txt"))
    colour = open_encoder("colour", size=16)
    report = correspond.run(request(colour, options, first, second))
    assert report.samples["recall"].value == report.samples["precision"].value == 100
    drawn = report.drawing
    assert len(drawn.first) == (HEIGHT // PATCH) * (WIDTH // PATCH)
    np.testing.assert_allclose(drawn.first[:, 0] + drawn.second[:, 0], WIDTH - 1)


def test_a_network_matches_an_image_with_itself(tmp_path: pathlib.Path) -> None:
    first = saved(tmp_path / "a.png", scene())
    network = encoder(SHALLOW)
    itself = correspond.run(request(network, CorrespondOptions(size=48), first, first))
    np.testing.assert_allclose(itself.drawing.first, itself.drawing.second)
    assert itself.values["mean_similarity"] == pytest.approx(1, abs=1e-5)
    options = CorrespondOptions(size=48, foreground=0.3)
    fewer = correspond.run(request(network, options, first, first))
    assert 0 < fewer.values["matches"] < 0.35 * itself.values["matches"]


def test_a_network_that_diverged_is_one_line(pixels, tmp_path: pathlib.Path) -> None:
    first = saved(tmp_path / "a.png", scene())
    asked = request(diverged(pixels), CorrespondOptions(size=48), first, first)
    with pytest.raises(UserError, match="features of raw pixels are not all finite: these weights"):
        correspond.run(asked)


def test_judgement_by_a_homography(tmp_path: pathlib.Path) -> None:
    file = saved(tmp_path / "a.png", np.zeros((32, 48, 3), np.uint8))
    one = open_photograph(str(file), size=32, patch_size=8, channels=3)  # 4 x 6 patches
    shift = np.array([[1.0, 0, 16], [0, 1, 0], [0, 0, 1]])  # two columns to the right
    pairs = [(0, 2), (1, 4), (2, 3), (6, 15), (7, 11), (4, 0)]
    similarity = np.ones(len(pairs), np.float32)
    matches = Matches(*np.array(pairs).T, similarity)
    units = judged(matches, shift, one, one)
    assert units.shape == (24, 3)
    assert units[:, 2].sum() == 16, "two of six columns leave the second image"
    assert set(np.flatnonzero(units[:, 1])) == {0, 1, 2, 6}, "a patch off is right, two are not"
    assert precision(units) == pytest.approx(100 * 4 / 6)
    assert recall(units) == pytest.approx(100 * 4 / 16)
    assert precision(np.zeros((5, 3), bool)) == recall(np.zeros((5, 3), bool)) == 0


def test_points_behind_the_camera_are_nowhere() -> None:
    tilted = np.array([[1.0, 0, 0], [0, 1, 0], [0.1, 0, 1]])
    found = mapped(tilted, np.array([[0.0, 5], [10, 20], [-10, 1], [-20, 1]]))
    np.testing.assert_allclose(found[:2], [[0, 5], [5, 10]])
    assert np.isnan(found[2:]).all()


MISTAKES = {
    "no file": ({}, "absent.png", "cannot read .*absent.png: No such file"),
    "a folder": ({}, ".", "Is a directory; expected the path of an image file"),
    "no image": ({}, "text.txt", "its content is no image"),
    "tiny": ({"size": 4}, "a.png", "--size=4 is less than a patch, 8 pixels"),
    "huge": ({"size": 4000}, "a.png", "more than 16384: give a smaller --size"),
    "no size": ({"size": 0}, "a.png", "--size=0: expected 1 or more"),
    "top": ({"top": 0}, "a.png", "--top=0: expected 1 or more"),
    "share": ({"foreground": 1.5}, "a.png", "--foreground=1.5: expected a share above 0"),
    "no attention": ({"foreground": 0.5}, "a.png", "raw pixels has no attention"),
    "no homography": ({"homography": "{at}/absent"}, "a.png", "--homography: .*absent cannot be"),
    "no text": ({"homography": "{at}/a.png"}, "a.png", "--homography: .* is not text"),
    "singular": ({"homography": "{at}/zeros"}, "a.png", "--homography=.*zeros: .* are singular"),
    "flat": ({"homography": "{at}/flat"}, "a.png", "are singular"),
    "ten": ({"homography": "{at}/ten"}, "a.png", "3 x 3 numbers, found 10 of them"),
    "infinite": ({"homography": "{at}/nan"}, "a.png", "3 x 3 numbers, found 'nan' among them"),
    "not numbers": ({"homography": "{at}/text.txt"}, "a.png", "found 'some' among them"),
    "eight numbers": ({"homography": "{at}/eight"}, "a.png", "3 x 3 numbers, found 8 of them"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(pixels, tmp_path: pathlib.Path, mistake: str) -> None:
    changed, second, line = MISTAKES[mistake]
    saved(tmp_path / "a.png", scene())
    (tmp_path / "text.txt").write_text("some words")
    numbers = {
        "eight": "1 2 3 4 5 6 7 8", "ten": "1 0 0\n0 1 0\n0 0 1\n1", "nan": "1 0 0 0 1 0 0 0 nan",
        "zeros": "0 0 0\n0 0 0\n0 0 0", "flat": "1 2 300 # a line\n2 4 600\n0 0 1",
    }  # fmt: skip
    for name, content in numbers.items():
        (tmp_path / name).write_text(content)
    options = CorrespondOptions(
        **{
            k: v.replace("{at}", str(tmp_path)) if k == "homography" else v
            for k, v in changed.items()
        }
    )
    with pytest.raises(UserError, match=line) as error:
        correspond.run(request(pixels, options, tmp_path / "a.png", tmp_path / second))
    assert "\n" not in str(error.value)
