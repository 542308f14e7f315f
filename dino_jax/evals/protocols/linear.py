"""Linear classification of frozen features (eval_linear.py; paper, tables 2 and 7)."""

import numpy as np
from jaxtyping import Bool

from dino_jax.config import UserError
from dino_jax.data.sources import open_source
from dino_jax.evals.linear.export import write_head
from dino_jax.evals.linear.probe import (
    Features,
    Probe,
    few_choose,
    held_features,
    hits,
    open_probe,
    trained,
    val_features,
)
from dino_jax.evals.linear.released import answers, check_released, labels_of_head, released_inputs
from dino_jax.evals.linear.state import Progress
from dino_jax.evals.protocol import Report, Request, Sample, percent
from dino_jax.ops import scores

TITLE = "Linear classification of frozen features"
_TITLES = {"linear_top1": "linear top-1", "linear_top5": "linear top-5"}


def run(request: Request) -> Report:
    """Train a linear classifier, or ask the released one, and measure it on `--val`.

    Figures: `linear_top1` and `linear_top5`, percent; the second of more than five classes.

    Raises:
        UserError: options or images that do not fit, or weights that diverged.
        Interrupted: a signal came; the state is saved.
    """
    if request.options.head == "released":
        return _released(request)
    probe = open_probe(request)
    val = val_features(probe)
    progress = trained(probe, val)
    if request.options.protocol == "reference":
        return _best_epoch(probe, progress, val)
    return _best_rate(probe, progress, val)


def _best_rate(probe: Probe, progress: Progress, val: Features) -> Report:
    """The head whose learning rate did best on what was held out of the training images."""
    weights, biases = (np.asarray(each) for each in progress.heads[:2])
    held = held_features(probe)
    chosen_by = [
        percent(hits(weight, bias, held)["top1"]) if _finite(weight, bias) else -1.0
        for weight, bias in zip(weights, biases, strict=True)
    ]
    if max(chosen_by) < 0:
        raise UserError(
            f"no classifier of {probe.request.network.name} stayed finite, at any of --lrs: these "
            "weights diverged, or all rates are too high for them"
        )
    best = int(np.argmax(chosen_by))
    found = [hits(weight, bias, val) for weight, bias in zip(weights, biases, strict=True)]
    rate = probe.rates[best]
    said = (
        f"{_which(probe)}: {probe.inputs.said}; {len(probe.rates)} learning rates trained "
        f"together on {len(probe.learnt)} images for {probe.options.epochs} epochs, the one that "
        f"is best on {len(held.labels)} others of the training images measured"
    )
    notes = [said, *few_choose(len(held.labels))]
    if best in (0, len(probe.rates) - 1) and len(probe.rates) > 1:
        notes.append(
            f"{_which(probe)}: the best learning rate, {rate:g}, is at an end of --lrs: try "
            "beyond it"
        )
    told = {
        f"{each:g}": {
            "held_out_top1": None if chosen < 0 else chosen,
            **{name: None if chosen < 0 else percent(units) for name, units in of_rate.items()},
        }
        for each, chosen, of_rate in zip(probe.rates, chosen_by, found, strict=True)
    }
    return _report(
        probe, found[best], weights[best], biases[best], notes=notes,
        values={"linear_lr": rate, "linear_by_lr": told},
    )  # fmt: skip


def _which(probe: Probe) -> str:
    return f"linear of {probe.request.network.name}"


def _best_epoch(probe: Probe, progress: Progress, val: Features) -> Report:
    """What the original reports: the highest top-1 on `--val` of all epochs."""
    said = (
        f"{_which(probe)}: {probe.inputs.said}; the highest top-1 of {probe.options.epochs} "
        "epochs on the images measured, as the original reports"
    )
    best = int(np.argmax(progress.top1))
    weight, bias = progress.best_weight, progress.best_bias
    if not _finite(weight, bias):
        raise UserError(
            f"the classifier of {probe.request.network.name} did not stay finite at --lr="
            f"{probe.rates[0]:g}: these weights diverged, or the rate is too high for them"
        )
    return _report(
        probe, hits(weight, bias, val), weight, bias, notes=[said],
        values={
            "linear_lr": probe.rates[0], "linear_best_epoch": best,
            "linear_by_epoch": progress.top1.tolist(),
        },
    )  # fmt: skip


def _report(
    probe: Probe,
    found: dict[str, Bool[np.ndarray, " n"]],
    weight: np.ndarray,
    bias: np.ndarray,
    *,
    notes: list[str],
    values: dict[str, object],
) -> Report:
    out = probe.request.out
    names = probe.images.train.class_names
    files = write_head(out, weight, bias, class_names=names) if out else ()
    report = _figures(found)
    return report._replace(notes=(*notes, *probe.images.notes), values=values, files=files)


def _released(request: Request) -> Report:
    encoder, options = request.network, request.options
    weight, _ = check_released(encoder)
    if request.val is None:
        raise UserError("--val is missing: name the images to measure on")
    source = open_source(request.val, channels=encoder.channels)
    labels = labels_of_head(source, len(weight))
    inputs = released_inputs(encoder, options.n_last_blocks, options.avgpool)
    rows, index = request.store.features(
        encoder, source, what=inputs.what, function=inputs.function, mesh=request.mesh,
        batch_size=request.batch_size,
    )  # fmt: skip
    found = answers(encoder, rows)
    if not _finite(found):
        raise UserError(f"the answers of {encoder.name} are not all finite: these weights diverged")
    note = f"linear of {encoder.name}: its released head on {inputs.said}"
    return _figures(scores.hits(found, labels[index]))._replace(notes=(note,))


def _figures(found: dict[str, Bool[np.ndarray, " n"]]) -> Report:
    shown = {f"linear_{name}": Sample(units) for name, units in found.items()}
    return Report(TITLE, shown, {name: _TITLES[name] for name in shown})


def _finite(*arrays: np.ndarray) -> bool:
    return all(bool(np.isfinite(each).all()) for each in arrays)
