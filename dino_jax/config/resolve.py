"""From what was asked for to what is run: picks filled, epochs turned into steps."""

import copy
import dataclasses
import math

from dino_jax.config.auto import Facts, pick
from dino_jax.config.check import COUNTABLE, check_batch, validate
from dino_jax.config.tree import Config, UserError

COPIES = 64
"""Devices up to which each holds the whole state: below, its memory is not what is short."""
SHARED = 16
"""Devices beyond these that share one copy, or the part of so many that divides all."""


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A configuration ready to run.

    `config` has every pick filled. Its `epochs`, and the fields in epochs, are those of the
    schedule; `steps` is the length of the run, and every one of them keeps its share of it: at
    step i the schedule is in epoch floor(i * epochs / steps), which is what the teacher's
    temperature, stepped once an epoch, follows. An epoch of the data is `steps_per_epoch` steps.
    """

    config: Config
    reasons: tuple[str, ...]
    examples: int
    steps_per_epoch: int
    steps: int
    warmup_steps: int
    freeze_steps: int
    learning_rate: float
    """Of the whole batch: `optim.learning_rate` x batch_size / 256."""


def resolve(
    config: Config,
    *,
    examples: int,
    platform: str,
    device_count: int = 1,
    short_side: int | None = None,
) -> Resolved:
    """Fill what is left to be picked, check the whole, and turn epochs into steps.

    `examples` is the number of training images, `platform` jax's name of the backend ("cpu",
    "gpu", "tpu"), `device_count` that of all processes, and `short_side` the median of the
    images' shorter sides in pixels, read only where `needs_short_side(config)`.

    Raises:
        UserError: a mistake, a batch that the devices cannot share or the data cannot fill, or
            more steps than 32 bits count.
    """
    validate(config)
    config = copy.deepcopy(config)
    reasons = pick(config, Facts(examples, short_side, platform, device_count))
    validate(config)
    check_batch(config, device_count=device_count)
    per_epoch = examples // config.batch_size
    if per_epoch == 0:
        raise UserError(
            f"batch_size {config.batch_size} is more than the {examples} images of "
            f"{config.data.train}: lower batch_size"
        )
    steps = config.steps if config.steps is not None else max(1, round(config.epochs * per_epoch))
    if steps >= COUNTABLE:
        raise UserError(
            f"epochs {config.epochs:g} of {per_epoch} steps each are {steps} steps: expected below "
            "2^31; lower epochs or set steps"
        )
    _fill(config, steps=steps, per_epoch=per_epoch, platform=platform, devices=device_count)
    return Resolved(
        config=config,
        reasons=tuple(reasons),
        examples=examples,
        steps_per_epoch=per_epoch,
        steps=steps,
        warmup_steps=round(steps * config.optim.warmup_epochs / config.epochs),
        freeze_steps=round(steps * config.optim.freeze_last_layer_epochs / config.epochs),
        learning_rate=config.optim.learning_rate * config.batch_size / 256,
    )


def _fill(config: Config, *, steps: int, per_epoch: int, platform: str, devices: int) -> None:
    """Fill, in place, what follows from the length of the run and the machine."""
    config.steps = steps
    config.devices = config.devices or devices
    if config.fsdp is None:
        config.fsdp = 1 if config.devices <= COPIES else math.gcd(config.devices, SHARED)
    config.optim.clip = config.optim.clip or 0.0
    if config.precision == "auto":
        config.precision = "float32" if platform == "cpu" else "bfloat16"
    if config.eval.resize is None:
        config.eval.resize = round(config.crops.global_size * 256 / 224)
    if config.eval_every is None:
        config.eval_every = min(steps, max(per_epoch, -(-steps // 20)))
    if config.checkpoint_every is None:
        config.checkpoint_every = min(steps, max(per_epoch, -(-steps // 100)))
