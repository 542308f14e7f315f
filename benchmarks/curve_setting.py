"""The setting of the stored run of the original on CIFAR-10, and how runs are held against it.

What `golden/README.md` and `curve_fast.json` say, plus what they leave out, which the twelve
stored crop batches tell: fitting boxes to the stored crops (best grey correlation over all boxes)
gives areas from 0.41 to 0.91 for the global ones and 0.06 to 0.40 for the local ones, so the
released defaults (0.4, 1) and (0.05, 0.4); 22 % of the second view's crops, and 3 % of the
first's, have no level above 128, so solarisation with probability 0.2 stayed; a fifth of all
crops are grey. The stored schedules begin with 60 steps of warm-up, one of ten pseudo-epochs.

No framework is imported here: our program and the one that drives the original both read it.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Setting:
    """One small run; epochs are pseudo-epochs of `steps // epochs` steps."""

    steps: int = 600
    epochs: int = 10
    batch: int = 128
    width: int = 128
    depth: int = 4
    heads: int = 4
    patch: int = 8
    image: int = 32
    local: int = 16
    locals_: int = 4
    prototypes: int = 1024
    hidden: int = 512
    learning_rate: float = 0.001  # of the whole batch, not per 256
    min_learning_rate: float = 1e-6
    weight_decay: float = 0.04
    weight_decay_end: float = 0.4
    momentum: float = 0.99
    temperature: float = 0.04
    clip: float = 3.0
    warmup_epochs: int = 1
    freeze_epochs: int = 1
    global_scale: tuple[float, float] = (0.4, 1.0)
    local_scale: tuple[float, float] = (0.05, 0.4)
    bank: int = 10_000
    queries: int = 2_000
    neighbours: int = 20


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How runs compare: worst smoothed gap of the mean loss in units of what is allowed."""

    loss_gap: float
    """Largest |mean of the runs − the original| over the smoothed curve."""
    loss_share: float
    """The largest gap over what is allowed at that step: max(spread of the runs, 2 %)."""
    knn_gap: list[float]
    """Final k-NN of each run's teacher less the original's, points."""

    @property
    def holds(self) -> bool:
        """Whether the loss stays inside, and every run's k-NN within two points."""
        return self.loss_share <= 1 and all(abs(gap) <= 2 for gap in self.knn_gap)


def smoothed(values: Sequence[float], window: int) -> np.ndarray:
    """Running means over `window` values, as many as fit whole."""
    return np.convolve(np.asarray(values, np.float64), np.ones(window) / window, mode="valid")


def verdict(
    runs: Sequence[dict[str, Any]],
    losses: Sequence[float],
    knn: float,
    *,
    window: int = 50,
    others: Sequence[Sequence[float]] = (),
) -> Verdict:
    """Hold runs (`loss` per step, final `knn` of the teacher) against the original's.

    `others`: further loss curves of the original, that widen the spread where given.
    """
    ours = np.stack([smoothed(run["loss"], window) for run in runs])
    reference = smoothed(losses, window)
    spread = np.ptp(ours, axis=0)
    for other in others:
        spread = np.maximum(spread, np.abs(smoothed(other, window) - reference))
    allowed = np.maximum(spread, 0.02 * np.abs(reference))
    gap = np.abs(ours.mean(axis=0) - reference)
    return Verdict(
        loss_gap=float(gap.max()),
        loss_share=float((gap / allowed).max()),
        knn_gap=[round(run["knn"]["teacher"] - knn, 2) for run in runs],
    )
