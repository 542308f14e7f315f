"""The networks that can be built, by name: the one table of their sizes."""

import difflib
from typing import Literal, NamedTuple

from dino_jax.config.tree import ModelConfig, UserError

Family = Literal["vit", "resnet", "xcit"]


class Architecture(NamedTuple):
    """The sizes of one backbone; `width` is that of its features."""

    family: Family
    width: int
    depth: int
    """Transformer blocks (without XCiT's two class-attention blocks); bottlenecks of a ResNet."""
    heads: int
    """0 where there is no attention."""
    patch_sizes: tuple[int, ...] = ()
    """Those that exist; empty: any."""
    stages: tuple[int, ...] = ()
    """Bottlenecks of each of a ResNet's four layers."""
    layer_scale: float = 1.0
    """Initial value of XCiT's gammas (xcit.py: `eta`)."""


RESNET_STRIDE = 32
"""Pixels of an image that share one position of a ResNet's last map: its `patch_size`."""
RESNET_WIDTHS = 32
"""Channels of a ResNet's features to each of its first layer's inner ones."""

ARCHITECTURES = {
    # reference.md 1.2; paper table 1
    "vit_tiny": Architecture("vit", 192, 12, 3),
    "vit_small": Architecture("vit", 384, 12, 6),
    "vit_base": Architecture("vit", 768, 12, 12),
    # torchvision's resnet50
    "resnet50": Architecture("resnet", 2048, 16, 0, stages=(3, 4, 6, 3)),
    # facebookresearch/xcit, xcit.py: the two that DINO was released for
    "xcit_small_12": Architecture("xcit", 384, 12, 8, patch_sizes=(8, 16)),
    "xcit_medium_24": Architecture("xcit", 512, 24, 8, patch_sizes=(8, 16), layer_scale=1e-5),
}


def architecture_of(model: ModelConfig) -> Architecture:
    """The sizes of a configuration, its own `width`, `depth` and `heads` in place of the named.

    Raises:
        UserError: an unknown name, or sizes that cannot be built.
    """
    if model.arch not in ARCHITECTURES:
        near = difflib.get_close_matches(model.arch, ARCHITECTURES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(
            f"unknown model.arch {model.arch!r}: {hint}known are {', '.join(ARCHITECTURES)}"
        )
    named = ARCHITECTURES[model.arch]
    if named.family == "resnet":
        _check_resnet(model)
    own = {
        name: value
        for name in ("width", "depth", "heads")
        if (value := getattr(model, name)) is not None
    }
    found = named._replace(**own)
    for name, value in own.items():
        if value < 1:
            raise UserError(f"model.{name} is {value}: expected 1 or more")
    if found.heads and found.width % found.heads:
        raise UserError(
            f"model.width {found.width} is not divisible by model.heads {found.heads}: set "
            "model.heads to a divisor of the width"
        )
    if named.patch_sizes and model.patch_size not in named.patch_sizes:
        sizes = " and ".join(map(str, named.patch_sizes))
        raise UserError(f"model.patch_size is {model.patch_size}: {model.arch} exists with {sizes}")
    return found


def _check_resnet(model: ModelConfig) -> None:
    for name in ("depth", "heads"):
        if getattr(model, name) is not None:
            raise UserError(f"model.{name} is {getattr(model, name)}: {model.arch} has none to set")
    if model.width is not None and (model.width < 1 or model.width % RESNET_WIDTHS):
        raise UserError(
            f"model.width is {model.width}: expected a multiple of {RESNET_WIDTHS}, that many "
            f"times the channels of {model.arch}'s first layer"
        )
