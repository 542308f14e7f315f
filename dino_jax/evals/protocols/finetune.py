"""Full fine-tuning (paper, table 6; appendix A): the network and a classifier trained on labels."""

import json
import logging

import numpy as np

from dino_jax.config import UserError
from dino_jax.data.source import Source
from dino_jax.data.sources import open_source
from dino_jax.evals.finetune.network import classified, save
from dino_jax.evals.finetune.recipe import described, recipe_of
from dino_jax.evals.finetune.records import CURVE
from dino_jax.evals.finetune.run import Every, Labelled, Run, Tuned, folder_of
from dino_jax.evals.knn import shared_labels
from dino_jax.evals.protocol import Report, Request, Sample

log = logging.getLogger(__name__)
TITLES = {
    "top1": "top-1", "top5": "top-5",
    "average_top1": "average top-1", "average_top5": "average top-5",
}  # fmt: skip


def run(request: Request) -> Report:
    """Train by the recipe, go on where an earlier call was interrupted, and score on `--val`.

    Raises:
        UserError: data, recipe or weights that do not fit.
        Interrupted: a signal came; the state is saved in `--out`.
    """
    prepared, notes = prepare(request)
    recipe = f"Recipe {request.options.recipe}: {described(prepared.recipe)}."
    log.info("%s", recipe)
    return _report(prepared, prepared.train(), (recipe, *notes))


def prepare(request: Request) -> tuple[Run, tuple[str, ...]]:
    """The run that a request asks for, and what to say of its images.

    Raises:
        UserError: data, recipe or weights that do not fit.
    """
    encoder, options = request.network, request.options
    if request.out is None or request.val is None:
        raise UserError("finetune needs --val=SPEC and --out=DIR")
    recipe = recipe_of(options)
    every = Every(
        options.eval_every, options.save_every, options.log_every, options.threads,
        options.accumulate,
    )  # fmt: skip
    data, notes = labelled(request.data, request.val, channels=encoder.channels)
    prepared = Run(
        encoder, data, recipe,
        folder=folder_of(request.out, encoder), mesh=request.mesh, seed=request.seed, every=every,
    )  # fmt: skip
    return prepared, notes


def labelled(data: str, val: str, *, channels: int) -> tuple[Labelled, tuple[str, ...]]:
    """Both sources with their labels in the numbering of the first, and what to say of them.

    Raises:
        UserError: no labels, or a class of `val` that `data` lacks.
    """
    train, held_out = (open_source(spec, channels=channels) for spec in (data, val))
    for source in (train, held_out):
        if source.labels is None:
            raise UserError(
                f"{source.spec} has no labels to train on or to score: give class folders"
            )
    train_labels, val_labels = shared_labels(train, held_out)
    classes = train.class_names or tuple(map(str, range(int(train_labels.max()) + 1)))
    if len(classes) < 2:
        raise UserError(f"{train.spec} has one class: there is nothing to tell apart")
    if val_labels.max() >= len(classes):
        raise UserError(f"{held_out.spec} has more classes than {train.spec}")
    missing = sorted(set(range(len(classes))) - set(np.unique(val_labels).tolist()))
    notes = (_missing(held_out, [classes[number] for number in missing]),) if missing else ()
    return Labelled(train, train_labels, held_out, val_labels, classes), notes


def _missing(source: Source, names: list[str]) -> str:
    shown = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
    return f"{source.spec} has no image of {len(names)} of the classes trained on: {shown}."


def _report(prepared: Run, tuned: Tuned, notes: tuple[str, ...]) -> Report:
    encoder, folder = prepared.encoder, tuned.folder
    samples: dict[str, Sample] = {}
    files = [folder / CURVE]
    for name, hits in tuned.hits.items():
        plain = name == "weights"
        leaves = tuned.state.params | tuned.state.stats if plain else tuned.state.average
        place = folder if plain else folder / name
        files.append(
            save(classified(prepared.network, leaves), encoder, place, scores=hits.figures())
        )
        prefix = "" if plain else f"{name}_"
        samples |= {prefix + figure: Sample(each) for figure, each in hits._asdict().items()}
    names = folder / "classes.json"
    names.write_text(json.dumps(list(prepared.data.classes), indent=1) + "\n")
    return Report(
        title=f"Fine-tuning on {prepared.data.train.spec}, scored on {prepared.data.val.spec}",
        samples=samples,
        titles={name: TITLES[name] for name in samples},
        notes=notes,
        values={"steps": tuned.steps, "epochs": prepared.recipe.epochs, "recipe": prepared.asked()},
        files=(*files, names),
    )
