"""One linear probe of one network: its images, its features, its training."""

import hashlib
import logging
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from dino_jax.config import UserError
from dino_jax.config.protocol_options import LinearOptions
from dino_jax.data.holdout import Subset
from dino_jax.data.source import Source
from dino_jax.evals.classes import Labelled, hold_out, open_labelled
from dino_jax.evals.linear.batches import augmented_batches, cached_batches
from dino_jax.evals.linear.features import Inputs, linear_inputs
from dino_jax.evals.linear.state import Keeper, Progress, beginning
from dino_jax.evals.linear.training import Batches, Course, Score, train
from dino_jax.evals.protocol import Request, percent
from dino_jax.ops import heads, scores

log = logging.getLogger(__name__)
MOST_HELD_OUT = 10_000
_FEW = 50
_ROWS = 8192


class Features(NamedTuple):
    """Features of images that could be read, and their labels."""

    rows: Float[np.ndarray, "n inputs"]
    labels: Int[np.ndarray, " n"]


class Probe(NamedTuple):
    """What is trained on, chosen by and measured on."""

    request: Request
    options: LinearOptions
    inputs: Inputs
    images: Labelled
    learnt: Int[np.ndarray, " learnt"]
    held: Int[np.ndarray, " held"]
    """Training images that choose the learning rate; none under the reference's protocol."""

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rate of each head, for a batch of 256."""
        return self.options.lrs if self.options.protocol == "grid" else (self.options.lr,)


def open_probe(request: Request) -> Probe:
    """Open the images of a request and split off those that choose.

    Raises:
        UserError: an option out of range, images without labels, classes that differ.
    """
    options: LinearOptions = request.options
    _check(options)
    encoder = request.network
    inputs = linear_inputs(encoder, n_last_blocks=options.n_last_blocks, avgpool=options.avgpool)
    images = open_labelled(request.data, request.val, channels=encoder.channels)
    learnt, held = np.arange(len(images.train)), np.zeros(0, np.int64)
    if options.protocol == "grid":
        labels, share = images.train_labels, options.held_out
        learnt, held = hold_out(labels, share, seed=request.seed, most=MOST_HELD_OUT)
        for note in few_choose(len(held)) if len(held) else []:
            log.warning("%s", note)
        if not len(held):
            raise UserError(
                f"{request.data} has one image to each class, so none can be held out: give more, "
                "or say --protocol=reference"
            )
    return Probe(request, options, inputs, images, learnt, held)


def few_choose(count: int) -> list[str]:
    """What is said where the images that choose the learning rate are few."""
    if count >= _FEW:
        return []
    images = "image" if count == 1 else "images"
    said = f"linear: the learning rate is chosen on {count} {images}, nearly by chance: a larger "
    return [said + "--held-out, or more training images, would choose better"]


def val_features(probe: Probe) -> Features:
    """Features of the images to measure on, in their order."""
    return _stored(probe, probe.images.val, probe.images.val_labels, None)


def held_features(probe: Probe) -> Features:
    """Features of the training images that choose."""
    return _stored(probe, probe.images.train, probe.images.train_labels, probe.held)


def trained(probe: Probe, val: Features) -> Progress:
    """Train the heads, from where an interrupted run of the same request stood."""
    options, request = probe.options, probe.request
    if options.augment:
        batch = min(options.train_batch, len(probe.learnt))
        number, batches = len(probe.learnt), _augmented(probe, batch)
    else:
        rows = _stored(probe, probe.images.train, probe.images.train_labels, probe.learnt)
        number = len(rows.labels)
        batch = min(options.train_batch, number)
        batches = cached_batches(*rows, batch=batch, seed=request.seed)
    course = Course(probe.rates, options.epochs, number // batch, batch)
    keeper = Keeper(request.out or request.store.folder, _told(probe, course))
    progress = keeper.load()
    if progress is None:
        key = jax.random.key(request.seed)
        first = heads.initial(
            key, heads=len(probe.rates), classes=len(probe.images.classes), inputs=val.rows.shape[1]
        )
        progress = beginning(first, options.epochs)
    score = _score(val) if options.protocol == "reference" else None
    return train(course, progress, batches, keeper, score=score)


def hits(
    weight: Float[np.ndarray, "classes inputs"],
    bias: Float[np.ndarray, " classes"],
    features: Features,
) -> dict[str, Bool[np.ndarray, " n"]]:
    """`ops.scores.hits` of a head's answers."""
    parts = []
    held = jnp.asarray(weight), jnp.asarray(bias)
    for start in range(0, len(features.labels), _ROWS):
        found = heads.logits(*held, jnp.asarray(features.rows[start : start + _ROWS]))
        parts.append(scores.hits(found, features.labels[start : start + _ROWS]))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _score(val: Features) -> Score:
    def top1(held: heads.Heads) -> float:
        first = np.asarray(held.weight[0]), np.asarray(held.bias[0])
        return percent(hits(*first, val)["top1"])

    return top1


def _stored(
    probe: Probe, source: Source, labels: np.ndarray, indices: np.ndarray | None
) -> Features:
    request = probe.request
    rows, index = request.store.features(
        request.network,
        source,
        indices,
        what=probe.inputs.what,
        function=probe.inputs.function,
        mesh=request.mesh,
        batch_size=request.batch_size,
    )
    return Features(rows, labels[index])


def _augmented(probe: Probe, batch: int) -> Batches:
    request, images = probe.request, probe.images
    return augmented_batches(
        request.network,
        probe.inputs.function,
        Subset(images.train, probe.learnt),
        images.train_labels[probe.learnt],
        batch=batch,
        seed=request.seed,
        mesh=request.mesh,
        batch_size=request.batch_size,
    )


def _told(probe: Probe, course: Course) -> dict[str, object]:
    """All that the course of training depends on."""
    encoder, options = probe.request.network, probe.options
    reference = options.protocol == "reference"
    return {
        "weights": encoder.identity,
        "reading": [encoder.size, encoder.resize, *encoder.mean, *encoder.std],
        "what": probe.inputs.what,
        "images": probe.images.train.content_key(),
        "learnt": hashlib.sha256(probe.learnt.astype(np.int64).tobytes()).hexdigest(),
        "measured": probe.images.val.content_key() if reference else None,
        "course": course._asdict(),
        "augment": options.augment,
        "seed": probe.request.seed,
    }


def _check(options: LinearOptions) -> None:
    rates = options.lrs if options.protocol == "grid" else (options.lr,)
    if not rates or min(rates) <= 0:
        flag = "--lrs" if options.protocol == "grid" else "--lr"
        raise UserError(f"{flag}={','.join(map(str, rates))}: expected learning rates above 0")
    for name in ("epochs", "train_batch"):
        if getattr(options, name) < 1:
            flag = f"--{name.replace('_', '-')}"
            raise UserError(f"{flag}={getattr(options, name)}: expected 1 or more")
    if not 0 < options.held_out < 1:
        raise UserError(f"--held-out={options.held_out}: expected a share between 0 and 1")
