"""One self-contained HTML document, and the parts that it is made of.

What is not `Html` is taken for text and escaped. Nothing of a page is fetched from anywhere: the
policy in its head forbids it, and it prints, narrows and darkens by its style alone.
"""

import base64
import functools
import html
import json
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dino_jax.viz.web import tokens
from dino_jax.viz.web.scale import number

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
"""What a page may do: show what it holds. No request leaves it."""
_UNPRINTABLE = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(text: object) -> Html:
    """Any text as HTML, also between quotes; what HTML cannot hold is shown as �."""
    if isinstance(text, Html):
        return text
    return Html(html.escape(_UNPRINTABLE.sub("\ufffd", str(text)), quote=True))


def page(title: str, body: str, *, style: str = "", script: str = "") -> str:
    """One HTML document; `body`, `style` and `script` are what they say, the title is text.

    Raises:
        ValueError: the style or the script would end its own element.
    """
    for content, element in ((style, "style"), (script, "script")):
        if f"</{element}" in content.lower() or "<!--" in content:
            raise ValueError(f"a {element} of a page cannot hold its own end: write it otherwise")
    title = escaped(title)
    head = (
        '<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n"
        f"<style>\n{tokens.style()}{_asset('page.css')}{style}</style>\n"
    )
    scripts = f"<script>\n{_asset('chart.js')}{script}</script>\n"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}</head>\n'
        f"<body>\n<main>\n<h1>{title}</h1>\n{body}\n</main>\n{scripts}</body>\n</html>\n"
    )


@functools.cache
def _asset(name: str) -> str:
    return (pathlib.Path(__file__).parent / name).read_text()


def section(title: str, body: str) -> Html:
    """A part of a page under a heading, which is text; the body is HTML."""
    return Html(f"<section>\n<h2>{escaped(title)}</h2>\n{body}\n</section>\n")


def paragraph(text: object, *, kind: str = "") -> Html:
    """A paragraph; `kind` is "", "good" or "bad" (a verdict), "note" (small) or "lead"."""
    return Html(f'<p class="{escaped(kind)}">{escaped(text)}</p>\n')


def grid(parts: Iterable[str]) -> Html:
    """Charts or figures side by side, as many as the width has room for."""
    return Html('<div class="grid">\n' + "\n".join(parts) + "\n</div>\n")


def details(summary: str, body: str) -> Html:
    """What opens when its one-line summary is asked for; it is open in print."""
    return Html(f"<details>\n<summary>{escaped(summary)}</summary>\n{body}\n</details>\n")


def facts(pairs: Mapping[str, object]) -> Html:
    """Names with short values, as tiles."""
    tiles = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{_cell(value)[1]}</dd></div>\n"
        for name, value in pairs.items()
    )
    return Html(f'<dl class="facts">\n{tiles}</dl>\n')


def code(text: str) -> Html:
    """A command line or a file, to be copied as it is."""
    return Html(f"<pre><code>{escaped(text)}</code></pre>\n")


def table(
    headers: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    label: str = "",
) -> Html:
    """A table that scrolls by itself where it is wider than the page.

    Cells are text, `Html`, numbers or None; the first of each row is its heading. Numbers are
    aligned at the right, and so is text that begins with one, and a dash alone. A reader who does
    not see it is told the `label`, else the caption, else its headings.
    """
    shown = f"<caption>{escaped(caption)}</caption>\n" if caption else ""
    heads = "".join(map(_head, headers))
    body = "".join(f"<tr>{''.join(_cells(row))}</tr>\n" for row in rows)
    label = label or caption or f"table of {', '.join(str(head) for head in headers if head)}"
    return scrolled(
        f"<table>\n{shown}<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n",
        label,
    )


def scrolled(body: str, label: str) -> Html:
    """What scrolls by itself where it is wider than the page, by keys too; `label` names it."""
    named = f'class="scroll" tabindex="0" role="region" aria-label="{escaped(label)}"'
    return Html(f"<div {named}>\n{body}</div>\n")


def _head(head: object) -> str:
    """A heading; a corner without one is no heading."""
    return f'<th scope="col">{escaped(head)}</th>' if str(head).strip() else "<td></td>"


def _cells(row: Sequence[object]) -> Iterable[str]:
    for place, cell in enumerate(row):
        kind, text = _cell(cell)
        if place == 0:
            yield f'<th scope="row">{text}</th>'
        else:
            yield f"<td{kind}>{text}</td>"


def _cell(value: object) -> tuple[str, Html]:
    """Its class and its text."""
    numeric = ' class="number"'
    if value is None:
        return numeric, Html("–")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return numeric, Html(number(value))
    text = escaped(value)
    return (numeric if re.match(r"[-+−]?\d|–$", text) else ""), text


def figure(image: bytes | str, caption: object, *, alt: str = "", pixelated: bool = False) -> Html:
    """A picture, PNG bytes or a data URI, with its caption; `alt` says what it shows.

    With `pixelated` it is enlarged without smoothing.
    """
    source = data_uri(image) if isinstance(image, bytes) else image
    kind = ' class="pixelated"' if pixelated else ""
    return Html(
        f'<figure>\n<img src="{escaped(source)}" alt="{escaped(alt or caption)}"{kind}>\n'
        f"<figcaption>{escaped(caption)}</figcaption>\n</figure>\n"
    )


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """The bytes as an address that holds them; `kind` is their media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def data_block(name: str, value: Any) -> Html:
    """JSON in a page, for its script: `JSON.parse(document.getElementById(name).textContent)`."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return Html(f'<script type="application/json" id="{escaped(name)}">{text}</script>\n')
