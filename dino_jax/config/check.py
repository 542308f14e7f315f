"""Checks of a configuration's values; each mistake is one clear line."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from dino_jax import tree
from dino_jax.config.architectures import ARCHITECTURES, architecture_of
from dino_jax.config.fields import get, leaves
from dino_jax.config.tree import Config, CropsConfig, UserError

MOST = 1e6
"""Of what is unbounded in principle: well beyond use, and float32 holds what is made of it."""
LEAST = 1e-6
"""Of what is divided by, for the same reason."""
COUNTABLE = 1 << 31
"""Of steps and whatever is counted in 32 bits: the first that is not."""


class Range(NamedTuple):
    """A test of one value and its words after "expected"."""

    test: Callable[[Any], bool]
    words: str


def one_of(*names: str) -> Range:
    """Accept these names."""
    return Range(lambda value: value in names, f"one of {', '.join(names)}")


def _number(low: float, high: float = MOST) -> Range:
    return Range(lambda value: low <= value <= high, f"a number from {low:g} to {high:g}")


def _whole(low: int, high: int) -> Range:
    return Range(lambda value: low <= value <= high, f"a whole number from {low} to {high}")


def _countable(low: int) -> Range:
    return Range(lambda value: low <= value < COUNTABLE, f"a whole number from {low} to below 2^31")


def _ordered(low: float, high: float, *, open_low: bool = False) -> Range:
    def test(value: tuple[float, float]) -> bool:
        above = value[0] > low if open_low else value[0] >= low
        return above and value[0] <= value[1] <= high

    words = f"low,high {'above' if open_low else 'from'} {low:g} and at most {high:g}"
    return Range(test, f"{words}, in that order")


ANY = Range(lambda value: True, "anything")
TEXT = Range(lambda value: value.strip() != "", "a name or a path, not an empty text")
COUNT = _countable(1)
NOT_NEGATIVE = _number(0)
POSITIVE = Range(lambda value: 0 < value <= MOST, f"a number above 0 and at most {MOST:g}")
TEMPERATURE = _number(LEAST)
STRENGTH = _number(0, 10)
MEANS = Range(
    lambda values: all(-MOST <= v <= MOST for v in values), f"numbers from {-MOST:g} to {MOST:g}"
)
DEVIATIONS = Range(
    lambda values: all(LEAST <= v <= MOST for v in values),
    f"numbers of at least {LEAST:g} and at most {MOST:g}",
)
PROBABILITY = Range(lambda value: 0 <= value <= 1, "a number from 0 to 1")
PROBABILITIES = Range(lambda values: all(0 <= v <= 1 for v in values), "numbers from 0 to 1")
BELOW_ONE = Range(lambda value: 0 <= value < 1, "a number from 0 to below 1")

RANGES: tuple[tuple[str, Range], ...] = (
    (r"^model\.arch$", one_of(*ARCHITECTURES)),
    (r"^model\.blocks$", one_of("auto", "unrolled", "scanned")),
    (r"^model\.attention$", one_of("auto", "xla", "cudnn")),
    (r"^model\.remat$", one_of("none", "dots", "blocks")),
    (r"^data\.decode$", one_of("exact", "fast")),
    (r"^precision$", one_of("auto", "float32", "bfloat16")),
    (r"^augment\.where$", one_of("device", "host")),
    (r"^optim\.name$", one_of("adamw", "sgd", "lars")),
    (r"^(init_from|data\.train|data\.val)$", TEXT),
    # the device's generator takes 32 bits, and would draw the same for seeds that differ above
    (r"^seed$", Range(lambda value: 0 <= value < 1 << 32, "a whole number from 0 to below 2^32")),
    (r"^data\.workers$", _whole(0, 1024)),
    (r"^data\.threads$", _whole(1, 1024)),
    (r"^crops\.local_number$", _countable(0)),
    (r"^head\.prototypes$", _countable(2)),
    (r"^model\.drop_path$", BELOW_ONE),
    (r"_scale$", _ordered(0, 1, open_low=True)),
    (r"^crops\.ratio$", _ordered(0.001, 1000)),
    (r"^augment\.blur_radius$", _ordered(0, 100)),
    (r"^augment\.(blur|solarize)_probability$", PROBABILITIES),
    (r"_probability$", PROBABILITY),
    (r"^augment\.hue$", _number(0, 0.5)),
    (r"^augment\.(brightness|contrast|saturation)$", STRENGTH),
    (r"^augment\.solarize_threshold$", Range(lambda value: 0 <= value <= 256, "from 0 to 256")),
    (r"^data\.mean$", MEANS),
    (r"^data\.std$", DEVIATIONS),
    (r"^(epochs|optim\.learning_rate)$", POSITIVE),
    (r"^optim\.clip$", _number(0, 1e30)),  # a large one may stand for none
    (r"^optim\.", NOT_NEGATIVE),
    (r"^teacher\.warmup_temperature_epochs$", NOT_NEGATIVE),
    (r"^(teacher|loss|eval)\..*temperature$", TEMPERATURE),
    (r"^teacher\.momentum", PROBABILITY),
    (r"^loss\.centre_momentum$", PROBABILITY),
    (r"^loss\.chunk$", COUNT),
    (r"^eval\.(final_full|baselines)$|^head\.(norm_last_layer|batch_norm)$", ANY),
    (r"^(init_(head|optimiser)|report)$", ANY),
    (r"^head\.layers$", COUNT),
    (r"^(batch_size|accumulate|steps|devices|fsdp|.*_every|keep_checkpoints)$", COUNT),
    (r"^(model|head|crops|data|eval)\.", COUNT),
)


def validate(config: Config) -> None:
    """Check every value, and those that must fit each other; `None` is left to `resolve`.

    Raises:
        UserError: the first mistake found.
    """
    for path, expected in tree.matching(RANGES, leaves()).items():
        value = get(config, path)
        if value is not None and not expected.test(value):
            raise UserError(f"{path} is {_show(value)}: expected {expected.words}")
    _check_model(config)
    _check_crops(config)
    _check_run(config)


def check_batch(config: Config, *, device_count: int) -> None:
    """Check that the devices share batch and state evenly.

    Raises:
        UserError: `batch_size` or `devices` is not divisible.
    """
    if config.devices is not None and config.devices > device_count:
        raise UserError(f"devices is {config.devices}: this run has {device_count}")
    devices = config.devices or device_count
    if config.fsdp is not None and devices % config.fsdp:
        raise UserError(
            f"fsdp is {config.fsdp}: expected a divisor of the {devices} devices; use "
            f"{math.gcd(config.fsdp, devices)}, or None"
        )
    parts = devices * config.accumulate
    if config.batch_size % parts:
        below, above = config.batch_size // parts * parts, -(-config.batch_size // parts) * parts
        near = f"{below} or {above}" if below else f"{above}"
        raise UserError(
            f"batch_size {config.batch_size} is not divisible by devices x accumulate = "
            f"{devices} x {config.accumulate}: use {near}"
        )


def _check_model(config: Config) -> None:
    model, data = config.model, config.data
    if model.arch is not None and model.patch_size is not None:
        architecture_of(model)
    for name, values in (("data.mean", data.mean), ("data.std", data.std)):
        if len(values) != model.channels:
            raise UserError(
                f"{name} has {len(values)} values, model.channels is {model.channels}: "
                "give one a channel"
            )


def _check_crops(config: Config) -> None:
    crops, patch, arch = config.crops, config.model.patch_size, config.model.arch
    # The convolutions of the other families take any size.
    whole_patches = arch is None or ARCHITECTURES[arch].family == "vit"
    for name in _sizes(crops):
        size = get(config, name)
        if whole_patches and size is not None and patch is not None and size < patch:
            raise UserError(
                f"{name} is {size} pixels, smaller than a patch of {patch}: "
                "raise it or lower model.patch_size"
            )
    resize = config.eval.resize
    if resize is not None and crops.global_size is not None and resize < crops.global_size:
        raise UserError(
            f"eval.resize is {resize}, less than crops.global_size {crops.global_size}, which is "
            "cut out of it: raise it or leave it None"
        )


def _sizes(crops: CropsConfig) -> tuple[str, ...]:
    return ("crops.global_size",) + (("crops.local_size",) if crops.local_number else ())


def _check_run(config: Config) -> None:
    if config.batch_size is not None and config.batch_size % config.accumulate:
        raise UserError(
            f"batch_size {config.batch_size} is not divisible by accumulate {config.accumulate}"
        )
    for path in (
        "optim.warmup_epochs",
        "teacher.warmup_temperature_epochs",
        "optim.freeze_last_layer_epochs",
    ):
        value = get(config, path)
        if value is not None and config.epochs is not None and value > config.epochs:
            raise UserError(
                f"{path} is {value:g}, more than the {config.epochs:g} epochs of the run: "
                "lower it or raise epochs (to shorten a run and all its phases, set steps)"
            )


def _show(value: object) -> str:
    return ",".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)
