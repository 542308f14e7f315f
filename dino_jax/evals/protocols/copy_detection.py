"""`copy-detection`: attacked copies of photographs (reference: eval_copy_detection.py)."""

import logging
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from dino_jax.config import UserError
from dino_jax.config.protocol_options import CopyDetectionOptions
from dino_jax.data.instances import Stretched
from dino_jax.data.source import Source
from dino_jax.data.sources import open_source
from dino_jax.evals.features import FeatureFunction
from dino_jax.evals.instances.copydays import (
    FULL,
    ORIGINAL,
    STRONG,
    Copydays,
    by_original,
    copydays,
    mean_over_queries,
)
from dino_jax.evals.instances.sized import check_side, exact_features, square_features
from dino_jax.evals.protocol import Report, Request, Sample
from dino_jax.interop.encoder import Encoder
from dino_jax.ops import neighbours, pooling, ranking, whitening
from dino_jax.types import Params

_LOG = logging.getLogger(__name__)

Rows = Float[np.ndarray, "_ d"]
HIGHEST_POWER = 16
"""To which numbers up to 255 can be raised in float32."""


def run(request: Request) -> Report:
    """Look for the original of every attacked copy among originals and distractors.

    Raises:
        UserError: the folder is not laid out as Copydays, an image of it cannot be read, or there
        are fewer images than are looked at.
    """
    options: CopyDetectionOptions = request.options
    _check(options, request.network)
    source = _squares(request, request.data)
    layout = copydays([source.name(number) for number in range(len(source))], request.data)
    numbers = np.unique([number for each in layout.attacks.values() for number in each])
    rows = exact_features(
        request,
        source,
        numbers,
        side=options.side,
        what=_what(options),
        function=_described(request.network, options.power),
    )
    originals = rows[np.searchsorted(numbers, layout.originals)]
    notes: list[str] = []
    others = _of_folder(request, options.distractors, notes) if options.distractors else rows[:0]
    database = np.concatenate([originals, others])
    if len(database) < options.top:
        raise UserError(
            f"--top={options.top}: the database has {len(database)} images; lower --top or add "
            "images by --distractors"
        )
    notes.insert(0, f"Squares of {options.side} pixels; {len(others)} distractors.")
    if options.whiten is not None:
        learned = _learned(request, options.whiten, options, notes)
        rows, database = learned(rows), learned(database)
    else:
        notes.append("Not whitened, unlike the paper's figures: see --whiten.")
    return _report(layout, precisions(rows, database, numbers, layout, options), len(others), notes)


def precisions(
    queries: Rows,
    database: Rows,
    numbers: np.ndarray,
    layout: Copydays,
    options: CopyDetectionOptions,
) -> dict[int, float]:
    """Average precision of every image as a query, by its number in the source.

    The originals are the first of the database; what ranks below the `top` results counts as not
    found.
    """
    _, found = neighbours.nearest(
        neighbours.unit(queries), neighbours.unit(database), k=options.top
    )
    scored = {}
    for number, order in zip(numbers.tolist(), np.asarray(found), strict=True):
        query = ranking.ranked_query(order, layout.positives[number])
        scored[number] = 0.0 if query is None else query.average_precision
    return scored


def _report(
    layout: Copydays, precision: Mapping[int, float], others: int, notes: list[str]
) -> Report:
    def sample(numbers: tuple[int, ...]) -> Sample:
        return Sample(by_original(precision, layout, numbers), mean_over_queries)

    known = "copydays_" if layout.full else ""
    groups = {STRONG: "strong", "jpegqual": "jpeg", "crops": "crops"}
    samples, titles = {}, {}
    for kind, short in groups.items():
        own = sum((each for name, each in layout.attacks.items() if name.startswith(kind)), ())
        if own:
            samples[f"{known}{short}_map"] = sample(own)
            titles[f"{known}{short}_map"] = f"{short} mAP"
    attacked = sum((each for name, each in layout.attacks.items() if name != ORIGINAL), ())
    samples[f"{known}attacks_map"] = sample(attacked)
    titles[f"{known}attacks_map"] = "all attacks mAP"
    if known and others == 0:
        notes.append(f"The paper adds 10,000 distractors to the {FULL[ORIGINAL]} originals.")
    return Report(
        title=(
            f"copy detection: {len(attacked)} attacks among {len(layout.originals) + others} images"
        ),
        samples=samples,
        titles=titles,
        notes=(*notes, "Intervals draw originals, each with all its copies."),
        values={
            f"{name.replace('/', '_')}_map": sample(each).value
            for name, each in layout.attacks.items()
        },
    )


def _squares(request: Request, spec: str) -> Source:
    source = open_source(spec, channels=request.network.channels)
    return Stretched(source, request.options.side)


def _of_folder(request: Request, spec: str, notes: list[str]) -> Rows:
    """Features of all images of a source that can be read; the others are named and left out."""
    options: CopyDetectionOptions = request.options
    source = _squares(request, spec)
    rows, _ = square_features(
        request,
        source,
        side=options.side,
        what=_what(options),
        function=_described(request.network, options.power),
    )
    if missing := len(source) - len(rows):
        notes.append(f"{missing} of the {len(source)} images of {spec} could not be read.")
    return rows


def _learned(
    request: Request, spec: str, options: CopyDetectionOptions, notes: list[str]
) -> whitening.Whitening:
    """The whitening of the images of a source, with a note on it; a warning if they are few."""
    rows = _of_folder(request, spec, notes)
    images, width = rows.shape
    kept = options.dimensions or width
    if kept > width:
        raise UserError(f"--dimensions={kept}: the features have {width}")
    if images < kept:
        _LOG.warning(
            "whitening of %d dimensions is learned from %d images: the directions that these do "
            "not span are all amplified alike; give more images by --whiten, or lower --dimensions",
            kept,
            images,
        )
    form: whitening.Form = "centred" if options.whitening == "centred" else "reference"
    try:
        learned = whitening.learned(rows, dimensions=options.dimensions, form=form)
    except ValueError as error:
        raise UserError(f"--whiten={spec}: {error}; give others") from None
    about = "the mean" if form == "centred" else "zero, as the original does"
    floored = f", {learned.floored} of which had next to no variance" if learned.floored else ""
    notes.append(
        f"{request.network.name}: whitened by the moments of {images} images about {about}; "
        f"{kept} dimensions kept of {width}{floored}."
    )
    return learned


def _what(options: CopyDetectionOptions) -> str:
    return f"cls+gem {options.power:g}" if options.power else "cls"


def _described(encoder: Encoder, power: float) -> FeatureFunction:
    def describe(params: Params, images: Array) -> Array:
        found = encoder.features(params, images)
        if not power:
            return found.cls
        return jnp.concatenate([found.cls, pooling.gem(found.patches, power=power)], axis=1)

    return describe


def _check(options: CopyDetectionOptions, encoder: Encoder) -> None:
    check_side("side", options.side, encoder.patch_size)
    for name in ("top", "dimensions"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"--{name}={value}: expected at least 1")
    if not 0 <= options.power <= HIGHEST_POWER:
        raise UserError(
            f"--power={options.power:g}: expected 0 (the class token alone) to {HIGHEST_POWER}, "
            "since higher powers leave the range of numbers"
        )
