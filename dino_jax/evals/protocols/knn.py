"""Weighted nearest neighbours among frozen features (eval_knn.py; paper, section 4.1)."""

import functools
from typing import cast

import numpy as np
from jaxtyping import Float, Int

from dino_jax.config import UserError
from dino_jax.config.protocol_options import KnnOptions
from dino_jax.data.source import Source
from dino_jax.evals.bank import Sets, open_sets
from dino_jax.evals.protocol import Report, Request, Sample
from dino_jax.interop.encoder import Encoder
from dino_jax.ops.neighbours import knn_votes
from dino_jax.ops.precision import Form, as_units, percent_of_units
from dino_jax.ops.scores import hits


def run(request: Request) -> Report:
    """Score the queries (`val`, or a held-out part of `data`) by their neighbours in `data`.

    Raises:
        UserError: images without labels, a class of `val` that `data` lacks, fewer images than k.
    """
    encoder, options = request.network, request.options
    _check(options)
    sets = open_sets(request.data, request.val, encoder.channels)
    _fitting(options, len(sets.bank), request.data)
    bank, bank_index = _features(request, encoder, sets.bank)
    queries, index = _features(request, encoder, sets.queries)
    ks = _fitting(options, len(bank_index), f"readable in {request.data}")
    votes = knn_votes(
        queries,
        bank,
        sets.bank_labels[bank_index],
        k=ks,
        temperature=options.temperature,
        classes=sets.classes,
        mesh=request.mesh,
    )
    samples, titles = {}, {}
    for k in ks:
        for name, (title, sample) in _scored(votes[k], sets, index, options).items():
            samples[f"knn{k}_{name}"], titles[f"knn{k}_{name}"] = sample, f"{k}-NN {title}"
    said = (
        f"k-NN of {len(index)} images among {len(bank_index)}, temperature {options.temperature}."
    )
    notes = (said, *_left_out(options, ks, len(bank_index)), *sets.notes)
    return Report("Weighted k-NN", samples, titles, notes)


def _check(options: KnnOptions) -> None:
    if not options.k or min(options.k) < 1:
        raise UserError("--k: expected numbers of neighbours from 1 up, such as --k=10,20")
    if not options.temperature > 0:
        raise UserError(f"--temperature={options.temperature}: expected more than 0")


def _fitting(options: KnnOptions, count: int, where: str) -> tuple[int, ...]:
    """The numbers of neighbours that there are images for: all, or of the default some."""
    fitting = tuple(k for k in options.k if k <= count)
    default = options.k == KnnOptions().k
    if len(fitting) == len(options.k) or (default and fitting):
        return fitting
    wanted = min(options.k) if default else max(options.k)
    raise UserError(
        f"--k={wanted} wants {wanted} images, but there are {count} in {where}: give more, or a "
        "smaller --k"
    )


def _left_out(options: KnnOptions, ks: tuple[int, ...], count: int) -> list[str]:
    more = ",".join(str(k) for k in options.k if k not in ks)
    return [f"--k={more}: more than the {count} images of the bank, so left out."] if more else []


def _features(
    request: Request, encoder: Encoder, source: Source
) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
    return request.store.features(
        encoder,
        source,
        what="cls",
        function=lambda params, images: encoder.features(params, images).cls,
        mesh=request.mesh,
        batch_size=request.batch_size,
    )


def _scored(
    votes: Float[np.ndarray, "m classes"],
    sets: Sets,
    index: Int[np.ndarray, " m"],
    options: KnnOptions,
) -> dict[str, tuple[str, Sample]]:
    """Figures by name, with their titles."""
    labels = sets.query_labels[index]
    if sets.ignored is None:
        found = hits(votes, labels)
        return {name: (f"top-{name[3:]}", Sample(each)) for name, each in found.items()}
    units = as_units(votes, labels, sets.ignored[index])
    statistic = functools.partial(percent_of_units, form=cast(Form, options.precision_form))
    return {"map": ("mAP", Sample(units, statistic))}
