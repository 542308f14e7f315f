"""Crops cut for training by a resizer that uses the processor's vector instructions.

The only file that knows cykooz_resizer (fast_image_resize). It computes Pillow's bicubic filter
with antialiasing in fixed point, the vertical pass first where Pillow begins with the horizontal
one: on average 0.2/255 from Pillow's crops. Without it Pillow cuts.
"""

import importlib
import importlib.util
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dino_jax.data.crops import Box, cut

AVAILABLE = importlib.util.find_spec("cykooz_resizer") is not None
_CONVOLUTION, _CATMULL_ROM = 2, 3  # Keys' cubic with a = -0.5, which Pillow calls bicubic
_MIRROR = Image.Transpose.FLIP_LEFT_RIGHT

Corners = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""


class Cutter:
    """Cuts crops into given arrays; holds buffers, so that each thread needs one of its own."""

    def __init__(self, *, pillow: bool = not AVAILABLE) -> None:
        """Take the quick library, or Pillow where that is not installed or is asked for."""
        self._library: Any = None
        self._canvases: dict[tuple[str, int], Image.Image] = {}
        if not pillow:
            self._library = importlib.import_module("cykooz_resizer.rust_lib")
            self._resizer = self._library.RustResizer()
            options = self._library.RustResizeOptions().set_use_alpha(False)
            self._whole = options.set_resize_alg(_CONVOLUTION, _CATMULL_ROM, 2)

    def __call__(
        self,
        image: UInt8[np.ndarray, "h w c"],
        boxes: list[Box],
        out: UInt8[np.ndarray, "n size size c"],
        full: tuple[int, int] | None = None,
    ) -> None:
        """Fill `out` with the boxes of an image that has the height and width `full`.

        Where `image` was decoded smaller than that, the boxes are scaled, and pixels beside a box
        have an influence on its border.
        """
        height, width = image.shape[:2]
        scaled = full is not None and full != (height, width)
        if self._library is None and not scaled:
            out[...] = cut(image, boxes, out.shape[1])
            return
        share = round(8 * height / full[0]) / 8 if scaled and full else 1.0  # of libjpeg, exactly
        for channels, plane in _planes(image):
            for box, row in zip(boxes, out, strict=True):
                corners = (box.left, box.top, box.width, box.height)
                if scaled:
                    crop = self._part(plane, _scaled(corners, share), len(row))
                else:
                    left, top, w, h = corners
                    crop = self._resized(plane.crop((left, top, left + w, top + h)), len(row))
                row[:, :, channels] = np.asarray(crop.transpose(_MIRROR) if box.flip else crop)

    def _canvas(self, mode: str, size: int) -> Image.Image:
        """What is resized into; one for all crops of a size, since each is copied from it."""
        if (mode, size) not in self._canvases:
            self._canvases[mode, size] = Image.new(mode, (size, size))
        return self._canvases[mode, size]

    def _resized(self, plane: Image.Image, size: int) -> Image.Image:
        made = self._canvas("L" if plane.mode == "L" else "RGB", size)
        wrapped = self._library.PilImageWrapper
        self._resizer.resize_pil(wrapped(plane), wrapped(made), self._whole)
        return made

    def _part(self, plane: Image.Image, corners: Corners, size: int) -> Image.Image:
        left, top, width, height = corners
        if self._library is None:
            plane = plane if plane.mode == "L" else plane.convert("RGB")
            box = (left, top, left + width, top + height)
            return plane.resize((size, size), Image.Resampling.BICUBIC, box=box)
        made = self._canvas("L" if plane.mode == "L" else "RGB", size)
        wrapped = self._library.PilImageWrapper
        boxed = self._whole.set_crop_box(left, top, width, height)
        self._resizer.resize_pil(wrapped(plane), wrapped(made), boxed)
        return made


def _scaled(corners: tuple[int, int, int, int], share: float) -> Corners:
    left, top, width, height = corners
    return left * share, top * share, width * share, height * share


def _planes(image: UInt8[np.ndarray, "h w c"]) -> list[tuple[int | slice, Image.Image]]:
    """Pillow images of an array, each with the channels it holds; without a copy if it can be."""
    height, width, channels = image.shape
    if channels != 3:
        planes = np.moveaxis(image, 2, 0)
        return [(c, Image.fromarray(np.ascontiguousarray(plane))) for c, plane in enumerate(planes)]
    if image.strides == (4 * width, 4, 1) and image.base is not None:
        # Pillow keeps colours in four bytes a pixel too: it can look at these where they lie.
        padded = np.lib.stride_tricks.as_strided(image, (height, width, 4), writeable=False)
        return [
            (slice(None), Image.frombuffer("RGBA", (width, height), padded, "raw", "RGBA", 0, 1))
        ]
    return [(slice(None), Image.fromarray(image))]
