"""One step of supervised training, a pure function of the state and a batch."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from dino_jax.evals.finetune.layers import rate_factors
from dino_jax.evals.finetune.recipe import Recipe
from dino_jax.models.classifier import Classifier
from dino_jax.ops import mixing, schedules
from dino_jax.ops.optim import NameRules, build_optimiser
from dino_jax.ops.photometric import normalise
from dino_jax.types import Params, Stats

ERASE, DROP_PATH = 0, 1
"""What the key of an image is folded with, so that no two purposes share a draw."""
MIX = 0x6D6978
"""Folded into the seed's key for the draws of groups; those of images begin with the epoch."""
UNDECAYED: NameRules = ((r"(^|\.)(pos_embed|cls_token)$", True), ("", False))
"""Not decayed in timm's networks, though of rank 3."""
DeviceBatch = Mapping[str, Array]


class TuneState(NamedTuple):
    """Everything that goes from one step to the next; a pytree, donated to the step.

    `average` is the moving average of parameters and batch statistics, empty where there is none.
    """

    step: Array
    params: Params
    stats: Stats
    opt_state: Any
    average: dict[str, Array]


@dataclasses.dataclass(frozen=True, eq=False)
class Training:
    """What the step is made of."""

    classifier: Classifier
    recipe: Recipe
    steps: int
    warmup_steps: int
    seed: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    accumulate: int = 1
    """Parts of a batch that go through the network one after another."""

    def rate(self) -> schedules.Schedule:
        """The learning rate by step: a linear warm-up, then a cosine."""
        recipe = self.recipe
        return schedules.cosine(
            recipe.peak_rate, recipe.final_rate, steps=self.steps,
            warmup_steps=self.warmup_steps, start=recipe.warmup_rate,
        )  # fmt: skip


class Optimiser(NamedTuple):
    """The optimiser over all parameters: those that are decayed, and those that are not."""

    parts: tuple[optax.GradientTransformationExtraArgs, ...]

    def init(self, params: Params) -> tuple[Any, ...]:
        """The state of each part."""
        return tuple(part.init(params) for part in self.parts)

    def update(
        self, grads: Params, state: tuple[Any, ...], params: Params, step: Array
    ) -> tuple[Params, tuple[Any, ...]]:
        """What to add to each parameter, and the new state."""
        found = [
            part.update(grads, own, params, step=step)
            for part, own in zip(self.parts, state, strict=True)
        ]
        updates = {name: sum(each[0][name] for each in found) for name in params}
        return updates, tuple(each[1] for each in found)


def optimiser_of(training: Training) -> Optimiser:
    """Two of `build_optimiser`: one leaves the position table and the class token undecayed."""
    rate, recipe = training.rate(), training.recipe

    def part(undecayed: bool) -> optax.GradientTransformationExtraArgs:
        return build_optimiser(
            recipe.optimiser,
            learning_rate=rate,
            weight_decay=0.0 if undecayed else recipe.weight_decay,
            trainable=tuple((pattern, value == undecayed) for pattern, value in UNDECAYED),
        )

    return Optimiser((part(False), part(True)))


def init_state(training: Training, params: Params, stats: Stats) -> TuneState:
    """The state before the first step, of copies: the step donates it."""
    params, stats = jax.tree.map(jnp.copy, (params, stats))
    average = jax.tree.map(jnp.copy, params | stats) if training.recipe.ema else {}
    opt_state = optimiser_of(training).init(params)
    return TuneState(jnp.zeros((), jnp.int32), params, stats, opt_state, average)


def make_step(
    training: Training,
) -> Callable[[TuneState, DeviceBatch], tuple[TuneState, dict[str, Array]]]:
    """Build `step(state, batch) -> (state, metrics)`; metrics are float32 scalars of that step.

    A batch holds `images` uint8 (B, H, W, C) and `label`, `index`, `epoch`, `copy` (B,) int32. A
    step whose loss or gradient is not finite changes nothing but the step counter.
    """
    optimiser, rate, recipe = optimiser_of(training), training.rate(), training.recipe
    sizes = training.classifier.backbone.sizes

    def step(state: TuneState, batch: DeviceBatch) -> tuple[TuneState, dict[str, Array]]:
        images, targets, keys = prepared(training, state.step, batch)
        loss, grads, logits, stats = gradient(training, state, images, targets, keys)
        norm = optax.tree.norm(grads)
        updates, opt_state = optimiser.update(
            clipped(grads, norm, recipe.clip), state.opt_state, state.params, state.step
        )
        factors = rate_factors(updates, sizes, recipe.layer_decay)
        params = {name: state.params[name] + factors[name] * updates[name] for name in updates}
        new = TuneState(state.step, params, stats, opt_state, state.average)
        new = new._replace(average=averaged(state.average, params | stats, recipe.ema))
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        new = jax.tree.map(lambda after, before: jnp.where(finite, after, before), new, state)
        hits = (logits.argmax(axis=-1) == targets.argmax(axis=-1)).mean()
        metrics = {"loss": loss, "train_top1": 100 * hits, "learning_rate": rate(state.step)}
        metrics |= {"grad_norm": norm, "skipped": 1.0 - finite.astype(jnp.float32)}
        return new._replace(step=state.step + 1), metrics

    return step


def gradient(
    training: Training,
    state: TuneState,
    images: Float[Array, "batch height width channels"],
    targets: Float[Array, "batch classes"],
    keys: Key[Array, "batch"],
) -> tuple[Array, Params, Float[Array, "batch classes"], Stats]:
    """Loss, gradient, logits and new batch statistics, over `accumulate` parts of the batch."""

    def loss_of(params: Params, stats: Stats, part: Any) -> tuple[Array, tuple[Array, Stats]]:
        images, targets, keys = part
        logits, stats = training.classifier(params, stats, images, train=True, keys=keys)
        return mixing.soft_cross_entropy(logits, targets), (logits, stats)

    found = jax.value_and_grad(loss_of, has_aux=True)
    count = training.accumulate
    if count == 1:
        (loss, (logits, stats)), grads = found(state.params, state.stats, (images, targets, keys))
        return loss, grads, logits, stats

    # Part a takes rows a, a + A, a + 2A, …: a reshape that moves nothing between devices.
    def split(value: Array) -> Array:
        return jnp.swapaxes(value.reshape(-1, count, *value.shape[1:]), 0, 1)

    def body(carry: Any, part: Any) -> tuple[Any, Array]:
        total, stats = carry
        (loss, (logits, stats)), grads = found(state.params, stats, part)
        return (jax.tree.map(lambda a, b: a + b / count, total, (loss, grads)), stats), logits

    start = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, state.params))
    ((loss, grads), stats), logits = jax.lax.scan(
        body, (start, state.stats), jax.tree.map(split, (images, targets, keys))
    )
    return loss, grads, jnp.swapaxes(logits, 0, 1).reshape(targets.shape), stats


def prepared(
    training: Training, step: Array, batch: DeviceBatch
) -> tuple[Float[Array, "batch height width channels"], Float[Array, "batch classes"], Array]:
    """Images erased and mixed, their soft targets, and the keys of drop path.

    Erasing and drop path draw from (seed, epoch, example, copy), mixing from (seed, step, group).
    """
    recipe = training.recipe
    keys = image_keys(training.seed, batch["epoch"], batch["index"], batch["copy"])
    images = normalise(batch["images"], training.mean, training.std)
    if recipe.erasing:
        own = folded(keys, ERASE)
        images = mixing.erase(images, own, probability=recipe.erasing, fill=recipe.fill)
    targets = mixing.soft_targets(
        batch["label"], classes=training.classifier.classes, smoothing=recipe.smoothing
    )
    if recipe.mix_probability and (recipe.mixup or recipe.cutmix):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(training.seed), MIX), step)
        drawn = mixing.draw_mix(
            jax.random.split(key, recipe.groups), *images.shape[1:3],
            mixup=recipe.mixup, cutmix=recipe.cutmix,
            probability=recipe.mix_probability, switch=recipe.switch,
        )  # fmt: skip
        images, targets = mixing.mix_images(images, drawn), mixing.mix_targets(targets, drawn)
    return images, targets, folded(keys, DROP_PATH)


def image_keys(seed: int, epoch: Array, index: Array, copy: Array) -> Key[Array, "batch"]:
    """One key an image, folded from seed, epoch, example and copy in turn."""
    fold = jax.random.fold_in
    key = jax.random.key(seed)
    return jax.vmap(lambda e, i, c: fold(fold(fold(key, e), i), c))(epoch, index, copy)


def folded(keys: Key[Array, "batch"], purpose: int) -> Key[Array, "batch"]:
    """The keys of one purpose."""
    return jax.vmap(lambda key: jax.random.fold_in(key, purpose))(keys)


def clipped(grads: Params, norm: Float[Array, ""], most: float) -> Params:
    """Gradients scaled together so that their norm is at most `most`; 0: left as they are."""
    if not most:
        return grads
    factor = jnp.minimum(1.0, most / (norm + 1e-6))
    return {name: factor * grad for name, grad in grads.items()}


def averaged(average: dict[str, Array], leaves: dict[str, Array], decay: float) -> dict[str, Array]:
    """The moving average after a step; whole numbers (counters) are taken over."""
    if not average:
        return average
    return {
        name: decay * average[name] + (1.0 - decay) * leaf
        if jnp.issubdtype(leaf.dtype, jnp.floating)
        else leaf
        for name, leaf in leaves.items()
    }
