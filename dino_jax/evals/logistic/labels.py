"""The labels of two sources as targets: one class to an image, or any number of labels."""

from typing import NamedTuple

import numpy as np

from dino_jax.config import UserError
from dino_jax.data.multilabel import MultiLabelled
from dino_jax.data.source import Source
from dino_jax.evals.classes import announce, matched, open_both
from dino_jax.evals.logistic.fitting import Targets


class Images(NamedTuple):
    """Images to learn from and to measure on, with targets in one numbering."""

    train: Source
    val: Source
    train_targets: Targets
    val_targets: Targets
    notes: tuple[str, ...] = ()


def open_images(data: str, val: str | None, *, channels: int) -> Images:
    """Open `--data` and `--val`.

    Raises:
        UserError: no labels, a class that is only measured, one class, or several labels in one of
            them alone.
    """
    train, held = open_both(data, val, channels=channels)
    if isinstance(train, MultiLabelled) and isinstance(held, MultiLabelled):
        return _several(train, held)
    found = matched(train, held)
    announce(found)
    classes = len(found.classes)
    return Images(
        train, held,
        Targets(found.train_labels, classes),
        Targets(found.val_labels, classes),
        found.notes,
    )  # fmt: skip


def _several(train: MultiLabelled, held: MultiLabelled) -> Images:
    names = train.class_names
    if sorted(names) != sorted(held.class_names):
        odd = sorted(set(names) ^ set(held.class_names))[0]
        raise UserError(
            f"the class {odd!r} is in one of {train.spec} and {held.spec} alone: --data and --val "
            "need the same classes"
        )
    columns = np.array([held.class_names.index(name) for name in names])
    relevant, ignored = held.relevant[:, columns], held.ignored[:, columns]
    unlearnt = np.any(relevant, axis=0) & ~np.any(train.relevant, axis=0)
    if unlearnt.any():
        name = names[int(np.argmax(unlearnt))]
        raise UserError(f"{train.spec} has no images of the class {name!r}, and {held.spec} has")
    return Images(
        train, held,
        Targets(train.relevant, len(names), train.ignored),
        Targets(relevant, len(names), ignored),
    )  # fmt: skip
