"""Which protocol's report is drawn, by what, into which file."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dino_jax.viz.components import draw_components
from dino_jax.viz.matches import draw_matches
from dino_jax.viz.scatter import draw_scatter
from dino_jax.viz.sheets import draw_sheet

DRAWN: Mapping[str, tuple[str, Callable[[Any, pathlib.Path], None]]] = {
    "tsne": ("tsne", draw_scatter),
    "correspond": ("matches", draw_matches),
    "pca": ("pca", draw_components),
    "neighbours": ("neighbours", draw_sheet),
}


def draw(protocol: str, drawings: Sequence[Any], folder: pathlib.Path) -> list[pathlib.Path]:
    """Draw what the reports of one protocol hold; returns the PNG files, none where none is drawn.

    `drawings` are the reports', of the weights in question and of those compared with them.
    """
    if protocol not in DRAWN:
        return []
    stem, function = DRAWN[protocol]
    files = []
    for number, drawing in enumerate(drawings):
        file = folder / (f"{stem}-against-{number}.png" if number else f"{stem}.png")
        if drawing is not None:
            function(drawing, file)
            files.append(file)
    return files
