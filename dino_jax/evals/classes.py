"""Labelled images to learn from and to be measured on, their classes matched by name."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from dino_jax.config import UserError
from dino_jax.data import multilabel
from dino_jax.data.randomness import permutation
from dino_jax.data.source import Source


class Labelled(NamedTuple):
    """Two sources with labels in one numbering, that of the first."""

    train: Source
    val: Source
    train_labels: Int[np.ndarray, " train"]
    val_labels: Int[np.ndarray, " val"]
    classes: int


def open_labelled(data: str, val: str | None, *, channels: int) -> Labelled:
    """Open the images of `--data` and `--val`; classes are matched by their names.

    Raises:
        UserError: no --val, a source without labels, a class that one of them lacks, one class.
    """
    return matched(*open_both(data, val, channels=channels))


def open_both(data: str, val: str | None, *, channels: int) -> tuple[Source, Source]:
    """The sources of `--data` and `--val`, of one label an image or of several.

    Raises:
        UserError: no --val, or a source that cannot be opened.
    """
    if val is None:
        raise UserError("--val is missing: name the images to measure on")
    train, held = (multilabel.open_labelled(spec, channels=channels) for spec in (data, val))
    return train, held


def matched(train: Source, held: Source) -> Labelled:
    """The labels of two sources in the numbering of the first; classes go by their names.

    Raises:
        UserError: a source without labels, a class that one of them lacks, one class.
    """
    labels = [labels_of(source) for source in (train, held)]
    if train.class_names and held.class_names:
        labels[1] = _renumbered(train, held, labels[1])
    classes = max(len(train.class_names), *(int(each.max()) + 1 for each in labels))
    present = [np.unique(each) for each in labels]
    if len(present[0]) < 2:
        raise UserError(f"{train.spec} has one class: expected two or more to tell apart")
    for source, own, other in ((train, 0, 1), (held, 1, 0)):
        if len(lacking := np.setdiff1d(present[other], present[own])):
            raise UserError(_lacks(source.spec, train, int(lacking[0])))
    return Labelled(train, held, labels[0], labels[1], classes)


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


def _renumbered(train: Source, val: Source, labels: np.ndarray) -> Int[np.ndarray, " n"]:
    """The labels of `val` in the numbering of `train`."""
    number = {name: index for index, name in enumerate(train.class_names)}
    if unknown := sorted(set(val.class_names) - set(number)):
        raise UserError(_lacks(train.spec, val, val.class_names.index(unknown[0])))
    return np.array([number[name] for name in val.class_names], np.int64)[labels]


def _lacks(spec: str, named: Source, label: int) -> str:
    name = named.class_names[label] if label < len(named.class_names) else label
    return f"{spec} has no images of the class {name!r}: --data and --val need the same classes"
