"""Attention of the runs on the images that their reports keep, beside each other."""

import io
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from dino_jax.viz.compare.runs import Run
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
    names: tuple[str, ...]
    classes: tuple[str, ...]
    images: UInt8[np.ndarray, "n h w c"]
    maps: np.ndarray
    """(n, rows, columns): of the CLS token, the mean of the heads."""


def kept(folder: pathlib.Path) -> Kept | None:
    """What a report keeps of attention; None where it keeps nothing whole."""
    from dino_jax.viz.report import snapshots
    from dino_jax.viz.report.pictures import ATTENTION, FIXED

    fixed, steps = snapshots.read_arrays(folder / FIXED), snapshots.steps_of(folder, ATTENTION)
    newest = snapshots.read(folder, ATTENTION, steps[-1]) if steps else None
    if fixed is None or newest is None:
        return None
    try:
        found = Kept(
            steps[-1], tuple(map(str, fixed["names"])), tuple(map(str, fixed["classes"])),
            fixed["large"], newest["maps"],
        )  # fmt: skip
    except KeyError:
        return None
    whole = len(found.names) == len(found.classes) == len(found.images) == len(found.maps)
    return found if whole else None


def attention(runs: Sequence[Run]) -> Html:
    """The section of the page, with a line that says why where there is nothing to show."""
    title = "Attention"
    found = {run.name: kept(run.folder / "report") for run in runs}
    shown = {name: each for name, each in found.items() if each is not None}
    if len(shown) < 2:
        lacking = ", ".join(name for name, each in found.items() if each is None)
        why = f"Left out: {lacking} kept no snapshots of attention (config.report keeps them)."
        return section(title, paragraph(why, kind="note"))
    first = next(iter(shown.values()))
    if any(each.names != first.names for each in shown.values()):
        why = "Left out: the runs kept snapshots of different images."
        return section(title, paragraph(why, kind="note"))
    heads = ["", "image", *(f"{name}, step {each.step:,}" for name, each in shown.items())]
    rows = [_row(place, list(shown.values())) for place in range(len(first.names))]
    note = (
        "Where the CLS token of the teacher looks in the last block, the mean of its heads, in "
        "the newest snapshot of each run. Colour begins at an even share; lighter is more. Each "
        "picture has a scale of its own. The images are held-out ones of the runs: think of that "
        "before you send this page on."
    )
    body = Html(f'<div class="looks">{table(heads, rows)}</div>') + paragraph(note, kind="note")
    return section(title, body)


def _row(place: int, shown: Sequence[Kept]) -> list[object]:
    from dino_jax.viz.attend.colour import overlay

    first = shown[0]
    label = first.classes[place] or first.names[place]
    cells: list[object] = [label if len(label) <= 24 else f"{label[:23]}…"]
    cells.append(_picture(_rgb(first.images[place]), label))
    for each in shown:
        laid = overlay(_rgb(each.images[place]), each.maps[place], upsampling="smooth")
        cells.append(_picture(laid, f"{label}, attention"))
    return cells


def _rgb(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    return image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)


def _picture(image: UInt8[np.ndarray, "h w 3"], alt: str) -> Html:
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    held = io.BytesIO()
    picture.save(held, "JPEG", quality=85)
    source = data_uri(held.getvalue(), "image/jpeg")
    return Html(f'<img src="{source}" alt="{escaped(alt)}">')
