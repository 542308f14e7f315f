"""RandAugment by Pillow, as timm has it: the list of operations, their strengths and their draws.

Cubuk et al. 2020; the variant `rand-m9-mstd0.5-inc1` is the one that DeiT trained with. An
operation with the suffix of an "increasing" one grows stronger with the magnitude where the paper's
grew weaker. Draws and their application are apart, so that the same draws give the same picture as
timm's do.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageEnhance, ImageOps

from dino_jax.config import UserError

MOST = 10.0
"""The magnitude at which an operation is at its strongest."""
DRAWS = 6
"""Uniforms of one layer: which, whether, two of the magnitude, the sign, one that is spare."""
_EXPECTED = "expected rand-mM-nN-pP-mstdS-incI, any of the parts after rand left out, or none"

Picture = Image.Image
Operation = Callable[[Picture, float, tuple[int, ...]], Picture]
"""(picture, argument, colour of what comes in from outside) -> picture."""


@dataclasses.dataclass(frozen=True)
class Policy:
    """How often, how many and how strong; the names are those of the text (m, n, p, mstd, inc)."""

    magnitude: float = MOST
    layers: int = 2
    probability: float = 0.5
    deviation: float = 0.0
    increasing: bool = False
    outside: tuple[int, ...] = (128, 128, 128)


@dataclasses.dataclass(frozen=True)
class Applied:
    """One operation and its argument (0 where it takes none)."""

    name: str
    argument: float = 0.0


def parse_policy(text: str, outside: Sequence[int] = (128, 128, 128)) -> Policy:
    """Read a policy as it is written on command lines of timm.

    Raises:
        UserError: it is no such text.
    """
    first, *parts = text.split("-")
    found = {}
    for part in parts:
        match = re.fullmatch(r"(m|n|p|mstd|inc)(\d+(?:\.\d+)?)", part)
        if match is None:
            raise UserError(f"--randaugment={text}: {part!r} is not known; {_EXPECTED}")
        found[match[1]] = float(match[2])
    if first != "rand":
        raise UserError(f"--randaugment={text}: {_EXPECTED}")
    return Policy(
        magnitude=found.get("m", MOST),
        layers=int(found.get("n", 2)),
        probability=found.get("p", 0.5),
        deviation=found.get("mstd", 0.0),
        increasing=bool(found.get("inc", 0)),
        outside=tuple(outside),
    )


def draw(random: np.random.Generator, policy: Policy) -> list[Applied]:
    """Choose what happens to one picture; always as many draws, whatever comes out."""
    names = INCREASING if policy.increasing else ORIGINAL
    chosen = []
    for _ in range(policy.layers):
        u = [float(value) for value in random.random(DRAWS)]
        # Box and Muller's: the algorithm behind `standard_normal` may change between versions.
        noise = math.sqrt(-2.0 * math.log(1.0 - u[2])) * math.cos(2.0 * math.pi * u[3])
        magnitude = policy.magnitude + policy.deviation * noise
        name = names[int(u[0] * len(names))]
        if u[1] <= policy.probability:
            chosen.append(Applied(name, argument(name, magnitude, negative=u[4] > 0.5)))
    return chosen


def argument(name: str, magnitude: float, *, negative: bool = False) -> float:
    """What an operation is given at a magnitude, which is cut to [0, 10]; 0 if it takes nothing.

    `negative` turns the direction of those that have two.
    """
    level = min(max(magnitude, 0.0), MOST) / MOST
    sign = -1.0 if negative else 1.0
    kind = name.removesuffix("Increasing")
    if name in ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"):
        most = {"Rotate": 30.0, "ShearX": 0.3, "ShearY": 0.3}.get(name, 0.45)
        return sign * level * most
    if kind == "Posterize":
        bits = int(level * 4)
        return 4 - bits if kind != name else bits
    if kind == "Solarize":
        threshold = min(256, int(level * 256))
        return 256 - threshold if kind != name else threshold
    if name == "SolarizeAdd":
        return min(128, int(level * 110))
    if kind in ("Color", "Contrast", "Brightness", "Sharpness"):
        return max(0.1, 1.0 + sign * level * 0.9) if kind != name else level * 1.8 + 0.1
    return 0.0


def apply(
    image: UInt8[np.ndarray, "h w c"], operations: Sequence[Applied], policy: Policy
) -> UInt8[np.ndarray, "h w c"]:
    """Do to one RGB picture what was drawn, in that order."""
    if not operations:
        return image
    picture = Image.fromarray(image)
    for operation in operations:
        kind = operation.name.removesuffix("Increasing")
        picture = _OPERATIONS[kind](picture, operation.argument, policy.outside)
    return np.asarray(picture)


def _affine(matrix: Callable[[Picture, float], tuple[float, ...]]) -> Operation:
    def run(picture: Picture, value: float, outside: tuple[int, ...]) -> Picture:
        return picture.transform(
            picture.size,
            Image.Transform.AFFINE,
            matrix(picture, value),
            resample=Image.Resampling.BICUBIC,
            fillcolor=outside,
        )

    return run


def _rotate(picture: Picture, value: float, outside: tuple[int, ...]) -> Picture:
    return picture.rotate(value, resample=Image.Resampling.BICUBIC, fillcolor=outside)


def _solarise_add(picture: Picture, value: float, outside: tuple[int, ...]) -> Picture:
    del outside
    table = [min(255, level + int(value)) if level < 128 else level for level in range(256)]
    return picture.point(table * len(picture.getbands()))


def _posterise(picture: Picture, value: float, outside: tuple[int, ...]) -> Picture:
    """Keep the highest bits; none of them at the greatest magnitude, which Pillow itself refuses.

    Older versions gave a black picture then, and so it was in DeiT's training.
    """
    del outside
    kept = 256 - 2 ** (8 - int(value))
    return picture.point([level & kept for level in range(256)] * len(picture.getbands()))


def _enhanced(kind: type) -> Operation:
    return lambda picture, value, outside: kind(picture).enhance(value)


_OPERATIONS: dict[str, Operation] = {
    "AutoContrast": lambda picture, value, outside: ImageOps.autocontrast(picture),
    "Equalize": lambda picture, value, outside: ImageOps.equalize(picture),
    "Invert": lambda picture, value, outside: ImageOps.invert(picture),
    "Rotate": _rotate,
    "Posterize": _posterise,
    "Solarize": lambda picture, value, outside: ImageOps.solarize(picture, int(value)),
    "SolarizeAdd": _solarise_add,
    "Color": _enhanced(ImageEnhance.Color),
    "Contrast": _enhanced(ImageEnhance.Contrast),
    "Brightness": _enhanced(ImageEnhance.Brightness),
    "Sharpness": _enhanced(ImageEnhance.Sharpness),
    "ShearX": _affine(lambda picture, value: (1, value, 0, 0, 1, 0)),
    "ShearY": _affine(lambda picture, value: (1, 0, 0, value, 1, 0)),
    "TranslateXRel": _affine(lambda picture, value: (1, 0, value * picture.width, 0, 1, 0)),
    "TranslateYRel": _affine(lambda picture, value: (1, 0, 0, 0, 1, value * picture.height)),
}

ORIGINAL = tuple(_OPERATIONS)
"""In timm's order."""
INCREASING = tuple(
    f"{name}Increasing"
    if name in ("Posterize", "Solarize", "Color", "Contrast", "Brightness", "Sharpness")
    else name
    for name in ORIGINAL
)
"""The same, those that have an increasing variant replaced by it."""
