"""`segment`: how well a linear map, or the nearest patches, tell what every pixel shows."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool

from dino_jax.config import UserError
from dino_jax.config.protocol_options import SegmentOptions
from dino_jax.data.masked import MaskedImages
from dino_jax.evals.dense.layouts import open_masked
from dino_jax.evals.dense.probes import Probe, fit_linear, nearest_patches
from dino_jax.evals.dense.stream import DenseExtractor, read_ahead
from dino_jax.evals.dense.tokens import Pair, Tokens, fitted_pair, patch_features, training_tokens
from dino_jax.evals.dense.waiting import say_patches, with_bar
from dino_jax.evals.protocol import Report, Request, Sample
from dino_jax.interop.encoder import check_patches
from dino_jax.ops.segmentation import (
    class_overlaps,
    confusion,
    mean_overlap,
    pixel_accuracy,
    pixel_classes,
)

PROBES = {"linear": "linear", "knn": "k-NN"}
"""By name: what the table calls them."""


def run(request: Request) -> Report:
    """Fit the probes on the training images and segment the others.

    The figures are the mean IoU and the accuracy by pixel, of each probe; an example is an image.
    """
    options, encoder = request.options, request.network
    _check(options)
    check_patches(encoder, options.size)
    say_patches(encoder, options.size, options.size)
    train, val = (
        open_masked(spec, subset, classes=options.classes, channels=encoder.channels)
        for spec, subset in (
            (request.data, options.train_set), (request.val or request.data, options.val_set),
        )
    )  # fmt: skip
    if train.class_names != val.class_names:
        raise UserError(
            f"{train.spec} has {len(train.class_names)} classes and {val.spec} "
            f"{len(val.class_names)}: the probes need the same"
        )
    extractor = patch_features(encoder, mesh=request.mesh, batch_size=request.batch_size)
    tokens = training_tokens(
        encoder, train, size=options.size, store=request.store, extractor=extractor
    )
    seen = tokens.shares.sum(axis=0) > 0
    if not seen.any():
        raise UserError(f"the masks of {train.spec} hold nothing but void")
    counts = _confusions(request, val, extractor, _fitted(request, tokens))
    shown = next(iter(counts.values())).sum(axis=(0, 2)) > 0
    if not shown.any():
        raise UserError(f"the masks of {val.spec} hold nothing but void")
    return _report(train, val, counts, options, _absent(train, seen, shown))


def _check(options: SegmentOptions) -> None:
    unknown = [each for each in options.probes if each not in PROBES]
    if unknown or not options.probes:
        raise UserError(f"--probes={','.join(options.probes)}: expected {' or '.join(PROBES)}")
    if min(options.k, options.bank, options.iterations) < 1:
        raise UserError("--k, --bank and --iterations: expected 1 or more of each")
    if options.temperature <= 0 or options.decay < 0:
        raise UserError("--temperature must be above 0, and --decay not below")
    if options.classes is not None and not 2 <= options.classes <= 255:
        raise UserError(f"--classes={options.classes}: expected 2 to 255, since masks hold bytes")


def _fitted(request: Request, tokens: Tokens) -> dict[str, Probe]:
    options = request.options
    probes: dict[str, Probe] = {}
    if "linear" in options.probes:
        probes["linear"] = fit_linear(
            tokens, decay=options.decay, iterations=options.iterations, mesh=request.mesh
        ).logits
    if "knn" in options.probes:
        probes["knn"] = nearest_patches(
            tokens, k=options.k, temperature=options.temperature, bank=options.bank,
            seed=request.seed,
        )  # fmt: skip
    return probes


def _confusions(
    request: Request,
    source: MaskedImages,
    extractor: DenseExtractor,
    probes: Mapping[str, Probe],
) -> dict[str, np.ndarray]:
    """The confusion of every image (n, classes, classes) of every probe."""
    encoder, classes = request.network, source.classes or 0

    def load(index: int) -> tuple[Pair, int]:
        return fitted_pair(source, encoder, request.options.size, index), index

    found = {name: np.zeros((len(source), classes, classes), np.int64) for name in probes}
    ahead = with_bar(read_ahead(load, range(len(source))), len(source), "segmented")
    for each in extractor((image, (labels, index)) for (image, labels), index in ahead):
        labels, index = each.rest
        patches = each.feature.reshape(each.rows * each.columns, -1)
        for name, probe in probes.items():
            logits = probe(patches).reshape(each.rows, each.columns, classes)
            predicted = pixel_classes(logits, height=labels.shape[0], width=labels.shape[1])
            found[name][index] = confusion(labels, np.asarray(predicted), classes)
    return found


def _report(
    train: MaskedImages,
    val: MaskedImages,
    counts: Mapping[str, np.ndarray],
    options: SegmentOptions,
    notes: tuple[str, ...],
) -> Report:
    samples, titles, values = {}, {}, {}
    for name, each in counts.items():
        samples[f"{name}_miou"] = Sample(each, mean_overlap)
        samples[f"{name}_accuracy"] = Sample(each, pixel_accuracy)
        titles[f"{name}_miou"] = f"{PROBES[name]} mIoU"
        titles[f"{name}_accuracy"] = f"{PROBES[name]} pixels"
        overlaps = 100 * class_overlaps(each.sum(axis=0))
        values[f"{name}_iou"] = {
            said: None if math.isnan(value) else float(value)
            for said, value in zip(val.class_names, overlaps, strict=True)
        }
    title = (
        f"Segmentation of {len(val)} images by patches, learned from {len(train)}; "
        f"short side {options.size} pixels"
    )
    return Report(title, samples, titles, notes, values)


def _absent(
    source: MaskedImages, seen: Bool[np.ndarray, "classes"], shown: Bool[np.ndarray, "classes"]
) -> tuple[str, ...]:
    """What to say of classes that are on one side only."""
    notes = []
    for said, which in (
        ("was not learned, since no training image shows it", shown & ~seen),
        ("is in no held-out image: it counts where it is predicted", seen & ~shown),
    ):
        if which.any():
            names = ", ".join(source.class_names[number] for number in np.flatnonzero(which))
            notes.append(f"{names} {said}.")
    return tuple(notes)
