"""From a resolved configuration to the method the step is made of."""

import dataclasses

import jax
import jax.numpy as jnp

from dino_jax.config import AugmentConfig, Config, Resolved
from dino_jax.models.build import Model, build
from dino_jax.ops.optim import ALL_BUT_WEIGHT_G, EVERY_TENSOR, build_optimiser
from dino_jax.ops.photometric import augment, normalise
from dino_jax.ops.schedules import cosine, one_minus_momentum, teacher_temperature
from dino_jax.ops.targets import centring
from dino_jax.ops.teacher import momentum_teacher
from dino_jax.train.state import TrainState, init_train_state
from dino_jax.train.step import Crops, DeviceBatch, Method
from dino_jax.types import Params

PHOTOMETRIC, DROP_PATH = 0, 1
"""What a view's key is folded with, so that no two purposes share a draw."""


def build_models(config: Config) -> tuple[Model, Model]:
    """Build the student and the teacher of a resolved configuration: one tree of parameters."""
    dtype = jnp.bfloat16 if config.precision == "bfloat16" else jnp.float32
    image_size = config.crops.global_size
    student, teacher = (
        build(config.model, config.head, image_size=image_size, dtype=dtype, drop_path=rate)
        for rate in (config.model.drop_path, 0.0)
    )
    return student, teacher


def build_method(resolved: Resolved) -> Method:
    """Build networks, rules and schedules; everything in steps from here on."""
    config = resolved.config
    student, teacher = build_models(config)
    steps, optim = resolved.steps, config.optim
    rate = cosine(
        resolved.learning_rate,
        optim.min_learning_rate,
        steps=steps,
        warmup_steps=resolved.warmup_steps,
    )
    decay = cosine(optim.weight_decay, optim.weight_decay_end, steps=steps)
    fraction = one_minus_momentum(config.teacher.momentum, config.teacher.momentum_end, steps=steps)
    temperature = teacher_temperature(
        config.teacher.warmup_temperature,
        config.teacher.temperature,
        warmup_epochs=config.teacher.warmup_temperature_epochs,
        epochs=config.epochs,
        steps=steps,
    )
    return Method(
        student=student,
        teacher=teacher,
        crops=CropMaker(config.seed, config.augment, config.data.mean, config.data.std),
        optimiser=build_optimiser(
            optim.name,
            learning_rate=rate,
            weight_decay=decay,
            clip=optim.clip,
            freeze_steps=resolved.freeze_steps,
            trainable=ALL_BUT_WEIGHT_G if config.head.norm_last_layer else EVERY_TENSOR,
        ),
        teacher_rule=momentum_teacher(fraction),
        target_rule=centring(config.loss.centre_momentum),
        teacher_temperature=temperature,
        reported={
            "learning_rate": rate,
            "weight_decay": decay,
            "momentum": lambda step: 1 - fraction(step),
            "teacher_temperature": temperature,
        },
        student_temperature=config.loss.student_temperature,
        accumulate=config.accumulate,
        loss_chunk=config.loss.chunk,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class CropMaker:
    """Augments the uint8 crops of a batch on the device and draws the keys of drop path.

    Every key is a function of (seed, epoch, example, view) alone: neither the step, the row of the
    batch nor the device enters.
    """

    seed: int
    rules: AugmentConfig
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, batch: DeviceBatch) -> Crops:
        """Give the crops (batch, n, H, W, C) float32, one entry a resolution, and their keys."""
        names = [name for name in ("views", "locals") if name in batch]
        counts = [batch[name].shape[1] for name in names]
        keys = view_keys(self.seed, batch["epoch"], batch["index"], sum(counts))
        crops, drop_keys, first = [], [], 0
        for name, count in zip(names, counts, strict=True):
            these = keys[:, first : first + count]
            crops.append(self._augmented(batch[name], _folded(these, PHOTOMETRIC), first))
            drop_keys.append(_folded(these, DROP_PATH))
            first += count
        return crops, drop_keys

    def _augmented(self, images: jax.Array, keys: jax.Array, first_view: int) -> jax.Array:
        if self.rules.where == "host":
            return normalise(images, self.mean, self.std)
        return augment(
            images, keys, first_view=first_view, config=self.rules, mean=self.mean, std=self.std
        )


def view_keys(seed: int, epoch: jax.Array, example: jax.Array, views: int) -> jax.Array:
    """One key a crop, shape (batch, views), folded from seed, epoch, example and view in turn."""
    key = jax.random.key(seed)
    by_example = jax.vmap(lambda e, i: jax.random.fold_in(jax.random.fold_in(key, e), i))
    by_view = jax.vmap(jax.vmap(jax.random.fold_in, in_axes=(None, 0)), in_axes=(0, None))
    return by_view(by_example(epoch, example), jnp.arange(views))


def _folded(keys: jax.Array, purpose: int) -> jax.Array:
    return jax.vmap(jax.vmap(lambda key: jax.random.fold_in(key, purpose)))(keys)


def init_state(method: Method, resolved: Resolved, params: Params | None = None) -> TrainState:
    """The state before the first step, a function of the seed (or of `params`) alone."""
    return init_train_state(
        jax.random.key(resolved.config.seed),
        method.student,
        prototypes=resolved.config.head.prototypes,
        optimiser=method.optimiser,
        teacher_rule=method.teacher_rule,
        target_rule=method.target_rule,
        params=params,
    )
