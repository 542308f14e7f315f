"""The bank and the queries of a nearest-neighbour vote, with labels in one numbering."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from dino_jax.config import UserError
from dino_jax.data.holdout import train_and_held_out
from dino_jax.data.multilabel import KIND, MultiLabelled, open_labelled
from dino_jax.data.source import Source
from dino_jax.evals.classes import announce, matched


class Sets(NamedTuple):
    """The bank and the queries; labels are a class each, or which classes each shows."""

    bank: Source
    queries: Source
    bank_labels: Int[np.ndarray, " n"] | Bool[np.ndarray, "n classes"]
    query_labels: Int[np.ndarray, " m"] | Bool[np.ndarray, "m classes"]
    classes: int
    ignored: Bool[np.ndarray, "m classes"] | None
    notes: tuple[str, ...]


def open_sets(data: str, val: str | None, channels: int) -> Sets:
    """Open the images of `--data` and `--val`, or a held-out part of `--data` without the latter.

    Raises:
        UserError: images without labels, a class of the queries that the bank lacks, one class.
    """
    if any(spec is not None and spec.startswith(f"{KIND}:") for spec in (data, val)):
        return _several_labels(data, val, channels)
    bank, queries = train_and_held_out(data, val, channels=channels)
    found = matched(bank, queries)
    announce(found)
    notes = list(found.notes)
    if val is None:
        notes.insert(0, f"The queries are held out from {data}, since no --val is named.")
    labels = found.train_labels, found.val_labels
    return Sets(bank, queries, *labels, len(found.classes), None, tuple(notes))


def _several_labels(data: str, val: str | None, channels: int) -> Sets:
    if val is None:
        raise UserError("--val is missing: name the split to score, as voc:PATH:SPLIT")
    bank, queries = (open_labelled(spec, channels=channels) for spec in (data, val))
    if not (isinstance(bank, MultiLabelled) and isinstance(queries, MultiLabelled)):
        raise UserError(f"{data} and {val}: expected several labels in both (voc:) or in neither")
    if unknown := sorted(set(queries.class_names) ^ set(bank.class_names)):
        raise UserError(f"only one of {data} and {val} has the class {unknown[0]!r}")
    order = [queries.class_names.index(name) for name in bank.class_names]
    shown, ignored = queries.relevant[:, order], queries.ignored[:, order]
    never = [bank.class_names[each] for each in np.flatnonzero(~shown.any(axis=0))]
    notes = [f"No query shows {', '.join(never)}: not counted in the mean."] if never else []
    classes = len(bank.class_names)
    return Sets(bank, queries, bank.relevant, shown, classes, ignored, tuple(notes))
