"""What the steps of a run gave back: fetched now and then, and watched for updates that fail."""

import logging
from collections.abc import Mapping
from typing import Any

import jax

from dino_jax.config import UserError

log = logging.getLogger(__name__)
IN_FLIGHT = 16
"""Steps dispatched ahead of the host, at most: their batches wait in device memory."""
PATIENCE = 100
"""Updates in a row that are not finite before the run ends, or all steps where these are fewer."""


class Metrics:
    """The metrics of the steps since the last line."""

    def __init__(self, steps: int, steps_per_epoch: int) -> None:
        """Take how many steps the run has, and an epoch."""
        self._steps, self._per_epoch = steps, steps_per_epoch
        self._pending: list[Mapping[str, jax.Array]] = []
        self._skipped = 0

    def add(self, metrics: Mapping[str, jax.Array]) -> None:
        """Keep those of one more step; waits where too many are on their way."""
        self._pending.append(metrics)
        if len(self._pending) >= IN_FLIGHT:
            jax.block_until_ready(self._pending[-IN_FLIGHT // 2])

    def line(self, done: int) -> dict[str, Any]:
        """The figures of the last step, after `done` of them; warns of steps that were skipped.

        Raises:
            UserError: `PATIENCE` updates in a row, or those of all steps, were not finite.
        """
        fetched = jax.device_get(self._pending)
        self._pending.clear()
        skipped = [bool(metrics["skipped"]) for metrics in fetched]
        for each in skipped:
            self._skipped = self._skipped + 1 if each else 0
        if self._skipped >= min(PATIENCE, self._steps):
            raise UserError(
                f"the last {self._skipped} updates, up to step {done}, were not finite: these "
                "weights diverged, or --learning-rate is too high for them"
            )
        if any(skipped):
            log.warning(
                "step %d: %d updates were not finite, and skipped whole", done, sum(skipped)
            )
        line = {name: float(str(value)) for name, value in fetched[-1].items()}
        return {"step": done, "epoch": round(done / self._per_epoch, 4), **line}
