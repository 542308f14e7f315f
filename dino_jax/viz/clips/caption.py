"""The strip beneath a film: what is seen, and the scale of its colours."""

import textwrap

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from dino_jax.viz.attend.colour import Scale, overlaid

_GROUND, _INK = 16, 225  # of 255
_LETTER = 0.49  # of its height, a letter's width in the mean
_BAR = 0.28  # of the width, for the scale
_LEGIBLE, _ROOMY = 96, 400  # pixels of width, for a strip, and for the scale in it


def caption(width: int, text: str, scale: Scale) -> UInt8[np.ndarray, "h {width} 3"]:
    """A strip of `width` pixels: the text at the left, in lines, and the scale at the right.

    A film too narrow for letters beside the scale goes without it, and below 96 pixels without a
    strip: its height is 0.
    """
    if width < _LEGIBLE:
        return np.zeros((0, width, 3), np.uint8)
    size = int(np.clip(width / 42, 10, 20))
    with_bar = width >= _ROOMY
    room = int(width * (1 - _BAR * with_bar)) - 2 * size
    lines = textwrap.wrap(text, max(8, int(room / (_LETTER * size)))) or [""]
    height = max(int(1.35 * size * len(lines)), int(2.7 * size) * with_bar) + size
    strip = Image.new("RGB", (width, height + height % 2), (_GROUND,) * 3)
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(size)
    for number, line in enumerate(lines):
        draw.text((size, size // 2 + int(1.35 * size * number)), line, (_INK,) * 3, font)
    if with_bar:
        _draw_scale(strip, scale, size)
    return np.asarray(strip)


def _draw_scale(strip: Image.Image, scale: Scale, size: int) -> None:
    """The colours over black, as `viz.attend.colour.colour_bar`; beneath it, in even shares."""
    left, right = int(strip.width * (1 - _BAR)), strip.width - size
    strong = np.linspace(0, 1, right - left, dtype=np.float32)[None]
    line = overlaid(np.zeros((1, right - left, 1), np.float32), strong)
    bar = np.repeat(line, size // 2 + 2, axis=0)
    strip.paste(Image.fromarray(bar), (left, size // 2))
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(size * 0.85)
    below = size // 2 + bar.shape[0] + size // 5
    draw.text((left, below), "1", (_INK,) * 3, font)
    draw.text(((left + right) // 2, below), "even shares", (_INK,) * 3, font, anchor="ma")
    draw.text((right, below), f"{scale.full:.3g}", (_INK,) * 3, font, anchor="ra")
