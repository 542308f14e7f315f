"""The training report in a browser: charts, pictures, dark, narrow; no error and no request."""

import math
from collections.abc import Iterator

import pytest

from dino_jax.viz.report.write import write_report
from tests.viz.report.records import HEALTHY, SCORED, call, line, write_pictures, write_run

pytestmark = pytest.mark.browser
HOSTILE = '"><script>document.title="taken"</script><img src=x onerror="document.title=1">'
DARK, LIGHT = "rgb(20, 23, 26)", "rgb(255, 255, 255)"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run with everything, whose classes and files have odd names."""
    lines = [
        line(step, loss=3 + math.sin(step), **(SCORED if step % 100 == 0 else {}))
        for step in range(10, 801, 10)
    ]
    summary = {"step": 800, "steps": 800, "seconds": 90.0, **HEALTHY, "pixels_knn_top1": 46.0}
    summary["unreadable_images"] = [HOSTILE]
    folder = tmp_path_factory.mktemp("report") / "a run"
    run = write_run(folder, line(0), *lines, summary=summary, calls=[call(command="x" * 300)])
    write_pictures(run, *range(0, 801, 100), label=HOSTILE)
    (run / "table.md").write_text("| | k-NN |\n| --- | ---: |\n| HOG | 20.3 |\n")
    return write_report(run).as_uri()


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def opened(page, address: str, request: pytest.FixtureRequest) -> Iterator:
    """The page at a width and in a scheme."""
    width, scheme = request.param
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)
    page.goto(address)
    page.scheme, page.wide = scheme, width
    return page


def test_all_is_shown_and_nothing_sticks_out(opened) -> None:
    assert opened.locator("svg.plot").count() == 13
    assert opened.locator(".time tbody tr").count() == 2
    assert opened.locator(".time tbody tr").first.locator("img").count() == 1 + 8
    assert opened.locator(".seen").count() == 2
    loaded = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
    assert opened.evaluate(loaded)
    assert opened.evaluate("document.documentElement.scrollWidth") <= opened.wide
    for box in (each.bounding_box() for each in opened.locator("svg.plot").all()):
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= opened.wide
    assert opened.title() == "Training report: a run"
    assert opened.get_by_text("Healthy: no collapse seen").is_visible()
    background = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == (DARK if opened.scheme == "dark" else LIGHT)


def test_values_are_shown_under_the_pointer(page, address: str) -> None:
    page.goto(address)
    loss = page.locator("figure.chart").filter(has_text="Loss").first
    before = loss.locator(".legend").inner_text()
    loss.locator("svg.plot").hover(position={"x": 100, "y": 60})
    assert loss.locator(".legend").inner_text() != before


def test_all_fields_open_by_the_keyboard(page, address: str) -> None:
    page.goto(address)
    summary = page.locator("summary").filter(has_text="fields")
    field = page.get_by_role("rowheader", name="crops.global_size")
    assert not field.is_visible()
    summary.focus()
    page.keyboard.press("Enter")
    assert field.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_it_is_read_without_a_script(browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("svg.plot").count() == 13
    loss = page.locator("figure.chart").filter(has_text="Loss").first
    assert loss.locator(".curve").first.is_visible()
    context.close()
