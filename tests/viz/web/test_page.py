"""Pages: well-formed, escaped, of one file, and forbidden to ask for anything."""

import json
import re

import pytest

from dino_jax.viz.web.chart import Line, chart
from dino_jax.viz.web.page import (
    POLICY,
    Html,
    code,
    data_block,
    data_uri,
    details,
    escaped,
    facts,
    figure,
    grid,
    page,
    paragraph,
    section,
    table,
)
from tests.viz.web.reading import Page

NASTY = "<script>alert(1)</script>&\"'\0\udcff"
SHOWN = NASTY.replace("\0", "\ufffd").replace("\udcff", "\ufffd")
PIXEL = bytes.fromhex("89504e470d0a1a0a")


def everything(text: str) -> str:
    """A page of every part, each with that text."""
    lines = [Line(text, [0, 1, 2], [1.0, 2.0, 3.0])]
    parts = [
        paragraph(text), paragraph(text, kind="good"), facts({text: text, "n": 3}), code(text),
        grid([chart(lines, x=text, y=text, title=text)]), figure(PIXEL, text, alt=text),
        table([text, "b"], [[text, text], ["x", 1.5], ["y", None]], caption=text),
        details(text, "body"), section(text, "body"), data_block("data", {text: [text]}),
    ]  # fmt: skip
    return page(text, "".join(parts))


def test_a_page_is_nested_and_says_what_it_is() -> None:
    read = Page(everything("name"))
    assert read.elements[0][0] == "html"
    assert read.of("html")[0]["lang"] == "en"
    assert read.texts["title"][0] == "name" == read.texts["h1"][0]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in read.of("meta")
    assert [tag for tag, _ in read.elements].count("main") == 1


def test_the_policy_comes_first_and_lets_nothing_out() -> None:
    metas = Page(everything("name")).of("meta")
    assert metas[1] == {"http-equiv": "Content-Security-Policy", "content": POLICY}
    assert POLICY.startswith("default-src 'none'; ")
    assert "http" not in POLICY
    # what default-src does not cover
    assert POLICY.endswith("base-uri 'none'; form-action 'none'")


def test_no_address_is_in_a_page_but_the_name_of_svg() -> None:
    text = everything("name")
    addresses = set(re.findall(r"\w+://[^\"' ]*", text))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(|fetch\(|XMLHttp|<link|<iframe", text)
    for name, attributes in Page(text).elements:
        for key in ("src", "href", "srcset", "action", "data"):
            assert attributes.get(key, "data:").startswith("data:"), (name, key)


def test_text_from_users_stays_text() -> None:
    text = everything(NASTY)
    text.encode()
    read, plain = Page(text), Page(everything("name"))
    assert [tag for tag, _ in read.elements] == [tag for tag, _ in plain.elements]
    for kind in ("title", "h1", "h2", "p", "dt", "dd", "code", "th", "td", "caption", "summary"):
        assert SHOWN in "".join(read.texts[kind]), kind
    assert read.of("img")[0]["alt"] == SHOWN


def test_data_in_a_page_come_back() -> None:
    value = {"<!--</script>": [1.5, None, "\u2028<"]}
    block = data_block("data", value)
    assert block.count("<") == 2
    assert json.loads("".join(Page(block).texts["script"])) == value
    with pytest.raises(ValueError, match="JSON"):
        data_block("data", float("nan"))


@pytest.mark.parametrize("content", ["</script>", "</STYLE >", "<!--"])
def test_a_script_or_a_style_cannot_end_itself(content: str) -> None:
    with pytest.raises(ValueError, match="its own end"):
        page("title", "", script=content, style=content)


def test_style_and_script_are_added() -> None:
    text = page("title", "", style=".own{color:red}", script="start();")
    read = Page(text)
    assert ".own{color:red}" in "".join(read.texts["style"])
    assert "".join(read.texts["script"]).rstrip().endswith("start();")


def test_cells_are_what_they_are() -> None:
    text = table(
        ["", "a", "b"],
        [["row", 1234.5, Html("<b>x</b>")], ["n", None, "+1.2 [0, 2]"], ["-1", 3, ""]],
    )
    assert '<td class="number">1,234</td><td><b>x</b></td>' in text or "1,235" in text
    assert '<td class="number">–</td><td class="number">+1.2 [0, 2]</td>' in text
    assert '<th scope="row">-1</th>' in text


def test_pictures_are_within() -> None:
    assert data_uri(PIXEL) == "data:image/png;base64,iVBORw0KGgo="
    assert 'src="data:image/png;base64,iVBORw0KGgo="' in figure(PIXEL, "caption")
    assert escaped(Html("<b>")) == "<b>"
    assert escaped("<b>") == "&lt;b&gt;"


def test_what_scrolls_is_named_and_a_corner_is_no_heading() -> None:
    for made, label in (
        (table(["a", "b"], [], caption="c<"), "c<"),
        (table(["a", "b"], [], caption="c", label="d"), "d"),
        (table(["", "b", "c"], []), "table of b, c"),
    ):
        (scrolling,) = (each for each in Page(made).of("div") if each.get("class") == "scroll")
        assert scrolling == {
            "class": "scroll", "tabindex": "0", "role": "region", "aria-label": label,
        }  # fmt: skip
    assert Page(table(["", "b"], [])).texts["th"] == ["b"]
    assert len(Page(table(["", "b"], [])).of("td")) == 1
