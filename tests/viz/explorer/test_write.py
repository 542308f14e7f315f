"""The page as a file: what is in it, how large it may be, and what it does with odd input."""

import base64
import html.parser
import io
import logging
import pathlib
import re

import numpy as np
import PIL.Image
import pytest

from dino_jax.config import ModelConfig, UserError
from dino_jax.viz.attend.colour import backdrop, colour_table
from dino_jax.viz.attend.maps import projections
from dino_jax.viz.explorer.write import write_explorer
from tests.evals.embed import networks
from tests.viz.explorer import pages

COARSE = ModelConfig(arch="vit_tiny", patch_size=16, width=9, depth=1, heads=3)
DEEP = ModelConfig(arch="vit_tiny", patch_size=8, width=8, depth=5, heads=2)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Two pictures, one tall, by two weights of other depths."""
    encoders = [networks.encoder(), networks.encoder(networks.SHALLOW)]
    pictures = [pages.picture(16, 24), pages.picture(64, 8, "tall.jpg", seed=1)]
    return write_explorer(tmp_path_factory.mktemp("page") / "page.html", pictures, encoders)


def test_a_page_holds_the_attention_of_every_patch_and_block(page: pathlib.Path) -> None:
    told = pages.facts(page)
    seen = [pages.picture(16, 24), pages.picture(64, 8, "tall.jpg", seed=1)]
    for weights, encoder in enumerate((networks.encoder(), networks.encoder(networks.SHALLOW))):
        assert told["weights"][weights]["blocks"] == list(range(encoder.depth))
        for index, picture in enumerate(seen):
            exact = projections(encoder, picture.pixels)
            assert told["weights"][weights]["grids"][index] == {
                "rows": exact.rows,
                "columns": exact.columns,
            }
            for block in range(encoder.depth):
                found = pages.held(page, weights, index, block)
                error = told["parts"][f"data-{weights}-{index}-{block}"]["error"]
                assert error <= told["tolerance"]
                np.testing.assert_array_equal(found.attention(0), exact.attention(block, 0))
                for token in (1, exact.rows * exact.columns):
                    rows = exact.attention(block, token)
                    limit = error * rows.max() + 1e-6
                    assert np.abs(found.attention(token) - rows).max() <= limit


def test_a_page_tells_what_it_shows(page: pathlib.Path) -> None:
    told = pages.facts(page)
    assert [each["name"] for each in told["images"]] == ["noise.png", "tall.jpg"]
    assert {"name", "arch", "patch", "precision", "depth", "heads"} <= told["weights"][0].keys()
    assert told["version"]
    assert told["colours"] == colour_table().tobytes().hex()
    grey = backdrop(np.full((1, 1, 3), 200, np.uint8))
    assert told["shades"][200] == round(255 * float(grey[0, 0, 0]))
    text = page.read_text()
    assert "no value is off by more than 0.1 % of its map" in text
    assert "default-src 'none'" in text


def test_nothing_of_a_page_names_an_address(page: pathlib.Path) -> None:
    assert not re.findall(r"(?:src|href)=[\"']?(?!data:)\w+", page.read_text())
    assert "eval(" not in page.read_text()
    assert list(page.parent.iterdir()) == [page]


def test_names_of_files_are_text(tmp_path: pathlib.Path) -> None:
    name = '</script><img src=x onerror="alert(1)"><!-- &amp; ü'
    page = write_explorer(
        tmp_path / "page.html", [pages.picture(16, 16, name)], [networks.encoder()]
    )
    seen: list[str] = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attributes: list) -> None:
            seen.extend(key for key, _ in attributes if key.startswith("on"))
            seen.extend(tag for key, value in attributes if (key, value) == ("src", "x"))

    Reader().feed(page.read_text())
    assert not seen
    assert pages.facts(page)["images"][0]["name"] == name


def test_of_too_many_blocks_the_last_and_spaced_ones_are_kept(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder, picture = networks.encoder(DEEP), pages.picture(96, 96)
    every = write_explorer(tmp_path / "all.html", [picture], [encoder])
    one = write_explorer(tmp_path / "one.html", [picture], [encoder], blocks=(-1,))
    assert pages.facts(one)["weights"][0]["blocks"] == [4]
    each = (every.stat().st_size - one.stat().st_size) / 4
    budget = (one.stat().st_size + 2.6 * each) / 1e6
    with caplog.at_level(logging.WARNING, logger="dino_jax"):
        some = write_explorer(tmp_path / "some.html", [picture], [encoder], budget_mb=budget)
    assert pages.facts(some)["weights"][0]["blocks"] == [0, 2, 4]
    assert some.stat().st_size <= 1e6 * budget
    assert "2 blocks do not fit" in caplog.text
    assert "blocks 0, 2, 4 of 0 to 4" in caplog.text
    assert "Blocks 0, 2, 4 of 0 to 4 are in this page" in some.read_text()


def test_blocks_that_are_asked_for_are_kept_and_no_page_is_empty(tmp_path: pathlib.Path) -> None:
    encoder, picture = networks.encoder(), pages.picture(16, 16)
    path = tmp_path / "page.html"
    with pytest.raises(UserError, match=r"more than 0\.001 MB with one block"):
        write_explorer(path, [picture], [encoder], budget_mb=0.001)
    assert not path.exists()
    asked = write_explorer(path, [picture], [encoder], blocks=(0, 1), budget_mb=0.001)
    assert pages.facts(asked)["weights"][0]["blocks"] == [0, 1]


def test_pictures_that_cannot_be_shown_are_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "page.html"
    with pytest.raises(UserError, match="no image"):
        write_explorer(path, [], [networks.encoder()])
    with pytest.raises(UserError, match="is shown at 4 × 16 pixels, less than the 8"):
        write_explorer(path, [pages.picture(16, 4)], [networks.encoder()])
    with pytest.raises(UserError, match="blocks"):
        write_explorer(path, [pages.picture(16, 16)], [networks.encoder()], blocks=(7,))


def test_networks_of_other_patches_see_the_same_pixels(tmp_path: pathlib.Path) -> None:
    fine, coarse = networks.encoder(), networks.encoder(COARSE)
    picture = pages.picture(40, 72)  # whole patches of 8, as the first of the two reads it
    page = write_explorer(tmp_path / "page.html", [picture], [fine, coarse])
    cut = pages.picture(40, 72).pixels[:32, :64]
    grids = [each["grids"][0] for each in pages.facts(page)["weights"]]
    assert grids == [{"rows": 4, "columns": 8}, {"rows": 2, "columns": 4}]
    for weights, encoder in enumerate((fine, coarse)):
        exact = projections(encoder, cut)
        found = pages.held(page, weights, 0, 0)
        np.testing.assert_array_equal(found.attention(0), exact.attention(0, 0))
        np.testing.assert_allclose(found.attention(3), exact.attention(0, 3), atol=1e-3)
    source = pages.facts(page)["images"][0]["source"]
    shown = PIL.Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(shown), cut)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {}),
        ({"head": None, "mass": 0, "block": None, "point": None}, {}),
        ({"head": 1, "blend": 0.55}, {"head": 1, "blend": 55}),
        ({"mass": 0.35}, {"keep": 35, "outlined": True}),
        ({"block": -2, "smooth": False}, {"block": 0, "smooth": False}),
        ({"point": (0.25, 1.0)}, {"at": [0.25, 0.999999], "pinned": True}),
    ],
)  # fmt: skip
def test_a_page_starts_as_is_asked(
    tmp_path: pathlib.Path, asked: dict[str, object], expected: dict[str, object]
) -> None:
    picture, encoder = pages.picture(16, 16), networks.encoder()
    page = write_explorer(tmp_path / "page.html", [picture], [encoder], start=asked)
    assert pages.facts(page)["start"] == expected


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"head": 2}, "head 2: small has 2 heads"),
        ({"block": 2}, "2 blocks"),
        ({"mass": 60}, "mass 60: expected a share"),
        ({"heads": 1}, "cannot start with heads: expected head, mass"),
    ],
)
def test_a_start_that_cannot_be_is_refused(
    tmp_path: pathlib.Path, asked: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        write_explorer(
            tmp_path / "page.html", [pages.picture(16, 16)], [networks.encoder()], start=asked
        )
