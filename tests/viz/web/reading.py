"""A page and a chart taken apart, for the tests."""

import html.parser
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

VOID = {"meta", "img", "br", "hr", "input", "link"}
SVG = "{http://www.w3.org/2000/svg}"


class Page(html.parser.HTMLParser):
    """Elements in order, and the text of each kind; raises where they are not nested."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.texts.setdefault(self._open[-1], []).append(data)

    def of(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.elements if name == tag]


def tree(figure: str) -> ET.Element:
    """A chart as XML, in which every attribute and element is whole."""
    return ET.fromstring(figure)


def points(figure: str) -> list[list[tuple[float, float]]]:
    """The places of every curve in a chart, its pieces joined."""
    plot = tree(figure).find(f"{SVG}svg")
    assert plot is not None
    curves = []
    for path in plot.iter(f"{SVG}path"):
        if "curve" in path.attrib["class"]:
            pieces = path.attrib["d"].replace("M", "L").lstrip("L").split("L")
            curves.append([(float(x), float(y)) for x, y in map(str.split, pieces)])
    return curves


def places(figure: str) -> Iterator[tuple[float, float]]:
    """Where anything of a plot lies."""
    plot = tree(figure).find(f"{SVG}svg")
    assert plot is not None
    for element in plot.iter():
        given = element.attrib
        if element.tag in (f"{SVG}line", f"{SVG}text"):
            for x, y in (("x", "y"), ("x1", "y1"), ("x2", "y2")):
                if x in given:
                    yield float(given[x]), float(given[y])
        if element.tag == f"{SVG}g":
            x, y = given["transform"].removeprefix("translate(").rstrip(")").split()
            yield float(x), float(y)
    for curve in points(figure):
        yield from curve
