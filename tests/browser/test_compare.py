"""The page that compares runs, in a real browser: narrow, dark, and under the pointer."""

import pathlib

import pytest

from dino_jax.viz.compare.runs import open_runs
from dino_jax.viz.compare.write import write_comparison
from tests.viz.compare.folders import write_attention, write_run

pytestmark = pytest.mark.browser


@pytest.fixture
def address(tmp_path: pathlib.Path) -> str:
    folders = [
        write_run(tmp_path / "first"),
        write_run(
            tmp_path / "a_run_with_quite_a_long_name_of_its_own", seed=1, offset=1.0, done=50
        ),
    ]
    for folder in folders:
        write_attention(folder)
    return write_comparison(tmp_path / "c.html", open_runs(folders), axis="step").as_uri()


def texts(page, kind: str) -> list[str]:
    """Of the chart of the loss."""
    return page.locator("figure.chart").first.locator(kind).all_text_contents()


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_it_fits_and_is_legible(page, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = page.evaluate("""[...document.querySelectorAll("svg.plot")].map((plot) => {
        const shown = plot.getBoundingClientRect().width / plot.viewBox.baseVal.width;
        return parseFloat(getComputedStyle(plot.querySelector("text")).fontSize) * shown;
    })""")
    assert len(sizes) >= 10
    assert min(sizes) >= 11
    assert max(sizes) <= 17
    inside = page.evaluate("""[...document.querySelectorAll("svg.plot text")].every((text) => {
        const own = text.getBoundingClientRect();
        const plot = text.closest("svg").getBoundingClientRect();
        return own.left >= plot.left - 1 && own.right <= plot.right + 1;
    })""")
    assert inside


def test_the_pointer_shows_the_values_of_all_runs(page, address: str) -> None:
    page.goto(address)
    assert texts(page, ".value") == ["3", "5"]
    assert texts(page, ".where") == ["last values"]
    plot = page.locator("figure.chart svg.plot").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    place = page.evaluate("""() => {
        const chart = document.querySelector("figure.chart[data-lines]");
        const [left, right, low, high] = JSON.parse(chart.dataset.axis);
        return (left + (right - left) * (26 - low) / (high - low)) / 400;
    }""")
    page.mouse.move(box["x"] + box["width"] * place, box["y"] + box["height"] / 2)
    assert texts(page, ".where") == ["step 25"]
    assert texts(page, ".value") == ["4.5", "5.5"]
    assert plot.locator(".cursor").count() == 1
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    assert texts(page, ".where") == ["step 100"]
    assert texts(page, ".value") == ["3", "–"], "the second run has not come so far"
    page.mouse.move(0, 0)
    assert texts(page, ".value") == ["3", "5"]
    assert plot.locator(".cursor").count() == 0


def test_it_follows_the_theme(page, address: str) -> None:
    seen = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.goto(address)
        seen.append(
            page.evaluate("""[document.body, document.querySelector(".plot text"),
                document.querySelector("path.curve")].map((each) => {
                    const { backgroundColor, fill, stroke } = getComputedStyle(each);
                    return [backgroundColor, fill, stroke].join(" ");
                })""")
        )
    assert all(light != dark for light, dark in zip(*seen, strict=True))


def test_without_a_script_it_says_the_same(browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(address)
    assert texts(opened, ".value") == ["3", "5"]
    assert opened.locator("svg.plot path.curve").count() > 20
    context.close()
