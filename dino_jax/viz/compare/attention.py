"""Attention of the runs on the images that their reports keep, beside each other."""

import io
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from dino_jax.viz.attend.colour import overlay
from dino_jax.viz.attend.picture import shown
from dino_jax.viz.compare.runs import Run
from dino_jax.viz.report import snapshots
from dino_jax.viz.report.snapshots import Fixed
from dino_jax.viz.web.page import Html, data_uri, escaped, paragraph, section, table

_SIDE = 128  # pixels, at most, of a picture in the page
STYLE = """
.looks img{display:block;width:7rem;height:auto}
.looks td,.looks th{border:0;vertical-align:top;text-align:left}
.looks tbody th{max-width:8rem;overflow-wrap:anywhere;color:var(--muted)}
@media (max-width:40rem){.looks img{width:5rem}}
"""


class Kept(NamedTuple):
    """The newest snapshot of a run."""

    step: int
    fixed: Fixed
    maps: Float[np.ndarray, "n rows columns"]
    """Of the CLS token, the mean of the heads."""


def kept(folder: pathlib.Path) -> Kept | None:
    """What a report keeps of attention; None where it keeps nothing whole."""
    fixed, steps = snapshots.read_fixed(folder), snapshots.steps_of(folder, snapshots.ATTENTION)
    if fixed is None or not steps:
        return None
    maps = snapshots.read_maps(folder, steps[-1], len(fixed.names))
    return None if maps is None else Kept(steps[-1], fixed, maps)


def attention(runs: Sequence[Run]) -> Html:
    """The section of the page, with a line that says why where there is nothing to show."""
    title = "Attention"
    found = {run.name: kept(run.folder / "report") for run in runs}
    taken = {name: each for name, each in found.items() if each is not None}
    lacking = ", ".join(name for name, each in found.items() if each is None)
    why = (
        f"Left out: {lacking} kept no snapshots of attention (config.report keeps them), or the "
        "newest is damaged or not finite."
    )
    missing = paragraph(why, kind="note") if lacking else Html("")
    if len(taken) < 2:
        return section(title, missing)
    first, *others = taken.values()
    if not all(_same_images(first.fixed, each.fixed) for each in others):
        why = "Left out: the runs kept snapshots of different images."
        return section(title, paragraph(why, kind="note") + missing)
    heads = ["name", "image", *(f"{name}, step {each.step:,}" for name, each in taken.items())]
    rows = [_row(place, list(taken.values())) for place in range(len(first.fixed.names))]
    note = (
        "Where the CLS token of the teacher looks in the last block, the mean of its heads, in "
        "the newest snapshot of each run. Colour begins at an even share; lighter is more. Each "
        "picture has a scale of its own. The images are held-out ones of the runs: think of that "
        "before you send this page on."
    )
    body = Html(f'<div class="looks">{table(heads, rows, label=title)}</div>')
    return section(title, body + paragraph(note, kind="note") + missing)


def _same_images(first: Fixed, other: Fixed) -> bool:
    """By their thumbnails too: in other folders other files may bear the same names."""
    named = (first.names, first.classes) == (other.names, other.classes)
    return named and np.array_equal(first.thumbs, other.thumbs)


def _row(place: int, taken: Sequence[Kept]) -> list[object]:
    first = taken[0].fixed
    label = first.classes[place] or first.names[place]
    cells: list[object] = [label if len(label) <= 24 else f"{label[:23]}…"]
    cells.append(_picture(shown(first.large[place]), label))
    for each in taken:
        laid = overlay(shown(each.fixed.large[place]), each.maps[place], upsampling="smooth")
        cells.append(_picture(laid, f"{label}, attention"))
    return cells


def _picture(image: UInt8[np.ndarray, "h w 3"], alt: str) -> Html:
    picture = Image.fromarray(image)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    held = io.BytesIO()
    picture.save(held, "JPEG", quality=85)
    source = data_uri(held.getvalue(), "image/jpeg")
    return Html(f'<img src="{source}" alt="{escaped(alt)}">')
