"""Labelled images to learn from and to be measured on, their classes matched by name."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from dino_jax.config import UserError
from dino_jax.data import multilabel
from dino_jax.data.holdout import Subset
from dino_jax.data.randomness import permutation
from dino_jax.data.source import Source

log = logging.getLogger(__name__)
SHOWN = 3
"""Classes that a note names, at most."""


class Labelled(NamedTuple):
    """Two sources with labels in one numbering, that of the first."""

    train: Source
    val: Source
    train_labels: Int[np.ndarray, " train"]
    val_labels: Int[np.ndarray, " val"]
    classes: tuple[str, ...]
    """Their names, or their numbers where they have none."""
    notes: tuple[str, ...]
    """What to say of classes that only one of the two has images of."""


def open_labelled(data: str, val: str | None, *, channels: int) -> Labelled:
    """Open the images of `--data` and `--val`, match their classes, and log the notes.

    Raises:
        UserError: no --val, a source that cannot be opened, or what `matched` refuses.
    """
    found = matched(*open_both(data, val, channels=channels))
    announce(found)
    return found


def open_both(data: str, val: str | None, *, channels: int) -> tuple[Source, Source]:
    """The sources of `--data` and `--val`, of one label an image or of several.

    Raises:
        UserError: no --val, or a source that cannot be opened.
    """
    if val is None:
        raise UserError("--val is missing: name the images to measure on")
    train, held = (multilabel.open_labelled(spec, channels=channels) for spec in (data, val))
    return train, held


def matched(train: Source, held: Source, *, fewest: int = 2) -> Labelled:
    """The labels of two sources in the numbering of the first.

    Classes go by their names, or by number where one of the two has no names. One that `held` has
    no image of is noted; so is one of which `held`, split off from the same images, took them all.

    Raises:
        UserError: a source without labels, another class that `train` has no image of, or images
            of fewer than `fewest` classes in `train`.
    """
    train_labels = labels_of(train)
    names, val_labels = _numbered_alike(train, held)
    learnt, measured = np.unique(train_labels), np.unique(val_labels)
    if len(learnt) < fewest:
        raise UserError(f"{train.spec} has one class: expected two or more to tell apart")
    notes = []
    if len(unlearnt := np.setdiff1d(measured, learnt)):
        if not isinstance(held, Subset):
            raise UserError(
                f"{train.spec} has no image of the class {names[unlearnt[0]]!r}, and {held.spec} "
                "has: classes go by their names"
            )
        notes.append(f"All images of {_some(names, unlearnt)} are held out.")
    if len(unmeasured := np.setdiff1d(learnt, measured)):
        part = "The held-out part of " if isinstance(held, Subset) else ""
        notes.append(f"{part}{held.spec} has no image of {_some(names, unmeasured)}.")
    classes = train.class_names or names
    return Labelled(train, held, train_labels, val_labels, classes, tuple(notes))


def announce(found: Labelled) -> None:
    """Log the notes at the start of what may take long: the wrong images may have been named.

    Not those on images split off from the others, which nobody named.
    """
    if not isinstance(found.val, Subset):
        for note in found.notes:
            log.warning("%s", note)


def labels_of(source: Source) -> Int[np.ndarray, " n"]:
    """The classes of a source.

    Raises:
        UserError: it has none.
    """
    if isinstance(source, multilabel.MultiLabelled):
        raise UserError(f"{source.spec} has several labels to an image: expected one class each")
    if source.labels is None:
        raise UserError(f"{source.spec} has no labels: expected a folder to each class")
    return np.asarray(source.labels)


def hold_out(
    labels: Int[np.ndarray, " n"], share: float, *, seed: int, most: int | None = None
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " held"]]:
    """Split examples into those to learn from and a `share` in (0, 1) to choose by.

    Of every class the same share, at least one but never the last, by `seed`; both in order. At
    most about `most` are held out.
    """
    if most is not None:
        share = min(share, most / len(labels))
    held = []
    for members in members_of(labels, seed=seed):
        number = min(max(1, round(share * len(members))), len(members) - 1)
        held.append(members[:number])
    chosen = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def folds(
    labels: Int[np.ndarray, " n"], number: int, *, seed: int
) -> list[Int[np.ndarray, " held"]]:
    """Parts of the examples, by `seed`, each with about as many of every class.

    The only example of a class is in none. Parts may be empty.
    """
    members = [each for each in members_of(labels, seed=seed) if len(each) > 1]
    parts = [[each[k::number] for each in members] for k in range(number)]
    return [np.sort(np.concatenate([np.zeros(0, np.int64), *part])) for part in parts]


def members_of(labels: Int[np.ndarray, " n"], *, seed: int) -> list[Int[np.ndarray, " members"]]:
    """The examples of every class that occurs, each class in an order drawn by `seed`."""
    order = permutation(seed, 0, len(labels))
    return [order[labels[order] == each] for each in np.unique(labels)]


def _numbered_alike(train: Source, held: Source) -> tuple[tuple[str, ...], Int[np.ndarray, " n"]]:
    """The names of the classes of both, those of `train` first; the labels of `held` by them."""
    names, labels = train.class_names, labels_of(held)
    if names and held.class_names:
        names += tuple(name for name in held.class_names if name not in set(names))
        number = {name: index for index, name in enumerate(names)}
        return names, np.array([number[name] for name in held.class_names], np.int64)[labels]
    most = 1 + max(int(labels.max()), int(labels_of(train).max()))
    return names + tuple(map(str, range(len(names), most))), labels


def _some(names: Sequence[str], numbers: Int[np.ndarray, " classes"]) -> str:
    """How many classes they are, and what the first of them are called."""
    shown = ", ".join(names[number] for number in numbers[:SHOWN])
    if len(numbers) == 1:
        return f"the class {shown}"
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return f"{len(numbers)} classes ({shown}{more})"
