"""`retrieval`: landmarks among database images, by cosine (reference: eval_image_retrieval.py)."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from dino_jax.config import UserError
from dino_jax.config.protocol_options import RetrievalOptions
from dino_jax.data.folder import folder_of
from dino_jax.evals.instances.ground_truth import GroundTruth, Query, read_ground_truth
from dino_jax.evals.instances.sized import check_side, landmark_features
from dino_jax.evals.protocol import Report, Request, Sample
from dino_jax.ops import ranking
from dino_jax.ops.ranking import CUTS, Ranked

Numbers = tuple[int, ...]

SETUPS: dict[str, tuple[Callable[[Query], Numbers], Callable[[Query], Numbers]]] = {
    "medium": (lambda query: query.easy + query.hard, lambda query: query.junk),
    "hard": (lambda query: query.hard, lambda query: query.junk + query.easy),
    "easy": (lambda query: query.easy, lambda query: query.junk + query.hard),
}
"""By name: what counts as found of a query, and what is taken out of its ranking."""
BENCHMARKS = ("roxford5k", "rparis6k")
"""Figures on these bear their names: published ones are told beside them, and no others."""


def run(request: Request) -> Report:
    """Rank the database for every query and score the rankings in three difficulties.

    Raises:
        UserError: the folder is not as the benchmark's, an image cannot be read, or no query has
        anything to find.
    """
    options: RetrievalOptions = request.options
    check_side("longest", options.longest, 1)
    truth = read_ground_truth(folder_of(request.data), options.ground_truth)
    boxes = [query.box for query in truth.queries]
    if options.crop_queries and None in boxes:
        missing = truth.files[boxes.index(None)].name
        raise UserError(f"--crop-queries: {missing} has no box (bbx) in gnd_{truth.name}")
    features = landmark_features(
        request,
        [*truth.images, *truth.files],
        [None] * len(truth.images) + (boxes if options.crop_queries else [None] * len(boxes)),
        longest=options.longest,
        multiscale=options.multiscale,
    )
    images, queries = np.split(features, [len(truth.images)])
    return report(truth, ranking.ranking(queries, images), options)


def report(
    truth: GroundTruth, orders: Int[np.ndarray, "queries images"], options: RetrievalOptions
) -> Report:
    """The figures of given rankings."""
    found = {
        name: ranking.ranked(orders, [*map(good, truth.queries)], [*map(bad, truth.queries)])
        for name, (good, bad) in SETUPS.items()
    }
    scored = {name: each for name, each in found.items() if _units(each).size}
    if not scored:
        raise UserError(f"no query of gnd_{truth.name} has an easy or a hard image to find")
    known = f"{truth.name}_" if truth.name in BENCHMARKS else ""
    return Report(
        title=(
            f"retrieval: {truth.name}, {len(truth.queries)} queries among {len(truth.images)} "
            "images, mAP"
        ),
        samples={f"{known}{name}_map": Sample(_units(each)) for name, each in scored.items()},
        titles={f"{known}{name}_map": f"{name} mAP" for name in scored},
        notes=_notes(found, options),
        values={
            f"{known}{name}_mp{cut}": 100 * value
            for name, each in scored.items()
            for cut, value in zip(CUTS, each.mean_precision, strict=True)
        },
    )


def _units(scored: Ranked) -> np.ndarray:
    return scored.average_precision[~np.isnan(scored.average_precision)]


def _notes(found: dict[str, Ranked], options: RetrievalOptions) -> tuple[str, ...]:
    scales = "over the scales 1, 1/√2 and 1/2" if options.multiscale else "at one scale"
    queries = "cut to their boxes" if options.crop_queries else "whole"
    notes = [f"Images of at most {options.longest} pixels {scales}; queries {queries}."]
    for name, each in found.items():
        if left := int(np.isnan(each.average_precision).sum()):
            notes.append(f"{left} queries have nothing to find in {name} and are left out of it.")
    return tuple(notes)
