"""Write the page that answers for every patch: what it attends to, in any block and head."""

import logging
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dino_jax.config import UserError
from dino_jax.files import whole
from dino_jax.interop.encoder import Encoder
from dino_jax.viz.attend.maps import projections
from dino_jax.viz.attend.picture import Picture
from dino_jax.viz.explorer.document import Parts, blocks_of, document, photograph
from dino_jax.viz.explorer.pack import pack
from dino_jax.viz.explorer.start import first_state

log = logging.getLogger(__name__)

TOLERANCE, FINE = 0.01, 0.001
"""The largest error of a value as a share of its map's maximum; the second where there is room."""
_FEW = 3_000_000  # numbers in a page that is small even with the second


def write_explorer(
    path: pathlib.Path,
    pictures: Sequence[Picture],
    encoders: Sequence[Encoder],
    *,
    blocks: tuple[int, ...] | None = None,
    budget_mb: float = 25,
    start: Mapping[str, object] | None = None,
) -> pathlib.Path:
    """Write one self-contained page about some pictures, as one ViT or several see them.

    The queries and keys of `blocks` (None: all) are in it, packed with an error that it states
    (`pack`); if all blocks would make more than `budget_mb` megabytes (10^6 bytes), the last and
    others evenly spaced are kept, and the log and the page say so. Blocks that are asked for are
    all kept. Pictures are cut, at the right and at the bottom, to whole patches of every network:
    each has a grid of its own over the same pixels.

    The page opens as `start` says (`first_state`: head, mass, block, blend, smooth, point), and as
    an address says after that.

    Raises:
        UserError: no picture, no ViT, no such block, a picture of less than a patch, a `start`
            that cannot be, or too many pictures for the budget.
    """
    if not pictures:
        raise UserError("there is no image to show: name one, or a folder of some")
    opening = first_state(start or {}, encoders)
    pictures = [_cut(picture, encoders) for picture in pictures]
    numbers = 0
    for encoder in encoders:
        depth = encoder.depth if blocks is None else len(blocks)
        cells = sum(p.pixels.shape[0] * p.pixels.shape[1] for p in pictures)
        numbers += 2 * encoder.width * depth * cells // encoder.patch_size**2
    tolerance = FINE if numbers <= _FEW else TOLERANCE
    parts = _packed(pictures, encoders, blocks, tolerance)
    uris = [photograph(picture.image) for picture in pictures]

    def written(kept: Parts) -> str:
        return document(pictures, uris, encoders, kept, tolerance, opening)

    kept = _within(parts, 1e6 * budget_mb, written, asked=blocks is not None)
    if missing := len({key[::2] for key in parts}) - len({key[::2] for key in kept}):
        log.warning(_left_out(kept, encoders, budget_mb, missing))
    with whole(path) as unfinished:
        unfinished.write_text(written(kept), encoding="utf-8")
    return path


def _cut(picture: Picture, encoders: Sequence[Encoder]) -> Picture:
    """To whole patches of all networks.

    Raises:
        UserError: nothing would be left.
    """
    unit = math.lcm(*(encoder.patch_size for encoder in encoders))
    height, width = (side // unit * unit for side in picture.pixels.shape[:2])
    if not height or not width:
        sides = "{1} × {0}".format(*picture.pixels.shape[:2])
        raise UserError(
            f"{picture.name or 'the image'} is shown at {sides} pixels, less than the {unit} that "
            "hold whole patches of all the networks: give a larger --size"
        )
    return Picture(picture.name, picture.image[:height, :width], picture.pixels[:height, :width])


def _packed(
    pictures: Sequence[Picture],
    encoders: Sequence[Encoder],
    blocks: tuple[int, ...] | None,
    tolerance: float,
) -> Parts:
    parts: Parts = {}
    for weights, encoder in enumerate(encoders):
        for index, picture in enumerate(pictures):
            found = projections(encoder, picture.pixels, blocks="all" if blocks is None else blocks)
            log.info("packing %s as %s sees it", picture.name or "the image", encoder.name)
            for block, queries, keys in zip(found.blocks, found.queries, found.keys, strict=True):
                parts[weights, index, block] = pack(queries, keys, tolerance=tolerance)
    return parts


def _within(parts: Parts, budget: float, written: Callable[[Parts], str], *, asked: bool) -> Parts:
    """Those of the parts that keep the page within its bytes: of each weights the same share.

    Raises:
        UserError: not even the last blocks do.
    """
    if asked:
        return parts
    base = len(written({}))
    held = [
        sorted({block for each, _, block in parts if each == weights})
        for weights in sorted({weights for weights, _, _ in parts})
    ]
    for count in range(max(map(len, held)), 0, -1):
        chosen = [_spaced(blocks, count) for blocks in held]
        kept = {key: part for key, part in parts.items() if key[2] in chosen[key[0]]}
        if base + sum(4 * (part.size + 400) / 3 for part in kept.values()) <= budget:
            return kept
    raise UserError(
        f"a page of these images takes more than {budget / 1e6:g} MB with one block each: give "
        "fewer images, a smaller --size, or --block, which is kept whatever it takes"
    )


def _spaced(blocks: Sequence[int], count: int) -> list[int]:
    """So many blocks, evenly spaced, the last among them."""
    places = np.linspace(len(blocks) - 1, 0, min(count, len(blocks))).round().astype(int)
    return sorted(blocks[place] for place in places)


def _left_out(kept: Parts, encoders: Sequence[Encoder], budget_mb: float, missing: int) -> str:
    told = "; ".join(
        f"{encoder.name}: blocks {', '.join(map(str, blocks_of(kept, weights)))} of 0 to "
        f"{encoder.depth - 1}"
        for weights, encoder in enumerate(encoders)
    )
    return (
        f"{missing} blocks do not fit a page of {budget_mb:g} MB and are left out (--block says "
        f"which to keep, a smaller --size makes room): held are of {told}"
    )
