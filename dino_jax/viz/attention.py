"""Pictures of what each head attends to: the CLS token's attention laid over photographs."""

import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from dino_jax.viz.attend.colour import overlay, scale_of
from dino_jax.viz.attend.picture import shown
from dino_jax.viz.attend.sheet import Panel, Strip, write_sheet

NOTE = "a square a patch; grey: no more than an even share; no outline\nheads are counted from 0"


def cls_attention(
    attention: Float[np.ndarray, "n heads queries tokens"], rows: int, columns: int
) -> Float[np.ndarray, "n heads {rows} {columns}"]:
    """The last block's attention of the CLS token to every patch, as maps on the patch grid.

    `attention` is softmaxed over its last axis; token 0 is CLS, the first or the only query. Each
    map sums to 1 less what CLS gives to itself. Raises ValueError if rows x columns patches and
    CLS are not its tokens (paper, section 4.2.2; reference, section 1.10).
    """
    if attention.shape[-1] != rows * columns + 1:
        raise ValueError(f"{attention.shape[-1]} tokens are not CLS and {rows} x {columns} patches")
    return attention[:, :, 0, 1:].reshape(*attention.shape[:2], rows, columns)


def write_attention_picture(
    path: str | pathlib.Path,
    images: Sequence[UInt8[np.ndarray, "h w c"]],
    attention: Sequence[Float[np.ndarray, "heads rows columns"]],
    *,
    before: Sequence[Float[np.ndarray, "heads rows columns"]] | None = None,
    names: Sequence[str] = (),
    title: str = "",
    pixels_per_inch: int = 200,
) -> None:
    """Write a picture: a row a photograph; in it the photograph, the heads' mean, and every head.

    `attention` holds one array of maps an image (see `cls_attention`), on any patch grid;
    `before`, the maps of the network before training, adds a column with the mean of its heads.
    One scale of colours holds for all of it, and a bar shows it. The folder is made if it is
    missing; the suffix of `path` says the format (png, pdf, svg).
    """
    means = [maps.mean(axis=0) for maps in attention]
    means_before = [maps.mean(axis=0) for maps in before or ()]
    scale = scale_of([*means, *means_before, *attention])
    strips = []
    for row, (image, maps) in enumerate(zip(images, attention, strict=True)):
        captioned = {"mean of heads": means[row]}
        captioned |= {f"head {head}": each for head, each in enumerate(maps)}
        if before is not None:
            captioned["mean before training"] = means_before[row]
        panels = [Panel(names[row] if row < len(names) else "", shown(image))]
        panels += [
            Panel(caption, overlay(image, each, scale=scale)) for caption, each in captioned.items()
        ]
        strips.append(Strip("", panels))
    write_sheet(
        pathlib.Path(path), title, strips, scale=scale, note=NOTE, pixels_per_inch=pixels_per_inch
    )
