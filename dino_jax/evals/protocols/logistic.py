"""Logistic regression on frozen features, at parts of the labels (paper, tables 10 and 12)."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from dino_jax.config import UserError
from dino_jax.config.protocol_options import LogisticOptions
from dino_jax.data.source import Source
from dino_jax.evals.linear.features import one_feature
from dino_jax.evals.logistic.fitting import Found, Search, Targets, common_length, fitted, scaled
from dino_jax.evals.logistic.labels import Images, open_images
from dino_jax.evals.logistic.subsets import FEW, balanced, held_out_parts, listed, share
from dino_jax.evals.protocol import Report, Request, Sample
from dino_jax.ops import scores
from dino_jax.ops.precision import Form, as_units, percent_of_units

TITLE = "Logistic regression on frozen features"


class Features(NamedTuple):
    """Features of the images that could be read, which these are, and their targets."""

    rows: np.ndarray
    examples: np.ndarray
    targets: Targets


def run(request: Request) -> Report:
    """Fit at each part of the labels and measure on `--val`.

    Figures, percent: `logistic_10_top1` and `logistic_10_top5` for 10 % of the labels and so on
    (`logistic_subset_top1` of a list), or `logistic_10_map` of images with several labels.
    """
    options: LogisticOptions = request.options
    _check(options)
    images = open_images(request.data, request.val, channels=request.network.channels)
    train = _features(request, images.train, images.train_targets)
    val = _features(request, images.val, images.val_targets)
    length = None if options.normalise else common_length(train.rows)
    answered = scaled(val.rows, length=length)
    samples: dict[str, Sample] = {}
    titles: dict[str, str] = {}
    values: dict[str, Any] = {}
    for name, said, rows in _parts(request, images, train):
        found = _fit(request, scaled(train.rows[rows], length=length), train.targets.of(rows))
        of_part = _figures(found, answered, val.targets, options)
        samples |= {f"logistic_{name}_{figure}": each for figure, each in of_part.items()}
        titles |= {f"logistic_{name}_{figure}": f"{said}: {_SAID[figure]}" for figure in of_part}
        values[f"logistic_{name}"] = _told(found, len(rows))
    return Report(TITLE, samples, titles, (_note(options), *images.notes), values)


_SAID = {"top1": "top-1", "top5": "top-5", "map": "mAP"}


def _features(request: Request, source: Source, targets: Targets) -> Features:
    inputs = one_feature(request.network)
    rows, index = request.store.features(
        request.network, source, what=inputs.what, function=inputs.function, mesh=request.mesh,
        batch_size=request.batch_size,
    )  # fmt: skip
    return Features(rows, index, targets.of(index))


def _parts(request: Request, images: Images, train: Features) -> list[tuple[str, str, np.ndarray]]:
    """The name of each part of the labels, what it is, and its rows of the features."""
    options = request.options
    if options.subset is not None:
        chosen = listed(options.subset, images.train)
        return [("subset", "listed", np.flatnonzero(np.isin(train.examples, chosen)))]
    labels = train.targets.values
    choose: Callable[[float], np.ndarray] = (
        partial(share, len(labels), seed=request.seed)
        if train.targets.several
        else partial(balanced, labels, seed=request.seed)
    )
    return [(f"{each:g}", f"{each:g} %", choose(each)) for each in options.labels]


def _fit(request: Request, rows: np.ndarray, targets: Targets) -> Found:
    options: LogisticOptions = request.options
    penalties = options.l2s if options.l2 is None else (options.l2,)

    def split() -> list[np.ndarray]:
        return held_out_parts(targets, options.held_out, seed=request.seed)

    search = Search(penalties, options.iterations, request.mesh, _form(options))
    return fitted(rows, targets, split, search)


def _figures(
    found: Found, features: np.ndarray, targets: Targets, options: LogisticOptions
) -> dict[str, Sample]:
    answers = found.logits(features)
    if targets.several:
        units = as_units(answers, targets.values, targets.ignored)
        return {"map": Sample(units, partial(percent_of_units, form=_form(options)))}
    shown = scores.hits(answers, targets.values)
    return {name: Sample(units) for name, units in shown.items()}


def _told(found: Found, number: int) -> Mapping[str, Any]:
    return {
        "images": number,
        "l2": found.l2,
        "held_out_by_l2": {f"{l2:g}": value for l2, value in found.by_penalty.items()},
        "objective": float(found.fit.objective),
        "iterations": int(found.fit.iterations),
    }


def _note(options: LogisticOptions) -> str:
    scale = "of length one" if options.normalise else "of a mean squared length of one"
    chosen = (
        f"chosen on {options.held_out:.0%} of the labelled images (of {FEW:,} or fewer, on each "
        "such part in turn), which are then fitted too"
        if options.l2 is None
        else f"{options.l2:g}"
    )
    return f"logistic: features {scale}, L-BFGS, penalty {chosen}"


def _form(options: LogisticOptions) -> Form:
    forms: dict[str, Form] = {"eleven": "eleven", "area": "area", "step": "step"}
    return forms[options.precision_form]


def _check(options: LogisticOptions) -> None:
    if not options.labels or not all(0 < each <= 100 for each in options.labels):
        raise UserError(
            f"--labels={','.join(f'{each:g}' for each in options.labels)}: expected percentages "
            "above 0, to 100"
        )
    penalties = options.l2s if options.l2 is None else (options.l2,)
    if not penalties or min(penalties) < 0:
        flag = "--l2s" if options.l2 is None else "--l2"
        raise UserError(f"{flag}={','.join(map(str, penalties))}: expected weights of 0 or more")
    if not 0 < options.held_out < 1:
        raise UserError(f"--held-out={options.held_out}: expected a share between 0 and 1")
    if options.iterations < 1:
        raise UserError(f"--iterations={options.iterations}: expected 1 or more")
