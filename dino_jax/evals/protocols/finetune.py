"""Full fine-tuning (paper, table 6; appendix A): the network and a classifier trained on labels."""

import json
import logging

from dino_jax.config import UserError
from dino_jax.evals.classes import open_labelled
from dino_jax.evals.finetune.network import classified, save
from dino_jax.evals.finetune.recipe import described, recipe_of
from dino_jax.evals.finetune.records import CURVE
from dino_jax.evals.finetune.run import Every, Run, Tuned, folder_of
from dino_jax.evals.protocol import Report, Request, Sample, percent
from dino_jax.interop.formats.safetensors import MAIN

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
    data = open_labelled(request.data, request.val, channels=encoder.channels)
    prepared = Run(
        encoder, data, recipe,
        folder=folder_of(request.out, encoder), mesh=request.mesh, seed=request.seed, every=every,
    )  # fmt: skip
    return prepared, data.notes


def _report(prepared: Run, tuned: Tuned, notes: tuple[str, ...]) -> Report:
    encoder, folder = prepared.encoder, tuned.folder
    samples: dict[str, Sample] = {}
    files = [folder / CURVE]
    for name, hits in tuned.hits.items():
        plain = name == "weights"
        leaves = tuned.state.params | tuned.state.stats if plain else tuned.state.average
        figures = {figure: percent(units) for figure, units in hits.items()}
        place = folder if plain else folder / name
        files.append(save(classified(prepared.network, leaves), encoder, place, scores=figures))
        prefix = "" if plain else f"{name}_"
        samples |= {prefix + figure: Sample(each) for figure, each in hits.items()}
    names = folder / "classes.json"
    names.write_text(json.dumps(list(prepared.data.classes), indent=1) + "\n")
    return Report(
        title=f"Fine-tuning on {prepared.data.train.spec}, scored on {prepared.data.val.spec}",
        samples=samples,
        titles={name: TITLES[name] for name in samples},
        notes=(*notes, f"{encoder.name}, tuned: use it as --weights={folder / MAIN}"),
        values={"steps": tuned.steps, "epochs": prepared.recipe.epochs, "recipe": prepared.asked()},
        files=(*files, names),
    )
