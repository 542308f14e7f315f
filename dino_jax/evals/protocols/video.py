"""`video`: the first mask carried through DAVIS-2017 (reference: eval_video_segmentation.py)."""

import logging
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from dino_jax.config.protocol_options import VideoOptions
from dino_jax.data.davis import (
    Masks,
    Truth,
    Video,
    open_davis,
    predicted_paths,
    read_predictions,
    read_truth,
)
from dino_jax.data.folder import folder_of
from dino_jax.data.palette import write_indexed
from dino_jax.evals.protocol import Report, Request, Sample
from dino_jax.evals.video.propagate import Propagator, first_repeated
from dino_jax.evals.video.score import (
    FIGURES,
    HEADINGS,
    ObjectScore,
    by_sequence,
    mean_over_objects,
    score_objects,
    write_tables,
)

Predict = Callable[[Video, Truth], Masks]
"""The masks of a video but for the first frame's and the last's."""

_log = logging.getLogger(__name__)


def run(request: Request) -> Report:
    """Carry masks through every sequence, or take those of `--score`, and score them.

    The figures are J and F and their recall and decay, the mean over objects; an example is a
    sequence. With `--out` the masks are written as SEQUENCE/FRAME.png, and the official tables.

    Raises:
        UserError: the data are not laid out as DAVIS, a mask is missing, of another size or holds
            an unknown object, or an option does not suit the network.
    """
    options: VideoOptions = request.options
    videos = open_davis(folder_of(request.data), options.sequences)
    predict = _prediction(request)
    for video in videos:  # a mistake in the last sequence is told before the first is done
        if options.score is None:
            read_truth(video)
        else:
            predicted_paths(folder_of(options.score), video)
    scores: list[list[ObjectScore]] = []
    for number, video in enumerate(videos, 1):
        truth = read_truth(video)
        found = score_objects(video.name, truth, predict(video, truth))
        both = 100 * np.mean([score.figures()[0] for score in found])
        _log.info("%s (%d of %d): J&F %.1f", video.name, number, len(videos), both)
        scores.append(found)
    return _report(request, videos, scores)


def _prediction(request: Request) -> Predict:
    options: VideoOptions = request.options
    if options.score is not None:
        folder = folder_of(options.score)
        return lambda video, truth: read_predictions(folder, video, truth)
    if options.propagate == "first":
        return lambda video, truth: _kept(request, video, truth, list(first_repeated(truth)))
    propagator = Propagator(request.network, options, mesh=request.mesh)
    return lambda video, truth: _kept(request, video, truth, list(propagator(video, truth)))


def _kept(request: Request, video: Video, truth: Truth, found: Sequence[np.ndarray]) -> Masks:
    """Write the masks of a sequence where there is a folder; all but the first and last again."""
    if request.out is not None:
        for path, labels in zip(video.masks, [truth.masks[0], *found], strict=True):
            write_indexed(request.out / video.name / path.name, labels)
    return np.stack(found[:-1])


def _report(
    request: Request, videos: Sequence[Video], sequences: Sequence[Sequence[ObjectScore]]
) -> Report:
    scores = [score for each in sequences for score in each]
    table = by_sequence(sequences)
    files: tuple[pathlib.Path, ...] = ()
    if request.out is not None:
        files = write_tables(request.out, scores)
        if request.options.score is None:
            files += tuple(request.out / video.name for video in videos)
    return Report(
        title=f"DAVIS-2017: {len(scores)} objects in {len(videos)} sequences",
        samples={
            name: Sample(table[..., i], mean_over_objects, name.endswith("_decay"))
            for i, name in enumerate(FIGURES)
        },
        titles=dict(zip(FIGURES, (each.replace("-", " ") for each in HEADINGS), strict=True)),
        notes=(_note(request.options), "Intervals draw sequences."),
        values={"objects": {s.name: _fractions(s) for s in scores}},
        files=files,
        row="predictions" if request.options.score is not None else "first mask repeated",
    )


def _fractions(score: ObjectScore) -> dict[str, float]:
    return {name: 100 * float(each) for name, each in zip(FIGURES, score.figures(), strict=True)}


def _note(options: VideoOptions) -> str:
    skipped = "The first and the last frame are not scored."
    if options.score is not None:
        return skipped
    if options.propagate == "first":
        return f"The first mask is repeated, whatever moves. {skipped}"
    near = f"within {options.neighbourhood} patches" if options.neighbourhood else "anywhere"
    return (
        f"Frames of short side {options.size}; labels of the {options.top_k} most similar patches "
        f"{near} in the first frame and the {options.context} before. {skipped}"
    )
