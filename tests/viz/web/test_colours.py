"""Every colour is legible on both backgrounds in both themes, by WCAG 2.2's contrast."""

import re

import pytest

from dino_jax.viz.web.page import page
from dino_jax.viz.web.tokens import DARK, LIGHT, LINES


def themes() -> list[dict[str, str]]:
    """The colours that a page's style gives, as a browser reads them."""
    style = page("title", "").split("<style>")[1]
    roots = re.findall(r":root\{([^}]*)\}", style)[:2]
    return [dict(re.findall(r"--([\w-]+):(#[0-9a-f]{6})", root)) for root in roots]


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_measure_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


def test_a_page_has_the_colours_of_both_themes() -> None:
    assert themes() == [dict(LIGHT), dict(DARK)]
    assert list(LIGHT) == list(DARK)
    assert [f"line-{number}" in LIGHT for number in range(LINES + 1)] == [True] * LINES + [False]


@pytest.mark.parametrize("theme", themes(), ids=["light", "dark"])
def test_text_and_lines_stand_out(theme: dict[str, str]) -> None:
    for behind in ("page", "surface"):
        for name in ("text", "muted", "link", "good", "bad"):
            assert contrast(theme[name], theme[behind]) >= 4.5, (name, behind)
        for name, colour in theme.items():
            if name.startswith("line-"):
                assert contrast(colour, theme[behind]) >= 3, (name, behind)


def test_a_page_uses_no_colour_beside_them() -> None:
    """But for what stands in the two lists, so that no part of a page escapes a theme."""
    style = page("title", "").split("<style>")[1].split("</style>")[0]
    rest = re.sub(r":root\{[^}]*\}", "", style)
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b|rgb|hsl", rest)
    assert set(re.findall(r"var\(--([\w-]+)\)", rest)) <= set(LIGHT)
