"""Patch features as colours: three principal components of the foreground (as DINOv2's figure 1).

The picture and the components are the result. Nothing is scored: colours that follow the parts of
a thing are seen, not measured.
"""

import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dino_jax.config import UserError
from dino_jax.config.protocol_options import PcaOptions
from dino_jax.data.single import open_images
from dino_jax.evals.pca.colours import Coloured, coloured
from dino_jax.evals.pca.tokens import described
from dino_jax.evals.protocol import Report, Request
from dino_jax.evals.tsne.points import evenly
from dino_jax.files import whole
from dino_jax.interop.encoder import Encoder
from dino_jax.interop.record import printable


class Sheet(NamedTuple):
    """What `viz.components` draws: a row an image."""

    rows: tuple[Coloured, ...]
    across: bool
    title: str
    side: str
    """How the foreground's side was chosen."""


def run(request: Request) -> Report:
    """Colour the patches of the images of `data`; writes `components.json`, `.npz`, a drawing.

    Raises:
        UserError: no image can be read, options out of range, or features without variance.
    """
    options, encoder = request.options, request.network
    _check(options)
    source = open_images(request.data, channels=encoder.channels)
    number = min(options.images or len(source), len(source))
    images = list(described(encoder, source, evenly(source, number), size=options.size))
    if not images:
        raise UserError(f"no image of {source.spec} can be read: nothing to show")
    how = {"foreground": options.foreground, "tails": options.tails}
    groups = [images] if options.across else [[each] for each in images]
    rows = tuple(row for group in groups for row in coloured(group, **how))
    explained = np.mean([row.explained for row in rows], axis=0)
    share = float(np.concatenate([row.foreground.ravel() for row in rows]).mean())
    many = f"{len(rows)} image{'s' * (len(rows) > 1)}"
    which = f"one PCA of {many}" if options.across else f"{many}, a PCA each"
    whole_image = options.foreground == "all"
    of = "all patches" if whole_image else f"the foreground ({100 * share:.0f} % of the patches)"
    shares = ", ".join(f"{100 * each:.1f}" for each in explained)
    notes = [f"{encoder.name}: {which}; three components hold {shares} % of the variance of {of}."]
    if number < len(source):
        notes.append(f"Taken are {number} of the {len(source)} images of {source.spec}, evenly.")
    if lost := number - len(images):
        notes.append(f"{lost} of them cannot be read: left out.")
    return Report(
        title="Components of patches",
        notes=tuple(notes),
        values={"images": len(rows), "foreground": share}
        | {f"explained_{place}": float(each) for place, each in enumerate(explained, start=1)},
        files=() if request.out is None else _write(request, rows),
        drawing=Sheet(
            tuple(row._replace(name=printable(row.name)) for row in rows),
            options.across,
            f"{encoder.name}: patch features of the last block, {options.size} px, "
            f"patch {encoder.patch_size}; {which}",
            _side(options, encoder),
        ),
    )


def _side(options: PcaOptions, encoder: Encoder) -> str:
    if options.foreground == "all":
        return ""
    by_attention = options.foreground == "attention" and encoder.heads
    return "where CLS attends more" if by_attention else "where fewer patches lie at the border"


def _check(options: PcaOptions) -> None:
    for name, least in (("size", 1), ("images", 0)):
        if (value := getattr(options, name)) < least:
            raise UserError(f"--{name}={value}: expected {least} or more")
    if not 0 <= options.tails < 50:
        raise UserError(f"--tails={options.tails:g}: expected a percentage from 0 to below 50")


def _write(request: Request, rows: Sequence[Coloured]) -> tuple[pathlib.Path, ...]:
    options, folder = request.options, request.out or pathlib.Path()
    told = {
        "weights": request.network.spec,
        "size": options.size,
        "across": options.across,
        "foreground": options.foreground,
        "tails": options.tails,
        "images": [
            {
                "name": row.name,
                "patch_grid": list(row.first.shape),
                "threshold": row.threshold,
                "foreground": float(row.foreground.mean()),
                "explained": list(row.explained),
            }
            for row in rows
        ],
    }
    arrays = {
        f"{name}_{place}": getattr(row, name)
        for place, row in enumerate(rows)
        for name in ("first", "foreground", "scores", "colours")
    }
    folder.mkdir(parents=True, exist_ok=True)
    table, held = folder / "components.json", folder / "components.npz"
    with whole(table) as unfinished:
        unfinished.write_text(json.dumps(printable(told), indent=1) + "\n", encoding="utf-8")
    with whole(held) as unfinished:
        np.savez_compressed(unfinished, **arrays)
    return table, held
