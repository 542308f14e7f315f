"""Collapse, seen in the teacher's entropies and said in plain words (paper section 5.3, figure 7).

Never judged from k-NN or retrieval: at small scale those do not notice it.
"""

import math
from collections.abc import Mapping

PATIENCE = 20
"""Steps in a row that must look collapsed before the alarm."""

_ADVICE = {
    "one prototype": (
        "every image gets the same prototype (both entropies near 0): raise "
        "teacher.temperature, lower loss.centre_momentum towards 0.9, lengthen "
        "optim.freeze_last_layer_epochs"
    ),
    "uniform": (
        "the teacher says the same of every image (entropy near ln K, KL near 0): lower "
        "teacher.temperature and warm it up (teacher.warmup_temperature_epochs), keep "
        "head.norm_last_layer on, lower head.prototypes for a small data set"
    ),
}


def collapse_kind(metrics: Mapping[str, float], prototypes: int) -> str | None:
    """Name the collapse that one step's figures show, or None.

    "one prototype": teacher entropy and marginal entropy both under 5 % of ln K. "uniform":
    teacher entropy over 98 % of ln K and KL(teacher || student) under 0.05.
    """
    limit = math.log(prototypes)
    entropy, marginal = metrics["teacher_entropy"], metrics["teacher_marginal_entropy"]
    if entropy < 0.05 * limit and marginal < 0.05 * limit:
        return "one prototype"
    if entropy > 0.98 * limit and metrics["kl"] < 0.05:
        return "uniform"
    return None


class CollapseWatch:
    """Counts steps in a row that show the same collapse and words the alarm, once an episode."""

    def __init__(self, prototypes: int, patience: int = PATIENCE) -> None:
        """Watch a head with `prototypes` outputs; alarm after `patience` steps in a row."""
        self._prototypes, self._patience = prototypes, patience
        self._kind: str | None = None
        self._since, self._count = 0, 0
        self.alarms: list[str] = []

    @property
    def collapsed(self) -> str | None:
        """The collapse that lasts at this moment, if it has lasted long enough."""
        return self._kind if self._count >= self._patience else None

    def see(self, step: int, metrics: Mapping[str, float]) -> str | None:
        """Take one step's figures; returns the alarm at the step where it is raised."""
        kind = collapse_kind(metrics, self._prototypes)
        if kind is None or kind != self._kind:
            self._kind, self._since, self._count = kind, step, 0
        if kind is None:
            return None
        self._count += 1
        if self._count != self._patience:
            return None
        alarm = f"collapse ({kind}) since step {self._since}: {_ADVICE[kind]}"
        self.alarms.append(alarm)
        return alarm
