"""Images and their nearest in a bank, by the cosine of class tokens: what the network holds alike.

The sheet shows some queries; the figure, the share of neighbours of the query's class, is of all.
"""

import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from dino_jax.config import UserError
from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.evaluation import default_resize, eval_image
from dino_jax.data.single import open_images
from dino_jax.data.source import Source
from dino_jax.evals.neighbours import (
    Found,
    agreement,
    by_chance,
    chosen,
    names_of_classes,
    search,
    search_others,
)
from dino_jax.evals.protocol import Report, Request, Sample
from dino_jax.files import whole
from dino_jax.interop.encoder import Encoder
from dino_jax.interop.record import printable

THUMBNAIL = 160  # pixels


class Shown(NamedTuple):
    """One image of the sheet; of a neighbour its cosine, and whether it is of the query's class.

    `agrees` is None without classes.
    """

    pixels: UInt8[np.ndarray, "h w c"]
    name: str
    class_name: str | None
    similarity: float | None = None
    agrees: bool | None = None


class Sheet(NamedTuple):
    """What `viz.sheets` draws: a row a query, its neighbours after it."""

    rows: tuple[tuple[Shown, ...], ...]
    title: str


class _Images(NamedTuple):
    source: Source
    features: Float[np.ndarray, "n d"]
    examples: Int[np.ndarray, " n"]
    classes: tuple[str, ...] | None

    def name(self, row: int) -> str:
        return printable(self.source.name(int(self.examples[row])))


def run(request: Request) -> Report:
    """Find neighbours of `val`, or of every image of `data` among the others.

    Writes `sheet.json` with the queries of the sheet, and the drawing.

    Raises:
        UserError: no images, fewer than k, or queries that are not there.
    """
    encoder, k = request.network, request.options.k
    if k < 1:
        raise UserError(f"--k={k}: expected 1 or more")
    bank = _described(request, request.data)
    queries = bank if request.val is None else _described(request, request.val)
    itself = request.val is None
    if (others := len(bank.examples) - itself) < k:
        raise UserError(
            f"--k={k} wants {k} images beside the query, but there are {others}: {_MORE}"
        )
    places = chosen(request.options.queries, queries.source, queries.examples)
    found = (
        search_others(bank.features, k=k)
        if itself
        else search(queries.features, bank.features, k=k)
    )
    samples, notes = {}, [_said(encoder, queries, bank, itself)]
    agrees = None
    if queries.classes is not None and bank.classes is not None:
        agrees = agreement(queries.classes, bank.classes, found.rows)
        samples["precision"] = Sample(agrees.mean(axis=1))
        chance = by_chance(queries.classes, bank.classes, itself=itself)
        notes.append(f"Neighbours drawn from the bank would be of the class in {chance:.1f} %.")
    rows = tuple(_row(encoder, queries, bank, found, agrees, place) for place in places)
    title = f"{encoder.name}: nearest of {others} images by the cosine of CLS, {encoder.size} px"
    return Report(
        title="Nearest images",
        samples=samples,
        titles={"precision": f"of the class among {k}"} if samples else {},
        notes=tuple(notes),
        values={"k": k, "queries": len(queries.examples), "bank": len(bank.examples)},
        files=() if request.out is None else _write(request, queries, bank, found, places),
        drawing=Sheet(rows, title),
    )


_MORE = "give more images, or a smaller --k"


def _described(request: Request, spec: str) -> _Images:
    encoder = request.network
    source = open_images(spec, channels=encoder.channels)
    features, index = request.store.features(
        encoder, source, what="cls",
        function=lambda params, images: encoder.features(params, images).cls,
        mesh=request.mesh, batch_size=request.batch_size,
    )  # fmt: skip
    classes = names_of_classes(source)
    known = None if classes is None else tuple(classes[example] for example in map(int, index))
    return _Images(source, features, index, printable(known))


def _said(encoder: Encoder, queries: _Images, bank: _Images, itself: bool) -> str:
    whose = f"each of {len(bank.examples)} images among the others"
    if not itself:
        whose = f"{len(queries.examples)} images among {len(bank.examples)}"
    return f"{encoder.name}: neighbours of {whose}, by the cosine of class tokens."


def _row(
    encoder: Encoder,
    queries: _Images,
    bank: _Images,
    found: Found,
    agrees: np.ndarray | None,
    place: int,
) -> tuple[Shown, ...]:
    shown = [
        Shown(_thumbnail(encoder, queries, place), queries.name(place), _class(queries, place))
    ]
    for rank, row in enumerate(map(int, found.rows[place])):
        same = None if agrees is None else bool(agrees[place, rank])
        similarity = float(found.similarity[place, rank])
        pixels = _thumbnail(encoder, bank, row)
        shown.append(Shown(pixels, bank.name(row), _class(bank, row), similarity, same))
    return tuple(shown)


def _class(images: _Images, row: int) -> str | None:
    return None if images.classes is None else images.classes[row]


def _thumbnail(encoder: Encoder, images: _Images, row: int) -> UInt8[np.ndarray, "h w c"]:
    """What the network sees of an image; grey where it can no longer be read."""
    resize = encoder.resize or default_resize(encoder.size)
    short = max(THUMBNAIL, round(THUMBNAIL * resize / encoder.size))
    try:
        pixels = images.source.load(int(images.examples[row]))
    except UnreadableImageError:  # it could be read a moment ago
        return np.full((THUMBNAIL, THUMBNAIL, images.source.channels), 128, np.uint8)
    return eval_image(pixels, size=THUMBNAIL, resize=short)


def _write(
    request: Request, queries: _Images, bank: _Images, found: Found, places: list[int]
) -> tuple[pathlib.Path, ...]:
    folder = request.out or pathlib.Path()
    told: dict[str, Any] = {
        "weights": request.network.spec,
        "data": request.data,
        "val": request.val,
        "k": request.options.k,
        "queries": [
            {
                "name": queries.name(place),
                "class": _class(queries, place),
                "neighbours": [
                    {
                        "name": bank.name(row),
                        "class": _class(bank, row),
                        "cosine": round(float(similarity), 6),
                    }
                    for row, similarity in zip(
                        found.rows[place].tolist(), found.similarity[place], strict=True
                    )
                ],
            }
            for place in places
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "sheet.json"
    with whole(path) as unfinished:
        unfinished.write_text(json.dumps(printable(told), indent=1) + "\n", encoding="utf-8")
    return (path,)
