"""The loop: batches of features in, trained heads out, interrupted and gone on with exactly."""

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Generator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dino_jax.evals.linear.state import Keeper, Progress
from dino_jax.interrupt import Interrupted, interruptible
from dino_jax.ops import heads as ops

log = logging.getLogger(__name__)
REFERENCE_BATCH = 256
SECONDS_UNSAVED = 120.0
_SECONDS_UNSAID = 30.0

FeatureBatch = tuple[np.ndarray, np.ndarray]
Batches = Callable[[int, int], Generator[FeatureBatch, None, None]]
"""(first step, step to stop before) -> features (batch, inputs) and labels (batch,) of each."""
Score = Callable[[ops.Heads], float]
"""Top-1 in percent of the first head on the images that the best epoch is chosen by."""


class Course(NamedTuple):
    """How long and how fast: `rates` are those of each head for a batch of 256."""

    rates: tuple[float, ...]
    epochs: int
    steps_per_epoch: int
    batch: int

    def of_epoch(self, epoch: int) -> Float[np.ndarray, "heads"]:
        """Learning rates in one epoch: half a cosine from the first to zero after the last.

        As `CosineAnnealingLR` stepped once an epoch, from rate * batch / 256.
        """
        decay = (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        rates = [rate * self.batch / REFERENCE_BATCH * decay for rate in self.rates]
        return np.array(rates, np.float32)


def train(
    course: Course,
    progress: Progress,
    batches: Batches,
    keeper: Keeper,
    *,
    score: Score | None = None,
) -> Progress:
    """Train from where `progress` stands to the end; saves now and then, at a signal, at the end.

    With `score` the first head is measured after each epoch, and kept when it is the best so far.

    Raises:
        Interrupted: a signal arrived; what was done is saved if there is a folder for it.
    """
    total = course.epochs * course.steps_per_epoch
    saved = said = time.monotonic()
    with (
        contextlib.closing(batches(progress.step, total)) as arriving,
        interruptible() as stop,
    ):
        for features, labels in arriving:
            epoch = progress.step // course.steps_per_epoch
            progress = _stepped(progress, features, labels, course.of_epoch(epoch), epoch)
            if progress.step % course.steps_per_epoch == 0:
                progress = _measured(progress, epoch, score)
                if time.monotonic() - said > _SECONDS_UNSAID or progress.step == total:
                    said = time.monotonic()
                    _say(course, progress, epoch)
            if stop() and progress.step < total:
                keeper.save(progress)
                raise Interrupted(str(keeper.path) if keeper.path else None)
            if time.monotonic() - saved > SECONDS_UNSAVED and progress.step < total:
                keeper.save(progress)
                saved = time.monotonic()
            if progress.step == total:
                keeper.save(progress)
    return progress


def _stepped(
    progress: Progress, features: np.ndarray, labels: np.ndarray, rates: np.ndarray, epoch: int
) -> Progress:
    heads, losses = ops.step(
        progress.heads,
        jnp.asarray(features, jnp.float32),
        jnp.asarray(labels, jnp.int32),
        jnp.asarray(rates),
    )
    sums = progress.losses.copy()
    sums[epoch] += np.asarray(losses, np.float64)
    return dataclasses.replace(progress, step=progress.step + 1, heads=heads, losses=sums)


def _measured(progress: Progress, epoch: int, score: Score | None) -> Progress:
    if score is None:
        return progress
    top1 = progress.top1.copy()
    top1[epoch] = score(progress.heads)
    if not np.all(top1[epoch] > top1[:epoch]):  # of equal epochs the first, as a running maximum
        return dataclasses.replace(progress, top1=top1)
    return dataclasses.replace(
        progress,
        top1=top1,
        best_weight=np.asarray(progress.heads.weight[0]),
        best_bias=np.asarray(progress.heads.bias[0]),
    )


def _say(course: Course, progress: Progress, epoch: int) -> None:
    losses = progress.losses[epoch] / course.steps_per_epoch
    best = int(np.argmin(np.where(np.isnan(losses), np.inf, losses)))
    measured = "" if np.isnan(progress.top1[epoch]) else f", top-1 {progress.top1[epoch]:.1f}"
    log.info(
        "linear: epoch %d of %d, lowest loss %.4f, of a learning rate of %g (of %d)%s",
        *(epoch + 1, course.epochs, losses[best], course.rates[best], len(losses), measured),
    )
