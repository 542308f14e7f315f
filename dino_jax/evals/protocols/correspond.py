"""Patches of two images that match: nearest neighbours of patch features by cosine.

Without a known homography nothing is scored: the picture and the pairs are the result.
"""

import functools
import json
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, UInt8

from dino_jax.config import UserError
from dino_jax.config.protocol_options import CorrespondOptions
from dino_jax.evals.correspond.homography import judged, precision, read_homography, recall
from dino_jax.evals.correspond.matching import Matches, match
from dino_jax.evals.correspond.photograph import Photograph, open_photograph
from dino_jax.evals.protocol import Report, Request, Sample
from dino_jax.interop.encoder import Encoder, finite
from dino_jax.interop.record import printable
from dino_jax.models.vit import Features
from dino_jax.ops.attention_mask import mass_masks
from dino_jax.types import Params


class Pairs(NamedTuple):
    """What `viz.matches` draws: (x, y) in pixels of either image, the most similar first."""

    images: tuple[UInt8[np.ndarray, "_ _ c"], UInt8[np.ndarray, "_ _ c"]]
    first: Float[np.ndarray, "n 2"]
    second: Float[np.ndarray, "n 2"]
    similarity: Float[np.ndarray, " n"]
    drawn: int
    title: str


def run(request: Request) -> Report:
    """Match the patches of the images `data` and `val`; writes `matches.json`, and a drawing.

    Raises:
        UserError: a file that is no image, options out of range, or a foreground asked of a
            network without attention.
    """
    options, encoder = request.options, request.network
    _check(options, encoder)
    homography = None if options.homography is None else read_homography(options.homography)
    photographs = [
        open_photograph(
            file, size=options.size, patch_size=encoder.patch_size, channels=encoder.channels
        )
        for file in (request.data, request.val or request.data)
    ]
    first, second = photographs
    features, foreground = zip(
        *(_described(encoder, each, options.foreground) for each in photographs), strict=True
    )
    matches = match(*features, mutual=options.mutual, within=foreground, top=options.top)
    places = first.centres(matches.first), second.centres(matches.second)
    samples = {}
    if homography is not None:
        units = judged(matches, homography, first, second)
        samples = {"precision": Sample(units, precision), "recall": Sample(units, recall)}
    mean = float(matches.similarity.mean()) if len(matches.first) else 0.0
    many = f"{len(matches.first)} {'mutual ' if options.mutual else ''}matches"
    drawn = Pairs(
        (first.original, second.original), *places, matches.similarity, options.drawn,
        f"{encoder.name}: {many} of {printable(first.name)} and {printable(second.name)}",
    )  # fmt: skip
    return Report(
        title="Matching patches",
        samples=samples,
        titles={"precision": "matches within a patch", "recall": "patches found"}
        if samples
        else {},
        notes=(
            f"{encoder.name}: {many}, of a mean similarity of {mean:.3f}."
            if len(matches.first)
            else f"{encoder.name}: no patches match: loosen the options.",
        ),
        values={"matches": len(matches.first), "mean_similarity": mean},
        files=() if request.out is None else _write(request, photographs, matches, places),
        drawing=drawn,
    )


def _check(options: CorrespondOptions, encoder: Encoder) -> None:
    for name, least in (("size", 1), ("top", 1), ("drawn", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name}={value}: expected {least} or more")
    share = options.foreground
    if share is None:
        return
    if not 0 < share <= 1:
        raise UserError(f"--foreground={share:g}: expected a share above 0 and at most 1")
    if not encoder.heads:
        raise UserError(
            f"--foreground={share:g}: {encoder.name} has no attention to say what it is"
        )


def _described(
    encoder: Encoder, photograph: Photograph, share: float | None
) -> tuple[Float[np.ndarray, "patches d"], Bool[np.ndarray, " patches"]]:
    """The features of the patches, and which are foreground (all where none is asked for)."""

    @functools.partial(jax.jit, static_argnames="attention")
    def features(params: Params, images: jax.Array, *, attention: bool) -> Features:
        return encoder.features(params, encoder.prepared(images), attention=attention)

    found = features(encoder.params, photograph.pixels[None], attention=share is not None)
    patches = finite(np.asarray(found.patches[0], np.float32), encoder)
    if share is None or found.attention is None:
        return patches, np.ones(len(patches), bool)
    of_cls = np.asarray(found.attention, np.float32)[0, :, 0, 1:].mean(axis=0)
    return patches, mass_masks(finite(of_cls, encoder), share)


def _write(
    request: Request,
    photographs: list[Photograph],
    matches: Matches,
    places: tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2"]],
) -> tuple[pathlib.Path, ...]:
    """Pixels are those of the upright originals, x to the right; (0, 0) is the first's centre."""
    options, folder = request.options, request.out or pathlib.Path()
    triples = zip(*(each.tolist() for each in (*places, matches.similarity)), strict=True)
    made: dict[str, Any] = {
        "weights": request.network.spec,
        "images": [
            {
                "name": each.name,
                "height": each.original.shape[0],
                "width": each.original.shape[1],
                "read_at": list(each.pixels.shape[:2]),
                "patch_grid": list(each.grid),
            }
            for each in photographs
        ],
        "mutual": options.mutual,
        "foreground": options.foreground,
        "matches": [
            {
                "first": [round(value, 2) for value in one],
                "second": [round(value, 2) for value in other],
                "similarity": round(similarity, 6),
            }
            for one, other, similarity in triples
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "matches.json"
    path.write_text(json.dumps(printable(made), indent=1) + "\n", encoding="utf-8")
    return (path,)
