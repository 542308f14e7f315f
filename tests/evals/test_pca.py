"""Patches as colours: known features, the side that is foreground, and the protocol on files."""

import dataclasses
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.config.protocol_options import PcaOptions
from dino_jax.data.single import open_images
from dino_jax.evals.correspond.photograph import photographed
from dino_jax.evals.pca.colours import coloured
from dino_jax.evals.pca.tokens import Described, described
from dino_jax.evals.protocols import pca
from dino_jax.interop.encoder import open_encoder
from dino_jax.models.vit import Features
from tests.evals.dense.requests import diverged
from tests.evals.embed.networks import SHALLOW, encoder
from tests.evals.requests import request

PATCH, ROWS, COLUMNS = 8, 6, 9
INSIDE = np.zeros((ROWS, COLUMNS), bool)
INSIDE[2:5, 3:7] = True


def image(rows: int = ROWS, columns: int = COLUMNS, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (rows * PATCH, columns * PATCH, 3), np.uint8)


def of_known_features(
    inside: np.ndarray = INSIDE, *, attended: np.ndarray | None = None, seed: int = 0
) -> Described:
    """Far from the others inside, where the features also vary along three directions."""
    draw = np.random.default_rng(seed)
    features = 0.05 * draw.standard_normal((inside.size, 12))
    features[inside.ravel(), 0] += 10
    features[inside.ravel(), 1:4] += draw.standard_normal((inside.sum(), 3)) * [3.0, 2, 1]
    photograph = photographed(image(*inside.shape), "a.png", size=8 * ROWS, patch_size=PATCH)
    attention = None if attended is None else attended.ravel() / attended.sum()
    return Described(photograph, features.astype(np.float32), attention)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("images")
    for number, (rows, columns) in enumerate(((ROWS, COLUMNS), (ROWS, COLUMNS), (12, 6))):
        Image.fromarray(image(rows, columns, number)).save(folder / f"{number}.png")
    return folder


def test_foreground_and_its_three_directions() -> None:
    (found,) = coloured([of_known_features()], foreground="border", tails=0)
    np.testing.assert_array_equal(found.foreground, INSIDE)
    assert (found.first[INSIDE] > found.threshold).all()
    inside = of_known_features().features[INSIDE.ravel()].astype(np.float64)
    share = np.linalg.svd(inside - inside.mean(axis=0), compute_uv=False) ** 2
    np.testing.assert_allclose(found.explained, share[:3] / share.sum(), rtol=1e-6)
    kept = found.colours[INSIDE]
    np.testing.assert_allclose(kept.min(axis=0), 0)
    np.testing.assert_allclose(kept.max(axis=0), 1)
    span = np.ptp(found.scores[INSIDE], axis=0)
    low = found.scores[INSIDE].min(axis=0)
    np.testing.assert_allclose(kept, (found.scores[INSIDE] - low) / span, atol=1e-9)


@pytest.mark.parametrize("attended", [INSIDE, ~INSIDE], ids=["inside", "outside"])
def test_the_foreground_is_where_cls_attends(attended: np.ndarray) -> None:
    given = of_known_features(attended=1.0 + attended)
    (found,) = coloured([given], foreground="attention", tails=1)
    np.testing.assert_array_equal(found.foreground, attended)
    (by_border,) = coloured([given], foreground="border", tails=1)
    np.testing.assert_array_equal(by_border.foreground, INSIDE)
    (whole,) = coloured([given], foreground="all", tails=1)
    assert whole.foreground.all()


def test_neither_rotation_nor_sign_of_the_features_changes_the_picture() -> None:
    given = of_known_features()
    turned = np.linalg.qr(np.random.default_rng(5).standard_normal((12, 12)))[0]
    (before,) = coloured([given], foreground="border", tails=1)
    for matrix in (turned, -np.eye(12)):
        (after,) = coloured(
            [given._replace(features=given.features.astype(np.float64) @ matrix)],
            foreground="border", tails=1,
        )  # fmt: skip
        np.testing.assert_array_equal(after.foreground, before.foreground)
        np.testing.assert_allclose(after.colours, before.colours, atol=1e-5)


def test_across_images_like_parts_take_like_colours() -> None:
    """The same features in another image, elsewhere and on another grid."""
    first = of_known_features()
    order = np.random.default_rng(1).permutation(ROWS * COLUMNS)
    photograph = photographed(image(COLUMNS, ROWS), "b.png", size=8 * ROWS, patch_size=PATCH)
    second = Described(photograph, first.features[order], None)
    one, other = coloured([first, second], foreground="border", tails=1)
    assert other.colours.shape == (COLUMNS, ROWS, 3)
    np.testing.assert_array_equal(other.colours.reshape(-1, 3), one.colours.reshape(-1, 3)[order])
    np.testing.assert_array_equal(other.foreground.ravel(), one.foreground.ravel()[order])
    assert one.explained == other.explained


def test_an_image_without_foreground_among_others() -> None:
    empty = of_known_features(np.zeros((ROWS, COLUMNS), bool), seed=3)
    one, other = coloured([of_known_features(), empty], foreground="border", tails=1)
    assert one.foreground.any()
    assert not other.foreground.any()


def test_attention_is_that_of_the_last_block(files: pathlib.Path) -> None:
    """By queries and keys, as by the whole map."""
    network, source = encoder(SHALLOW), open_images(str(files))
    found = list(described(network, source, np.arange(2), size=48))
    assert [each.photograph.grid for each in found] == [(6, 9), (6, 9)]
    whole = jax.jit(functools.partial(network.features, attention=True))
    for each in found:
        wanted = whole(network.params, network.prepared(jnp.asarray(each.photograph.pixels[None])))
        assert wanted.attention is not None
        np.testing.assert_allclose(
            each.attention, wanted.attention[0, :, 0, 1:].mean(axis=0), atol=1e-6
        )
        np.testing.assert_allclose(each.features, wanted.patches[0], atol=1e-5)


@pytest.mark.parametrize("across", [False, True])
def test_what_is_reported_and_written(files: pathlib.Path, tmp_path, across: bool) -> None:
    options = PcaOptions(size=48, across=across, images=0)
    report = pca.run(request(encoder(SHALLOW), options, f"folder:{files}", out=tmp_path))
    told = json.loads((tmp_path / "components.json").read_text())
    assert [each["name"] for each in told["images"]] == ["0.png", "1.png", "2.png"]
    explained = np.array([each["explained"] for each in told["images"]])
    for place in range(3):
        assert report.values[f"explained_{place + 1}"] == pytest.approx(explained[:, place].mean())
    assert (len({tuple(row) for row in explained.tolist()}) == 1) == across
    assert "foreground: " not in report.drawing.title
    assert "48 px, patch 8" in report.drawing.title
    with np.load(tmp_path / "components.npz") as held:
        for place, row in enumerate(report.drawing.rows):
            np.testing.assert_array_equal(held[f"colours_{place}"], row.colours)
            np.testing.assert_array_equal(held[f"foreground_{place}"], row.foreground)
    assert ("one PCA of 3 images" in report.notes[0]) == across


def test_one_file_and_a_network_without_attention(files: pathlib.Path, tmp_path) -> None:
    pixels = open_encoder("pixels", size=16)
    report = pca.run(request(pixels, PcaOptions(size=48), files / "2.png"))
    assert report.values["images"] == 1
    assert report.drawing.side == "where fewer patches lie at the border"
    assert report.files == ()
    assert report.drawing.rows[0].name == "2.png"


def test_some_of_many_and_an_unreadable_one(files: pathlib.Path, tmp_path, caplog) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(7):
        Image.fromarray(image(seed=number)).save(folder / f"{number}.png")
    (folder / "3.png").write_bytes(b"nothing")
    pixels = open_encoder("pixels", size=16)
    report = pca.run(request(pixels, PcaOptions(size=48, images=3), folder))
    assert [row.name for row in report.drawing.rows] == ["0.png", "6.png"]
    assert "3 of the 7 images" in report.notes[1]
    assert report.notes[2] == "1 of them cannot be read: left out."
    assert "skipped unreadable image 3.png" in caplog.text


MISTAKES = {
    "no file": ({}, "absent.png", "there is no .*absent.png: expected the path of an image"),
    "no image": ({}, "text.png", "no image of .*text.png can be read"),
    "size": ({"size": 0}, "0.png", "--size=0: expected 1 or more"),
    "tiny": ({"size": 4}, "0.png", "--size=4 is less than a patch"),
    "few": ({"size": 8}, "0.png", "0.png has 1 patches.*larger --size"),
    "images": ({"images": -1}, "0.png", "--images=-1: expected 0 or more"),
    "tails": ({"tails": 50.0}, "0.png", "--tails=50: expected a percentage"),
    "flat": ({}, "flat.png", "flat.png have the same features"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(tmp_path: pathlib.Path, mistake: str) -> None:
    changed, name, line = MISTAKES[mistake]
    Image.fromarray(image()).save(tmp_path / "0.png")
    Image.fromarray(np.full((48, 72, 3), 99, np.uint8)).save(tmp_path / "flat.png")
    (tmp_path / "text.png").write_text("some words")
    options = PcaOptions(**{"size": 48} | changed)
    with pytest.raises(UserError, match=line) as error:
        pca.run(request(open_encoder("pixels", size=16), options, tmp_path / name))
    assert "\n" not in str(error.value)


def test_a_network_that_diverged_or_collapsed_is_one_line(files: pathlib.Path) -> None:
    pixels = open_encoder("pixels", size=16)
    with pytest.raises(UserError, match="not all finite: these weights diverged"):
        pca.run(request(diverged(pixels), PcaOptions(size=48), files / "0.png"))

    def same(params, images, **_) -> Features:
        count = images.shape[1] * images.shape[2] // PATCH**2
        return Features(jnp.ones((1, 4)), jnp.ones((1, count, 4)) + 1e-7 * images[0, 0, 0, 0])

    collapsed = dataclasses.replace(pixels, features=same)
    with pytest.raises(UserError, match="the same features: the network has collapsed"):
        pca.run(request(collapsed, PcaOptions(size=48), files / "0.png"))
