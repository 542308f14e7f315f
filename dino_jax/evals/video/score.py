"""J and F of predicted masks as the official evaluation of DAVIS-2017 has them, semi-supervised."""

import csv
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dino_jax.data.davis import Masks, Truth
from dino_jax.ops import boundary
from dino_jax.ops.boundary import Statistics

FIGURES = ("jf_mean", "j_mean", "j_recall", "j_decay", "f_mean", "f_recall", "f_decay")
"""In the order of the official table, whose headings are these."""
HEADINGS = ("J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay")


class ObjectScore(NamedTuple):
    """One object of one sequence (`SEQUENCE_OBJECT`), over the frames but the first and last."""

    name: str
    region: Statistics
    contour: Statistics

    def figures(self) -> Float[np.ndarray, "figures"]:
        """As `FIGURES`, each a fraction."""
        both = (self.region.mean + self.contour.mean) / 2
        return np.array([both, *self.region, *self.contour])


def score_objects(name: str, truth: Truth, predicted: Masks) -> list[ObjectScore]:
    """Score every object of a sequence; `predicted` leaves out the first and the last frame.

    An object is every number up to the highest of the first mask, as in the official evaluation,
    so one that the mask skips scores 1 where it isn't predicted.
    """
    found = []
    for number in range(1, truth.objects + 1):
        pairs = [
            (true == number, ours == number)
            for true, ours in zip(truth.masks[1:-1], predicted, strict=True)
        ]
        regions, contours = (
            boundary.statistics(np.array([measure(*pair) for pair in pairs]))
            for measure in (boundary.region_similarity, boundary.contour_accuracy)
        )
        found.append(ObjectScore(f"{name}_{number}", regions, contours))
    return found


def by_sequence(
    sequences: Sequence[Sequence[ObjectScore]],
) -> Float[np.ndarray, "sequences most figures"]:
    """The figures of every object, sequence by sequence, filled up with nan to the most objects.

    Objects of one sequence are not independent of each other, so it is sequences that a bootstrap
    draws.
    """
    found = np.full((len(sequences), max(map(len, sequences)), len(FIGURES)), np.nan)
    for row, scores in zip(found, sequences, strict=True):
        row[: len(scores)] = [score.figures() for score in scores]
    return found


def mean_over_objects(units: Float[np.ndarray, "sequences most"]) -> float:
    """The mean of one figure that `by_sequence` laid out, over all objects, in percent."""
    return 100 * float(np.nanmean(units))


def write_tables(
    folder: pathlib.Path, scores: Sequence[ObjectScore], *, split: str = "val"
) -> tuple[pathlib.Path, ...]:
    """Write the two tables of the official evaluation, to its three decimals; their paths."""
    overall = np.mean([score.figures() for score in scores], axis=0)
    tables: dict[str, list[Sequence[str]]] = {
        f"global_results-{split}.csv": [HEADINGS, [f"{value:.3f}" for value in overall]],
        f"per-sequence_results-{split}.csv": [
            ("Sequence", "J-Mean", "F-Mean"),
            *((s.name, f"{s.region.mean:.3f}", f"{s.contour.mean:.3f}") for s in scores),
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        with (folder / name).open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    return tuple(folder / name for name in tables)
