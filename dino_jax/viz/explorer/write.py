"""Write the page that answers for every patch: what it attends to, in any block and head."""

import base64
import io
import logging
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8
from PIL import Image

import dino_jax
from dino_jax.config import UserError
from dino_jax.files import whole
from dino_jax.interop.encoder import Encoder, check_patches
from dino_jax.viz.attend.colour import FULL, backdrop, colour_table
from dino_jax.viz.attend.maps import projections
from dino_jax.viz.attend.picture import Picture
from dino_jax.viz.explorer.pack import Packed, pack
from dino_jax.viz.web.page import (
    Html,
    data_block,
    data_uri,
    details,
    page,
    paragraph,
    table,
)

log = logging.getLogger(__name__)

TOLERANCE, FINE = 0.01, 0.001
"""The largest error of a value as a share of its map's maximum; the second where there is room."""
_FEW = 3_000_000  # numbers in a page that is small even with the second
_HERE = pathlib.Path(__file__).parent
_SCRIPTS = ("numbers.js", "drawing.js", "explorer.js", "controls.js")

Parts = dict[tuple[int, int, int], Packed]
"""What is packed, by weights, picture and block (counted from 0)."""


def write_explorer(
    path: pathlib.Path,
    pictures: Sequence[Picture],
    encoders: Sequence[Encoder],
    *,
    blocks: tuple[int, ...] | None = None,
    budget_mb: float = 25,
) -> pathlib.Path:
    """Write one self-contained page about some pictures, as one ViT or several see them.

    The queries and keys of `blocks` (None: all) are in it, packed with an error that it states
    (`pack`); if all blocks would make more than `budget_mb` megabytes (10^6 bytes), the last and
    others evenly spaced are kept, and the log and the page say so. Blocks that are asked for are
    all kept.

    Raises:
        UserError: no picture, no ViT, no such block, sides that are no multiples of a patch, or
            too many pictures for the budget.
    """
    if not pictures:
        raise UserError("there is no image to show: name one, or a folder of some")
    for encoder in encoders:
        for side in {side for picture in pictures for side in picture.pixels.shape[:2]}:
            check_patches(encoder, side)
    numbers = 0
    for encoder in encoders:
        depth = encoder.depth if blocks is None else len(blocks)
        cells = sum(p.pixels.shape[0] * p.pixels.shape[1] for p in pictures)
        numbers += 2 * encoder.width * depth * cells // encoder.patch_size**2
    tolerance = FINE if numbers <= _FEW else TOLERANCE
    parts = _packed(pictures, encoders, blocks, tolerance)
    uris = [_photograph(picture.image) for picture in pictures]

    def document(kept: Parts) -> str:
        return _document(pictures, uris, encoders, kept, tolerance)

    kept = _within(parts, 1e6 * budget_mb, document, asked=blocks is not None)
    if missing := len({key[::2] for key in parts}) - len({key[::2] for key in kept}):
        log.warning(_left_out(kept, encoders, budget_mb, missing))
    with whole(path) as unfinished:
        unfinished.write_text(document(kept), encoding="utf-8")
    return path


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


def _within(parts: Parts, budget: float, document: Callable[[Parts], str], *, asked: bool) -> Parts:
    """Those of the parts that keep the page within its bytes: of each weights the same share.

    Raises:
        UserError: not even the last blocks do.
    """
    if asked:
        return parts
    base = len(document({}))
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
        f"{encoder.name}: blocks {', '.join(map(str, _blocks(kept, weights)))} of 0 to "
        f"{encoder.depth - 1}"
        for weights, encoder in enumerate(encoders)
    )
    return (
        f"{missing} blocks do not fit a page of {budget_mb:g} MB and are left out (--block says "
        f"which to keep, a smaller --size makes room): held are of {told}"
    )


def _blocks(parts: Iterable[tuple[int, int, int]], weights: int) -> list[int]:
    return sorted({block for each, _, block in parts if each == weights})


def _document(
    pictures: Sequence[Picture],
    uris: Sequence[str],
    encoders: Sequence[Encoder],
    parts: Parts,
    tolerance: float,
) -> str:
    """The whole page; a part lies base64 in an element of its own, read when it is shown."""
    named = {_name(key): part for key, part in parts.items()}
    facts = {
        "version": dino_jax.__version__,
        "tolerance": tolerance,
        "weights": [
            _weights(encoder, pictures, _blocks(parts, index))
            for index, encoder in enumerate(encoders)
        ],
        "images": [
            {"name": picture.name or f"image {index}", "source": uri}
            for index, (picture, uri) in enumerate(zip(pictures, uris, strict=True))
        ],
        "parts": {name: _part(part) for name, part in named.items()},
        "colours": colour_table().tobytes().hex(),
        "shades": _shades(),
        "full": FULL,
    }
    data = "".join(
        f'<script type="text/plain" id="{name}">'
        f"{base64.b64encode(b''.join(part.streams)).decode()}</script>\n"
        for name, part in named.items()
    )
    names = ", ".join(picture.name or "one image" for picture in pictures[:3])
    more = f" and {len(pictures) - 3} more" if len(pictures) > 3 else ""
    about = details("About these numbers", _about(encoders, pictures, parts, tolerance))
    body = f"{_asset('explorer.html')}{about}{data_block('facts', facts)}{data}"
    return page(
        f"Attention in {names}{more}",
        body,
        style=_asset("explorer.css"),
        script="".join(map(_asset, _SCRIPTS)),
    )


def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _name(key: tuple[int, int, int]) -> str:
    return "data-{}-{}-{}".format(*key)


def _part(part: Packed) -> Mapping[str, Any]:
    return {
        "heads": part.heads,
        "tokens": part.tokens,
        "channels": part.channels,
        "lengths": [len(stream) for stream in part.streams],
        "error": float(f"{part.error:.3g}"),
        "measured": part.measured,
    }


def _weights(
    encoder: Encoder, pictures: Sequence[Picture], blocks: Sequence[int]
) -> Mapping[str, Any]:
    patch = encoder.patch_size
    return {
        "name": encoder.name,
        "said": f"{encoder.arch}, patch {patch}",
        "arch": encoder.arch,
        "patch": patch,
        "precision": encoder.precision,
        "depth": encoder.depth,
        "heads": encoder.heads,
        "blocks": list(blocks),
        "grids": [
            {"rows": each.pixels.shape[0] // patch, "columns": each.pixels.shape[1] // patch}
            for each in pictures
        ],
    }


def _about(
    encoders: Sequence[Encoder], pictures: Sequence[Picture], parts: Parts, tolerance: float
) -> str:
    """What the numbers are, how exact, and of what."""
    rows = []
    for (weights, index, block), part in parts.items():
        sides = pictures[index].pixels.shape
        rows.append(
            [
                encoders[weights].name,
                pictures[index].name or f"image {index}",
                f"{sides[1]} × {sides[0]}",
                block,
                f"{100 * part.error:.2g} %",
                f"{100 * part.typical:.1g} %",
                f"{part.measured} of {part.tokens - 1}",
                f"{part.size / 1e6:.2g}",
            ]
        )
    headers = "weights,image,pixels,block,largest error,typical error,maps measured,MB".split(",")
    exactly = Html(f"{paragraph(_EXACTLY.format(share=f'{100 * tolerance:g}'))}{paragraph(_SHOWN)}")
    made = paragraph(
        "; ".join(
            f"{each.name}: {each.arch}, patch {each.patch_size}, {each.depth} blocks (0 to "
            f"{each.depth - 1}), {each.heads} heads, computed in {each.precision}"
            for each in encoders
        )
        + f". Made by dino_jax {dino_jax.__version__}, jax {jax.__version__}.",
        kind="note",
    )
    held = paragraph(
        "".join(
            f"Blocks {', '.join(map(str, kept))} of 0 to {each.depth - 1} are in this page, of "
            f"{each.name}. "
            for index, each in enumerate(encoders)
            if len(kept := _blocks(parts, index)) < each.depth
        )
    )
    return f"{exactly}{held}{made}{table(headers, rows)}"


_EXACTLY = (
    "A value is softmax(q kᵀ / √channels) of the token that asks with all tokens: the share of its "
    "attention that a patch gets. From CLS they are the library's numbers in float32. From a patch "
    "they are computed here from queries and keys that were rounded to make the page small: as "
    "measured on maps evenly spaced over the picture (all patches where it has no more), no value "
    "is off by more than {share} % of its map's maximum; the table says by how much in each block, "
    "in the worst map and in the median one."
)
_SHOWN = (
    "The mean is that of the heads' maps. Colour begins at a patch's even share of its map (what "
    "goes to CLS is not counted), rises with the logarithm, and is full at the 99.5th percentile "
    "of the maps in one scale, never below 4 even shares, so that nearly even attention does not "
    "look like a segmentation. An outline of 60 % holds the patches with the largest values that "
    "together make 60 % of a map (visualize_attention.py's rule). Blocks, heads, rows and columns "
    "are counted from 0. Smooth blends the colours between patches; it changes no number."
)


def _shades() -> list[int]:
    """The grey of each level of the photograph, 0 to 255, as it lies beneath the colours."""
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    return [int(value) for value in np.round(255 * backdrop(levels)[0, :, 0])]


def _photograph(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """As PNG, or as JPEG where that is much smaller: it is looked at, not computed with."""
    found = {}
    for kind in ("PNG", "JPEG"):
        held = io.BytesIO()
        Image.fromarray(image).save(held, kind, quality=92, optimize=True)
        found[kind] = held.getvalue()
    kind = "JPEG" if 3 * len(found["JPEG"]) < len(found["PNG"]) > 50_000 else "PNG"
    return data_uri(found[kind], f"image/{kind.lower()}")
