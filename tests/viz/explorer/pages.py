"""What a page holds, read back by Python."""

import base64
import json
import pathlib
import re

import numpy as np

from dino_jax.viz.attend.picture import Picture
from dino_jax.viz.explorer.pack import Packed, Unpacked, unpack

_ELEMENT = '<script type="{}" id="{}">(.*?)</script>'


def picture(height: int, width: int, name: str = "noise.png", seed: int = 0) -> Picture:
    """Blobs of colour."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
    pixels = small.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    return Picture(name, pixels, pixels)


def facts(page: pathlib.Path) -> dict:
    """The JSON of the page."""
    return json.loads(_element(page.read_text(), "application/json", "facts"))


def held(page: pathlib.Path, weights: int, image: int, block: int) -> Unpacked:
    """One of its blocks."""
    name = f"data-{weights}-{image}-{block}"
    told = facts(page)["parts"][name]
    content = base64.b64decode(_element(page.read_text(), "text/plain", name))
    first, second = told["lengths"][0], sum(told["lengths"][:2])
    streams = content[:first], content[first:second], content[second:]
    return unpack(
        Packed(streams, told["heads"], told["tokens"], told["channels"], told["error"], 0, 0)
    )


def _element(text: str, kind: str, name: str) -> str:
    found = re.search(_ELEMENT.format(kind, name), text, re.DOTALL)
    assert found, name
    return found[1]
