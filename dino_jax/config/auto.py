"""What is picked from the number and the size of the images where a field holds `AUTO`.

The sizes of the head and the ends of the schedules by the size of the data set follow the
published defaults of lightly-train's DINO, the only ones known for small data; the rest is ours.
An explicit value always wins, and the picks after it follow it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from dino_jax.config.architectures import ARCHITECTURES, RESNET_STRIDE, Family
from dino_jax.config.fields import get, set_value
from dino_jax.config.tree import Config

SMALL_DATA, IMAGENET = 20_000, 1_281_167
"""Between these numbers of images, temperature and momentum go from small data's to ImageNet's."""

PROTOTYPES = ((20_000, 1024), (50_000, 2048), (100_000, 4096), (200_000, 16384), (500_000, 32768))


class Facts(NamedTuple):
    """What the picks depend on. `short_side`: median of the images' shorter sides, in pixels."""

    examples: int
    short_side: int | None
    platform: str
    device_count: int

    @property
    def on_cpu(self) -> bool:
        """Whether a step has to be kept small."""
        return self.platform == "cpu"


Pick = tuple[int | float | str, str]


def needs_short_side(config: Config) -> bool:
    """Say whether `resolve` has to know the size of the images."""
    return config.crops.global_size is None


def pick(config: Config, facts: Facts) -> list[str]:
    """Fill every field that holds `AUTO`, in place; return one line of reason each."""
    reasons = []
    for path, rule in AUTO_FIELDS.items():
        if get(config, path) is None:
            value, why = rule(config, facts)
            set_value(config, path, value)
            reasons.append(f"{path} = {_show(value)}: {why}")
    return reasons


def _global_size(config: Config, facts: Facts) -> Pick:
    if facts.short_side is None:
        raise ValueError("crops.global_size is to be picked: pass short_side")
    most = 64 if facts.on_cpu else 224
    size = max(32, min(most, facts.short_side // 32 * 32))
    if size < most:
        return size, f"the images' median short side is {facts.short_side} pixels"
    return size, "a step stays short on a CPU" if facts.on_cpu else "the paper's"


def _patch_size(config: Config, facts: Facts) -> Pick:
    size, family = config.crops.global_size, _family(config)
    if family == "resnet":
        return RESNET_STRIDE, "the stride of a ResNet"
    smallest = 8 if family == "xcit" else 4
    patch = next(patch for patch, least in ((16, 160), (8, 64), (smallest, 0)) if size >= least)
    return patch, f"{size // patch} x {size // patch} patches to a view of {size} pixels"


def _local_size(config: Config, facts: Facts) -> Pick:
    patch, unit = config.model.patch_size, "whole patches"
    if _family(config) == "resnet":  # whose positions are wide, and overlap
        patch, unit = RESNET_STRIDE // 4, f"steps of {RESNET_STRIDE // 4} pixels"
    patches = max(2, round(config.crops.global_size * 96 / 224 / patch))
    return min(patches * patch, config.crops.global_size), f"96/224 of the view, in {unit}"


def _arch(config: Config, facts: Facts) -> Pick:
    if facts.on_cpu:
        return "vit_tiny", "the smallest, on a CPU"
    return "vit_small", "the paper's smallest"


def _batch_size(config: Config, facts: Facts) -> Pick:
    # A ResNet-50 takes about the work of a ViT-S/16.
    patch = 16 if _family(config) == "resnet" else config.model.patch_size
    tokens = (config.crops.global_size // patch) ** 2
    one = 32 if facts.on_cpu else _power_of_two(min(256, max(8, 64 * 196 // tokens)))
    parts = (config.devices or facts.device_count) * config.accumulate
    wanted = min(one * (config.devices or facts.device_count), 1024)
    wanted = min(wanted, max(facts.examples // 8, min(4, facts.examples)))
    size = max(1, _power_of_two(wanted) // parts) * parts
    return size, f"{tokens} patches of {patch} pixels a view, {facts.examples} images"


def _epochs(config: Config, facts: Facts) -> Pick:
    wanted = 2_000 if facts.on_cpu else 10_000
    steps = max(1, facts.examples // config.batch_size)
    epochs = float(min(800, max(100, math.ceil(wanted / steps))))
    if epochs > 100:
        return epochs, f"for {wanted} steps at {steps} an epoch, within 100 and 800 epochs"
    return epochs, "the reference's"


def _prototypes(config: Config, facts: Facts) -> Pick:
    value = next((k for most, k in PROTOTYPES if facts.examples <= most), 65536)
    return value, f"{facts.examples} images"


def _warmup_epochs(config: Config, facts: Facts) -> Pick:
    return float(min(10.0, 0.1 * config.epochs)), "10 epochs, at most a tenth of the run"


def _freeze_epochs(config: Config, facts: Facts) -> Pick:
    return float(min(1.0, 0.1 * config.epochs)), "1 epoch, at most a tenth of the run"


def _temperature(config: Config, facts: Facts) -> Pick:
    return _between(facts.examples, 0.02, 0.07), "0.02 for few images, 0.07 for as many as ImageNet"


def _warmup_temperature(config: Config, facts: Facts) -> Pick:
    return min(0.04, config.teacher.temperature), "the reference's 0.04, at most the final one"


def _warmup_temperature_epochs(config: Config, facts: Facts) -> Pick:
    return float(min(30, math.floor(0.3 * config.epochs))), "30 epochs, at most 3 tenths of the run"


def _momentum(config: Config, facts: Facts) -> Pick:
    return _between(
        facts.examples, 0.99, 0.996
    ), "0.99 for few images, 0.996 for as many as ImageNet"


AUTO_FIELDS: dict[str, Callable[[Config, Facts], Pick]] = {
    "crops.global_size": _global_size,
    "model.patch_size": _patch_size,
    "crops.local_size": _local_size,
    "model.arch": _arch,
    "batch_size": _batch_size,
    "epochs": _epochs,
    "head.prototypes": _prototypes,
    "optim.warmup_epochs": _warmup_epochs,
    "optim.freeze_last_layer_epochs": _freeze_epochs,
    "teacher.temperature": _temperature,
    "teacher.warmup_temperature": _warmup_temperature,
    "teacher.warmup_temperature_epochs": _warmup_temperature_epochs,
    "teacher.momentum": _momentum,
}
"""In the order of picking: each may depend on those above it."""


def _family(config: Config) -> Family | None:
    """Of the architecture, where it is not yet to be picked."""
    return None if config.model.arch is None else ARCHITECTURES[config.model.arch].family


def _between(examples: int, small: float, large: float) -> float:
    share = min(1.0, max(0.0, (examples - SMALL_DATA) / (IMAGENET - SMALL_DATA)))
    return round(small + share * (large - small), 4)


def _power_of_two(value: int) -> int:
    return 1 << (max(1, value).bit_length() - 1)


def _show(value: int | float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
