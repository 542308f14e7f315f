"""The pictures of a report: the first batch, attention as training goes on, neighbours."""

import io
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dino_jax.config import Config
from dino_jax.viz.attend.colour import overlay
from dino_jax.viz.attend.picture import shown
from dino_jax.viz.report import snapshots
from dino_jax.viz.report.first_batch import Seen, read_sheet
from dino_jax.viz.report.snapshots import ATTENTION, NEIGHBOURS, Fixed, Near
from dino_jax.viz.web.page import Html, data_uri, details, escaped, paragraph, scrolled, section

BATCH = "batch.png"
_SIDE = 128  # pixels, at most, of a picture in the page

STYLE = """
.seen{display:flex;flex-wrap:wrap;gap:.3rem;align-items:flex-start;margin:0 0 .6rem}
.seen img{display:block;height:auto;outline:1px solid var(--rule)}
.seen .view{width:5.5rem}
.seen .crop{width:2.6rem}
.pixels{image-rendering:pixelated}
.time td,.time th,.near td,.near th{padding:.15rem .3rem .15rem 0;border:0;vertical-align:top;
  font-size:.8rem;text-align:left}
.time thead th,.near thead th{vertical-align:bottom}
.time img,.near img{display:block;width:5rem;height:auto}
.near .same img{outline:3px solid var(--good);outline-offset:-3px}
.time th span,.near th span{display:block;width:5rem;overflow-wrap:anywhere;color:var(--muted)}
@media (min-width:60rem){.time img,.time th span{width:6.5rem}}
@media (max-width:40rem){.time img,.near img,.time th span,.near th span{width:3.4rem}
  .time th span,.near th span{font-size:.68rem}.seen .view{width:4.4rem}}
"""


def panels(folder: pathlib.Path, config: Config | None) -> Iterator[Html]:
    """All of them; what cannot be had is left out with a line that says why."""
    fixed = snapshots.read_fixed(folder)
    made: dict[str, Callable[[], Html]] = {
        "Attention while training": lambda: attention(folder, fixed),
        "Nearest neighbours": lambda: neighbours(folder, fixed),
        "The first batch, as the network sees it": lambda: first_batch(folder, config),
    }
    for title, body in made.items():
        try:
            yield section(title, body())
        except (
            LookupError,
            ValueError,
            TypeError,
            ArithmeticError,
        ):  # of another version, put together
            yield section(title, _left_out("what was kept of it cannot be read"))


def first_batch(folder: pathlib.Path, config: Config | None) -> Html:
    """The first images of step 0 after all augmentation, a row an image."""
    rows = None if config is None else read_sheet(folder / BATCH, config.crops)
    if not rows:
        return _left_out("it was not kept")
    body = "".join(_row(seen, number) for number, seen in enumerate(rows, start=1))
    note = (
        "What the network saw in step 0: of each image the two global views, then the local crops, "
        "after flips, colour jitter, greyscale, blur and solarisation. If nobody could tell that "
        "the crops of a row belong together, augment less."
    )
    return Html(body + paragraph(note, kind="note"))


def _row(seen: Seen, number: int) -> str:
    views = "".join(_image(each, f"image {number}, view", "view") for each in seen.views)
    crops = "".join(_image(each, f"image {number}, local crop", "crop") for each in seen.locals)
    return f'<div class="seen">{views}{crops}</div>\n'


def attention(folder: pathlib.Path, fixed: Fixed | None) -> Html:
    """Attention on held-out images: a row an image, a column a step."""
    steps = snapshots.steps_of(folder, ATTENTION)
    if fixed is None or not steps:
        return _left_out("no snapshot was kept, or the network has no attention")
    found = ((step, snapshots.read_maps(folder, step, len(fixed.names))) for step in steps)
    taken = [(step, maps) for step, maps in found if maps is not None]
    if not taken:
        return _left_out("what was kept of it cannot be read")
    heads = ["image", *(f"step {step:,}" for step, _ in taken)]
    rows: list[list[Html]] = []
    for place, image in enumerate(fixed.large):
        rows.append([_labelled(image, fixed.classes[place] or fixed.names[place])])
        for step, maps in taken:
            laid = overlay(shown(image), maps[place], upsampling="smooth")
            rows[-1].append(_image(laid, f"attention at step {step}"))
    note = (
        "Where the CLS token of the teacher looks in the last block, the mean of its heads, on "
        "held-out images: the same ones throughout, chosen by their contrast alone. Colour begins "
        "at an even share; lighter is more. Each picture has a scale of its own."
    )
    lacking = _lacking(steps, [step for step, _ in taken])
    return Html(_pictures("time", heads, rows) + paragraph(note, kind="note") + lacking)


def neighbours(folder: pathlib.Path, fixed: Fixed | None) -> Html:
    """Held-out images and the training images nearest to them, newest; those of before folded."""
    steps = snapshots.steps_of(folder, NEIGHBOURS)
    if fixed is None or not steps:
        return _left_out("no snapshot was kept")
    found = ((step, snapshots.read_near(folder, step, len(fixed.names))) for step in steps)
    taken = [(step, near) for step, near in found if near is not None]
    if not taken:
        return _left_out("what was kept of it cannot be read")
    (first, before), (step, kept) = taken[0], taken[-1]
    body = _nearest(kept, fixed)
    labelled = any(fixed.classes)
    note = (
        f"At step {step:,}: held-out images, and the nearest of {kept.bank:,} training "
        "images by the cosine of the teacher's features"
        + ("; framed are those of the same class." if labelled else ".")
    )
    parts = body + paragraph(note, kind="note")
    if first != step:
        parts += details(f"At step {first:,}", _nearest(before, fixed))
    return Html(parts + _lacking(steps, [step for step, _ in taken]))


def _lacking(steps: Sequence[int], taken: Sequence[int]) -> Html:
    """A line that says of which steps the snapshots are damaged, or hold no numbers."""
    missing = [f"{step:,}" for step in steps if step not in taken]
    return _left_out(f"step {', '.join(missing)}, damaged or not finite") if missing else Html("")


def _nearest(kept: Near, fixed: Fixed) -> Html:
    rows = []
    for place, thumb in enumerate(fixed.thumbs):
        label = fixed.classes[place]
        cells = [_labelled(thumb, label or fixed.names[place])]
        for near, similarity, other in zip(
            kept.thumbs[place], kept.similarity[place], kept.classes[place], strict=True
        ):
            same = "same class" if label and other == label else ""
            said = f"{other or 'neighbour'}, cosine {similarity:.2f}"
            picture = _image(near, f"{said}{', ' if same else ''}{same}")
            cells.append(
                Html(f'<div class="{"same" if same else ""}">{picture}{similarity:.2f}</div>')
            )
        rows.append(cells)
    number = kept.similarity.shape[1]
    return _pictures("near", ["query", *(f"{n}." for n in range(1, number + 1))], rows)


def _pictures(kind: str, heads: Sequence[str], rows: Iterable[Sequence[Html]]) -> Html:
    top = "".join(f'<th scope="col">{escaped(head)}</th>' for head in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>'
        + "".join(f"<td>{cell}</td>" for cell in rest)
        + "</tr>\n"
        for first, *rest in rows
    )
    return scrolled(
        f'<table class="{kind}"><thead><tr>{top}</tr></thead>\n<tbody>\n{body}</tbody></table>',
        {"time": "attention by steps", "near": "nearest neighbours"}[kind],
    )


def _labelled(image: UInt8[np.ndarray, "h w c"], label: object) -> Html:
    text = str(label)
    shown = escaped(text if len(text) <= 24 else f"{text[:23]}…").replace("_", "_<wbr>")
    return Html(f"{_image(image, text)}<span>{shown}</span>")


def _left_out(why: str) -> Html:
    return paragraph(f"Left out: {why}.", kind="note")


def _image(image: UInt8[np.ndarray, "h w c"], alt: str, kind: str = "") -> Html:
    """A small picture: PNG and pixel by pixel where it has few, else JPEG."""
    height, width = image.shape[:2]
    few = max(height, width) <= 48
    picture = Image.fromarray(shown(image))
    if max(height, width) > _SIDE:
        picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    held = io.BytesIO()
    picture.save(held, "PNG", optimize=True) if few else picture.save(held, "JPEG", quality=82)
    source = data_uri(held.getvalue(), "image/png" if few else "image/jpeg")
    classes = f"{kind} pixels" if few else kind
    return Html(
        f'<img src="{source}" alt="{escaped(alt)}" class="{classes.strip()}" '
        f'width="{width}" height="{height}">'
    )
