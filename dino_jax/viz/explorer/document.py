"""The page itself: its facts, its packed blocks, and what it says of them."""

import base64
import io
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8
from PIL import Image

import dino_jax
from dino_jax.interop.encoder import Encoder
from dino_jax.viz.attend.colour import FULL, backdrop, colour_table
from dino_jax.viz.attend.picture import Picture
from dino_jax.viz.explorer.pack import Packed
from dino_jax.viz.web.page import (
    Html,
    data_block,
    data_uri,
    details,
    page,
    paragraph,
    table,
)

_HERE = pathlib.Path(__file__).parent
_SCRIPTS = ("numbers.js", "drawing.js", "explorer.js", "controls.js")

Parts = dict[tuple[int, int, int], Packed]
"""What is packed, by weights, picture and block (counted from 0)."""


def blocks_of(parts: Iterable[tuple[int, int, int]], weights: int) -> list[int]:
    """The blocks that are there of some weights, by their number."""
    return sorted({block for each, _, block in parts if each == weights})


def document(
    pictures: Sequence[Picture],
    uris: Sequence[str],
    encoders: Sequence[Encoder],
    parts: Parts,
    tolerance: float,
    start: Mapping[str, Any],
) -> str:
    """The whole page; a part lies base64 in an element of its own, read when it is shown.

    `start` is what its state is at first, as explorer.js names it.
    """
    named = {_name(key): part for key, part in parts.items()}
    facts = {
        "version": dino_jax.__version__,
        "tolerance": tolerance,
        "weights": [
            _weights(encoder, pictures, blocks_of(parts, index))
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
        "start": start,
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
    # What 16 bits cannot hold as exactly as is wished, for very sharp attention, is said too.
    most = max([tolerance, *(part.error for part in parts.values())])
    exactly = Html(f"{paragraph(_EXACTLY.format(share=f'{100 * most:.2g}'))}{paragraph(_SHOWN)}")
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
            if len(kept := blocks_of(parts, index)) < each.depth
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


def photograph(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """As PNG, or as JPEG where that is much smaller: it is looked at, not computed with."""
    found = {}
    for kind in ("PNG", "JPEG"):
        held = io.BytesIO()
        Image.fromarray(image).save(held, kind, quality=92, optimize=True)
        found[kind] = held.getvalue()
    kind = "JPEG" if 3 * len(found["JPEG"]) < len(found["PNG"]) > 50_000 else "PNG"
    return data_uri(found[kind], f"image/{kind.lower()}")
