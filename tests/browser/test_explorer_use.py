"""The explorer's manners: its keys, other patch sizes, first states, small screens, saved files."""

import pathlib

import numpy as np
import pytest

from dino_jax.config import ModelConfig
from dino_jax.viz.explorer.write import write_explorer
from dino_jax.viz.notebook import frame
from tests.evals.embed import networks
from tests.viz.explorer import pages

pytestmark = pytest.mark.browser

COARSE = ModelConfig(arch="vit_tiny", patch_size=16, width=8, depth=1, heads=2)
NAME = "a photograph with a name that is rather long, as those of cameras and papers are.png"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """40 x 72 pixels by patches of 8 and of 16: 4 x 8 and 2 x 4 patches of 32 x 64."""
    encoders = [networks.encoder(networks.SHALLOW), networks.encoder(COARSE)]
    pictures = [pages.picture(40, 72, NAME), pages.picture(40, 72, "b.png", seed=1)]
    asked = {"head": 1, "mass": 0.4, "blend": 0.5, "smooth": False, "point": (0.99, 0.3)}
    folder = tmp_path_factory.mktemp("page")
    return write_explorer(folder / "page.html", pictures, encoders, start=asked)


@pytest.fixture
def opened(page, path: pathlib.Path):
    page.goto(path.as_uri())
    page.evaluate("explorer.ready()")
    return page


def tokens(page) -> list[int]:
    return [side["token"] for side in page.evaluate("explorer.values()")]


def test_it_starts_as_was_asked_and_an_address_says_otherwise(opened, path) -> None:
    state = opened.evaluate("explorer.state()")
    wanted = {"head": 1, "keep": 40, "outlined": True, "blend": 50, "smooth": False}
    assert state.items() >= {**wanted, "at": [0.99, 0.3], "pinned": True}.items()
    assert tokens(opened) == [1 + 8 + 7, 1 + 3]
    opened.goto("about:blank")
    opened.goto(f"{path.as_uri()}#head=mean&outlined=0&at=cls")
    opened.evaluate("explorer.ready()")
    state = opened.evaluate("explorer.state()")
    assert (state["head"], state["outlined"], state["at"]) == ("mean", False, None)


def test_it_says_where_attention_is_nearly_even(opened) -> None:
    opened.keyboard.press("Escape")
    said = []
    for head in ("mean", "0", "1"):
        opened.locator("#head").select_option(head)
        opened.evaluate("explorer.ready()")
        told = opened.locator(".reading").all_inner_texts()
        for text, side in zip(told, opened.evaluate("explorer.values()"), strict=True):
            shown = side["mean"] if head == "mean" else side["heads"][int(head)][1:]
            said.append(max(shown) * len(shown) < 1.5)
            assert ("Nearly even" in text) == said[-1]
    assert any(said)


def test_patches_of_other_sizes_are_found_by_their_place(opened) -> None:
    opened.keyboard.press("Escape")
    for side, (rows, columns) in enumerate([(4, 8), (2, 4)]):
        large = opened.locator(".large").nth(side)
        for row in range(rows):
            for column in (0, columns - 1):
                box = large.bounding_box()
                x = box["x"] + box["width"] * (column + 0.4) / columns
                opened.mouse.move(x, box["y"] + box["height"] * (row + 0.4) / rows)
                opened.wait_for_timeout(60)
                fine = [row, column] if side == 0 else [2 * row, 2 * column]
                coarse = [place // 2 for place in fine]
                expected = [1 + 8 * fine[0] + fine[1], 1 + 4 * coarse[0] + coarse[1]]
                assert tokens(opened) == expected
    assert "row 3" not in opened.locator("#asking").inner_text()
    assert "and, of the second, patch row 1, column 3" in opened.locator("#asking").inner_text()
    large.focus()  # arrows step in the patches of the picture that has the focus
    opened.keyboard.press("ArrowUp")
    assert tokens(opened) == [1 + 6, 1 + 3]


def test_arrows_scroll_the_page_unless_a_picture_has_the_focus(opened) -> None:
    opened.set_viewport_size({"width": 900, "height": 300})
    before = tokens(opened)
    opened.keyboard.press("ArrowDown")
    opened.wait_for_timeout(300)
    assert tokens(opened) == before
    assert opened.evaluate("scrollY") > 0
    opened.locator(".tile canvas").first.click(position={"x": 2, "y": 2})
    opened.wait_for_timeout(60)
    scrolled = opened.evaluate("scrollY")
    opened.keyboard.press("ArrowRight")
    assert tokens(opened)[0] == 2
    assert opened.evaluate("scrollY") == scrolled


def test_single_letters_can_be_turned_off(opened) -> None:
    opened.locator("#keep").focus()
    opened.keyboard.press("s")  # a form control has its own keys
    assert not opened.evaluate("explorer.state().smooth")
    opened.locator("h1").click()
    opened.keyboard.press("s")
    assert opened.evaluate("explorer.state().smooth")
    opened.uncheck("#letters")
    opened.locator("h1").click()
    before = opened.evaluate("explorer.state()")
    for key in ("s", "0", "-", "c", "n"):
        opened.keyboard.press(key)
    assert opened.evaluate("explorer.state()") == before
    opened.keyboard.press("Escape")
    assert not opened.evaluate("explorer.state().pinned")


@pytest.mark.parametrize("width", [360, 390])
def test_on_a_phone_the_picture_comes_first(browser, path, width) -> None:
    context = browser.new_context(viewport={"width": width, "height": 780}, has_touch=True)
    page = context.new_page()
    try:
        page.goto(path.as_uri())
        page.evaluate("explorer.ready()")
        bar = page.locator("#controls").bounding_box()
        assert bar["height"] < 90
        tops = {page.locator(name).bounding_box()["y"] for name in ("#image", "#block", "#head")}
        assert len(tops) == 1
        assert page.locator("#keep").is_hidden()
        page.tap("#more")
        assert page.locator("#more").get_attribute("aria-expanded") == "true"
        assert page.locator("#keep").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    finally:
        context.close()


def test_a_saved_picture_says_what_it_shows(opened) -> None:
    opened.evaluate(
        "() => { window.told = []; const write = CanvasRenderingContext2D.prototype.fillText;"
        " CanvasRenderingContext2D.prototype.fillText = function (text, ...where) {"
        " told.push([text, this.measureText(text).width, this.canvas.width]);"
        " return write.call(this, text, ...where); }; }"
    )
    with opened.expect_download():
        opened.click("#save")
    lines = opened.evaluate("told")
    text = " ".join(line.strip() for line, _, _ in lines)
    for said in ("small, block 0, head 1", NAME, "from patch row 1, column 7", "from patch row 0"):
        assert said in text
    assert text.count("outline: 40 % of the attention") == 2
    assert all(wide <= whole for _, wide, whole in lines)


def test_within_another_page_there_is_no_link_to_copy(page, path, tmp_path: pathlib.Path) -> None:
    cell = tmp_path / "cell.html"
    assert "replaceState = " not in frame(path)
    cell.write_text(f"<!doctype html><meta charset=utf-8>{frame(path)}", encoding="utf-8")
    page.goto(cell.as_uri())
    [inside] = page.frames[1:]
    inside.wait_for_selector("#link", state="hidden")
    assert inside.locator("#save").is_visible()


def test_the_colours_are_full_at_the_percentile(opened) -> None:
    """Against numpy, of few and many values, with ties."""
    random = np.random.default_rng(0)
    for count in (1, 2, 150, 201, 7000):
        for values in (random.exponential(size=count), np.ones(count), np.arange(1.0, count + 1)):
            shares = values.astype(np.float32) / values.astype(np.float32).mean(dtype=float)
            found = opened.evaluate("v => fullOf([Float32Array.from(v)], 0)", values.tolist())
            assert found == pytest.approx(np.percentile(shares, 99.5), rel=1e-5)
