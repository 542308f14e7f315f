"""The explorer in a browser: what it shows is what the library computes, however it is asked."""

import base64
import dataclasses
import io
import pathlib

import numpy as np
import PIL.Image
import pytest

from dino_jax.config import ModelConfig
from dino_jax.interop.encoder import Encoder
from dino_jax.ops.attention_mask import mass_masks
from dino_jax.viz.attend.colour import overlay, scale_of
from dino_jax.viz.attend.maps import Projections, projections
from dino_jax.viz.explorer.write import write_explorer
from tests.evals.embed import networks
from tests.viz.explorer import pages

pytestmark = pytest.mark.browser

HEIGHT, WIDTH, PATCH = 48, 64, 8
ROWS, COLUMNS = HEIGHT // PATCH, WIDTH // PATCH
NAMES = ("blobs.png", "</script> & odd.png")
DEEP = ModelConfig(arch="vit_tiny", patch_size=PATCH, width=24, depth=3, heads=3)


def sharper(encoder: Encoder, name: str) -> Encoder:
    """Attention that looks at something, as a trained network's does."""
    params = {
        key: value * 12 if key.endswith("attn.qkv.weight") else value
        for key, value in encoder.params.items()
    }
    return dataclasses.replace(encoder, params=params, name=name)


@pytest.fixture(scope="module")
def encoders() -> list[Encoder]:
    return [
        sharper(networks.encoder(DEEP), "deep"),
        sharper(networks.encoder(networks.SHALLOW), "shallow"),
    ]


@pytest.fixture(scope="module")
def exact(encoders: list[Encoder]) -> dict[tuple[int, int], Projections]:
    """What the library says, by weights and image."""
    return {
        (weights, image): projections(encoder, pages.picture(HEIGHT, WIDTH, seed=image).pixels)
        for weights, encoder in enumerate(encoders)
        for image in range(2)
    }


@pytest.fixture(scope="module")
def path(encoders: list[Encoder], tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    pictures = [pages.picture(HEIGHT, WIDTH, name, seed=seed) for seed, name in enumerate(NAMES)]
    return write_explorer(tmp_path_factory.mktemp("page") / "page.html", pictures, encoders)


@pytest.fixture
def opened(page, path: pathlib.Path):
    """The page, all shown."""
    page.goto(path.as_uri())
    ready(page)
    return page


def ready(page) -> None:
    page.evaluate("explorer.ready()")


def state(page) -> dict:
    return page.evaluate("explorer.state()")


def middle(page, row: int, column: int) -> tuple[float, float]:
    """Where a patch of the large picture is on the screen."""
    box = page.locator(".large").first.bounding_box()
    return (
        box["x"] + box["width"] * (column + 0.5) / COLUMNS,
        box["y"] + box["height"] * (row + 0.5) / ROWS,
    )


def pixels(page, which: str = ".large") -> np.ndarray:
    """What is drawn in the first canvas of that kind."""
    source = page.evaluate("which => document.querySelector(which).toDataURL()", which)
    content = base64.b64decode(source.partition(",")[2])
    return np.asarray(PIL.Image.open(io.BytesIO(content)).convert("RGB"))


def until(page, expression: str) -> None:
    """Wait for something to be so; the page's policy forbids playwright's own way, by eval."""
    for _ in range(250):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"never came: {expression}")


def check_values(page, exact: dict, path: pathlib.Path) -> list[dict]:
    """All numbers shown against the library's: CLS exactly, patches to the stated error."""
    shown = page.evaluate("explorer.values()")
    image = state(page)["image"]
    for side in shown:
        weights = ("deep", "shallow").index(side["weights"])
        library = exact[weights, image].attention(side["block"], side["token"])
        found = np.array(side["heads"], np.float32)
        part = pages.facts(path)["parts"][f"data-{weights}-{image}-{side['block']}"]
        error = part["error"] if side["token"] else 0.0
        limits = error * library.max(axis=1) + 1e-6 * bool(side["token"])
        assert (np.abs(found - library).max(axis=1) <= limits).all()
        mean = found[:, 1:].mean(axis=0, dtype=np.float64)
        np.testing.assert_allclose(side["mean"], mean, rtol=1e-6)
        assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)
        keep = state(page)["keep"] / 100
        for maps, mask in zip([side["mean"], *found[:, 1:]], side["masks"], strict=True):
            decided = None if mask is None else np.array(mask, bool)
            if decided is not None:
                np.testing.assert_array_equal(decided, mass_masks(np.float32(maps), keep))
    return shown


def test_it_opens_with_what_cls_attends_to_in_the_last_block(opened, exact, path) -> None:
    first, second = check_values(opened, exact, path)
    assert (first["block"], first["token"]) == (2, 0)
    assert (second["block"], second["token"]) == (0, 0)
    assert opened.locator("#failure").is_hidden()
    assert "blobs.png" in opened.title()
    assert opened.locator(".side").count() == 2
    assert opened.locator(".tile").count() == 4 + 3
    assert opened.locator("#image option").all_inner_texts() == list(NAMES)


def test_a_patch_answers_to_the_pointer(opened, exact, path) -> None:
    before = pixels(opened)
    opened.mouse.move(*middle(opened, 1, 2))
    until(opened, "explorer.values()[0].token === 11")
    check_values(opened, exact, path)
    assert (pixels(opened) != before).any()
    assert "row 1, column 2" in opened.locator("#asking").inner_text()
    after = pixels(opened)
    opened.mouse.move(*middle(opened, ROWS - 1, COLUMNS - 1))
    until(opened, f"explorer.values()[0].token === {ROWS * COLUMNS}")
    check_values(opened, exact, path)
    assert (pixels(opened) != after).any()


def test_every_patch_of_every_block_is_right(opened, exact, path) -> None:
    for block in (0, 1, 2):
        opened.select_option("#block", str(block))
        ready(opened)
        for row in range(ROWS):
            opened.evaluate("([x, y]) => change({at: [x, y]})", [0.4, (row + 0.5) / ROWS])
            first, second = check_values(opened, exact, path)
            assert first["token"] == second["token"] == 1 + row * COLUMNS + 3
            assert first["block"] == block


def test_a_click_pins_a_patch_and_another_frees_it(opened) -> None:
    opened.mouse.click(*middle(opened, 2, 3))
    assert state(opened)["pinned"]
    opened.mouse.move(*middle(opened, 4, 4))
    opened.wait_for_timeout(60)
    assert opened.evaluate("explorer.values()[0].token") == 1 + 2 * COLUMNS + 3
    assert "pinned" in opened.locator("#asking").inner_text()
    opened.mouse.click(*middle(opened, 2, 3))
    assert not state(opened)["pinned"]


def test_heads_are_chosen_by_their_tile_the_form_or_a_digit(opened) -> None:
    tiles = opened.locator(".side").first.locator(".tile button")
    drawn = []
    for choose in (
        lambda: tiles.nth(1).click(),
        lambda: opened.select_option("#head", "1"),
        lambda: opened.keyboard.press("2"),
        lambda: opened.keyboard.press("m"),
    ):
        choose()
        if not drawn:
            opened.locator("h1").click()
        chosen = state(opened)["head"]
        place = 0 if chosen == "mean" else chosen + 1
        assert [tiles.nth(i).get_attribute("aria-pressed") for i in range(4)] == [
            "true" if i == place else "false" for i in range(4)
        ]
        assert opened.locator("#head").input_value() == str(chosen)
        drawn.append((chosen, pixels(opened)))
        opened.evaluate("document.activeElement.blur()")
    assert [chosen for chosen, _ in drawn] == [0, 1, 2, "mean"]
    assert len({picture.tobytes() for _, picture in drawn}) == 4


def test_outlines_hold_what_the_library_keeps(opened, exact, path) -> None:
    plain = pixels(opened)
    opened.keyboard.press("t")
    for keep in (1, 37, 60, 95, 100):
        opened.evaluate(
            "keep => { const slider = document.getElementById('keep'); slider.value = keep;"
            " slider.dispatchEvent(new Event('input')); }",
            keep,
        )
        shown = check_values(opened, exact, path)
        assert all(mask is not None for mask in shown[0]["masks"])
        assert state(opened)["keep"] == keep
        assert f"hold {keep}\N{NO-BREAK SPACE}%" in opened.locator(".reading").first.inner_text()
    assert (pixels(opened) != plain).any()
    opened.keyboard.press("-")
    assert state(opened)["keep"] == 95
    opened.keyboard.press("t")
    assert check_values(opened, exact, path)[0]["masks"][0] is None


def test_masks_decide_ties_and_odd_values_as_the_library_does(opened) -> None:
    random = np.random.default_rng(0)
    maps = [
        np.repeat(np.float32(1 / 12), 12),
        np.float32([0.1, 0.3, 0.1, 0.3, 0.1, 0.1]),
        np.zeros(5, np.float32),
        np.float32([1e-30, 0, 1e-30, 1]),
        random.integers(0, 4, 300).astype(np.float32),
        random.exponential(size=3600).astype(np.float32),
    ]
    for values in maps:
        for fraction in (1e-9, 0.05, 0.3, 0.5, 0.6, 0.999, 1):
            found = opened.evaluate(
                "([values, fraction]) => Array.from(massMask(Float32Array.from(values), fraction))",
                [values.tolist(), fraction],
            )
            np.testing.assert_array_equal(np.array(found, bool), mass_masks(values, fraction))


def test_the_keyboard_does_all(opened, exact, path) -> None:
    keys = opened.keyboard
    opened.locator(".large").first.focus()
    keys.press("ArrowRight")
    row, column = ROWS // 2, COLUMNS // 2
    for key, (down, right) in {
        "ArrowRight": (0, 1), "ArrowDown": (1, 0), "ArrowLeft": (0, -1), "ArrowUp": (-1, 0),
        "Shift+ArrowLeft": (0, -5), "Shift+ArrowUp": (-5, 0),
    }.items():  # fmt: skip
        keys.press(key)
        row = min(max(row + down, 0), ROWS - 1)
        column = min(max(column + right, 0), COLUMNS - 1)
        assert check_values(opened, exact, path)[0]["token"] == 1 + row * COLUMNS + column
    keys.press("[")
    ready(opened)
    assert check_values(opened, exact, path)[0]["block"] == 1
    keys.press("]")
    keys.press("]")
    ready(opened)
    assert state(opened)["block"] == 2
    keys.press("c")
    assert check_values(opened, exact, path)[0]["token"] == 0
    keys.press("s")
    keys.press("o")
    assert not state(opened)["smooth"]
    assert state(opened)["blend"] == 0
    keys.press("n")
    ready(opened)
    assert state(opened)["image"] == 1
    check_values(opened, exact, path)


def test_what_is_shown_is_told(opened) -> None:
    opened.locator(".large").first.focus()
    opened.keyboard.press("ArrowUp")
    until(
        opened, "document.getElementById('live').textContent.includes('From patch row 3, column 4')"
    )
    said = opened.locator("#live").text_content()
    values = opened.evaluate("explorer.values()[0]")
    place = int(np.argmax(values["mean"]))
    assert f"row {place // COLUMNS}, column {place % COLUMNS}" in said
    assert max(values["mean"]) * len(values["mean"]) > 1.5
    assert "Nearly even" not in opened.locator(".reading").first.inner_text()
    assert "mean of heads" in opened.locator(".large").first.get_attribute("aria-label")
    outline = "getComputedStyle(document.querySelector('.large')).outlineStyle"
    assert opened.evaluate(outline) == "solid"
    for named in ("#block", "#head", "#keep", "#blend", "#outlined", "#left", "#right", "#image"):
        assert opened.evaluate(
            "name => { const field = document.querySelector(name);"
            " return Boolean(field.getAttribute('aria-label') || field.labels.length); }",
            named,
        )


def test_the_address_holds_the_state(opened, path, page) -> None:
    opened.mouse.click(*middle(opened, 1, 1))
    opened.keyboard.press("t")
    opened.keyboard.press("1")
    opened.keyboard.press("[")
    opened.select_option("#right", "-1")
    ready(opened)
    until(opened, "location.hash.includes('right=-1') && location.hash.includes('block=1')")
    kept, address = state(opened), opened.evaluate("location.hash")
    drawn = pixels(opened)
    opened.goto("about:blank")
    opened.goto(f"{path.as_uri()}{address}")
    ready(opened)
    np.testing.assert_allclose(state(opened).pop("at"), kept.pop("at"), atol=1e-5)
    assert {name: value for name, value in state(opened).items() if name != "at"} == kept
    np.testing.assert_array_equal(pixels(opened), drawn)


@pytest.mark.parametrize(
    "address", ["#block=77&head=9&at=7,x&left=9&image=-1&keep=0", "#%", "#at="]
)
def test_an_address_without_sense_is_left_alone(page, path, address) -> None:
    page.goto(path.as_uri() + address)
    ready(page)
    assert state(page)["block"] == 2
    assert state(page)["head"] == "mean"
    assert page.locator("#failure").is_hidden()


def test_colours_are_those_of_the_figures(opened, exact) -> None:
    """Nearest, one scale: pixel by pixel what `viz.attend.colour.overlay` makes of the maps."""
    opened.select_option("#right", "-1")
    ready(opened)
    opened.keyboard.press("s")
    every = exact[0, 0].attention(2, 0)[:, 1:].reshape(-1, ROWS, COLUMNS)
    mean = every.mean(axis=0)
    image = pages.picture(HEIGHT, WIDTH, seed=0).image
    wanted = overlay(image, mean, scale=scale_of([mean, *every]))
    drawn = pixels(opened)
    scale = drawn.shape[0] / HEIGHT
    y = ((np.arange(ROWS) * PATCH + PATCH // 2) * scale).astype(int)
    x = ((np.arange(COLUMNS) * PATCH + PATCH // 2) * scale).astype(int)
    middles = drawn[y][:, x].astype(int)
    expected = wanted[PATCH // 2 :: PATCH, PATCH // 2 :: PATCH].astype(int)
    assert np.abs(middles - expected).max() <= 4
    assert expected.std() > 10


@pytest.mark.parametrize("width", [360, 768])
def test_narrow_screens_scroll_in_one_direction_and_answer_to_taps(browser, path, width) -> None:
    context = browser.new_context(viewport={"width": width, "height": 740}, has_touch=True)
    page = context.new_page()
    try:
        page.goto(path.as_uri())
        ready(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("details summary").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator(".large").first.scroll_into_view_if_needed()
        page.touchscreen.tap(*middle(page, 3, 5))
        until(page, f"explorer.values()[0].token === {1 + 3 * COLUMNS + 5}")
    finally:
        context.close()


def test_a_picture_can_be_saved(opened) -> None:
    with opened.expect_download() as download:
        opened.click("#save")
    content = pathlib.Path(download.value.path()).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert download.value.suggested_filename.endswith(".png")
