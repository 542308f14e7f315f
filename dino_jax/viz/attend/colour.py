"""The colours of attention: one scale, one way to lay a map over a photograph.

The colour map is matplotlib's `inferno`, perceptually uniform: the more attention, the lighter,
also in greyscale and to the colour-blind. The photograph beneath is grey and no lighter than the
colour that begins on it, so that lightness rises with attention wherever the photograph is bright.
"""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from dino_jax.ops.attention_mask import mass_masks

OVERLAY = "inferno"
PLAIN = "viridis"
"""Of maps without a photograph, as the original's files are (`plt.imsave`)."""
CATEGORIES = (
    "#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#0072b2", "#d55e00",
)  # fmt: skip
"""Okabe and Ito's colours, of points and lines; told apart by the colour-blind."""
OUTLINE = "#56b4e9"
"""Of what a mask holds: seen on the overlay's reds and yellows, and on grey."""
FULL = 4.0
"""At least so many times a patch's even share is shown in full colour."""

Upsampling = Literal["nearest", "smooth"]
UPSAMPLINGS: tuple[Upsampling, ...] = ("nearest", "smooth")

_FIRST = 0.57  # of the colour map, where the overlay begins
_BACKDROP = (0.02, 0.385)  # black and white of the photograph beneath
_TICKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_LIFT = 0.75  # power of the photograph's grey levels: what was mid grey stays so


class Scale(NamedTuple):
    """From attention to colour: none at a patch's even share, all at `full` times that.

    Between them colour goes by the logarithm, so that four times the share is as far from twice as
    twice from once. The even share is the mean of the map: what is given to CLS is not counted.
    """

    full: float


def scale_of(maps: Iterable[Float[np.ndarray, "..."]]) -> Scale:
    """One scale for several maps (..., rows, columns): full at their 99.5th percentile.

    But not below `FULL` even shares: stretched to its own range, the nearly even attention of an
    untrained network would look like a segmentation.
    """
    shares = [shares_of(each).ravel() for each in maps]
    most = float(np.percentile(np.concatenate(shares), 99.5)) if shares else FULL
    return Scale(max(most, FULL))


def shares_of(
    maps: Float[np.ndarray, "*maps rows columns"],
) -> Float[np.ndarray, "*maps rows columns"]:
    """Attention in units of the even share of its map."""
    even = maps.mean(axis=(-2, -1), keepdims=True)
    return maps / np.maximum(even, np.finfo(np.float32).tiny)


def strength(
    attention: Float[np.ndarray, "rows columns"], scale: Scale | None = None
) -> Float[np.ndarray, "rows columns"]:
    """How much colour each patch gets, in [0, 1]; by a scale of its own where none is given."""
    scale = scale_of([attention]) if scale is None else scale
    above = np.log(np.maximum(shares_of(attention), 1)) / np.log(scale.full)
    return np.minimum(above, 1).astype(np.float32)


def enlarged(
    values: Float[np.ndarray, "rows columns"],
    height: int,
    width: int,
    upsampling: Upsampling = "nearest",
) -> Float[np.ndarray, "{height} {width}"]:
    """A value a patch to a value a pixel: repeated, or by a bicubic filter kept in their range."""
    from PIL import Image

    filters = {"nearest": Image.Resampling.NEAREST, "smooth": Image.Resampling.BICUBIC}
    values = np.asarray(values, np.float32)
    resized = Image.fromarray(values).resize((width, height), filters[upsampling])
    return np.clip(np.asarray(resized), values.min(), values.max())


def overlay(
    image: UInt8[np.ndarray, "h w c"],
    attention: Float[np.ndarray, "rows columns"],
    *,
    scale: Scale | None = None,
    upsampling: Upsampling = "nearest",
    blend: float = 0.9,
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay one map over its image: the more attention, the more and the lighter the colour.

    `blend` is how opaque full colour is, in [0, 1].
    """
    height, width = image.shape[:2]
    strong = enlarged(strength(attention, scale), height, width, upsampling)
    return overlaid(backdrop(image), strong, blend)


def overlaid(
    beneath: Float[np.ndarray, "h w 1"], strong: Float[np.ndarray, "h w"], blend: float = 0.9
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay colours of a strength over a `backdrop`."""
    opacity = (blend * strong**0.75)[..., None]
    mixed = (1 - opacity) * beneath + opacity * coloured(strong)
    return np.round(255 * np.clip(mixed, 0, 1)).astype(np.uint8)


def backdrop(image: UInt8[np.ndarray, "h w c"]) -> Float[np.ndarray, "h w 1"]:
    """The photograph in grey beneath the colours, in [0, 1]."""
    dark, light = _BACKDROP
    grey = image[..., :3].mean(axis=2, keepdims=True) / 255
    return (dark + (light - dark) * grey**_LIFT).astype(np.float32)


def coloured(strong: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape 3"]:
    """The colour of each strength, in [0, 1]."""
    return colour_table()[np.round(255 * strong).astype(np.intp)].astype(np.float32) / 255


def colour_table() -> UInt8[np.ndarray, "256 3"]:
    """The colours of the overlay, from no strength to full."""
    return _table(OVERLAY, _FIRST)


def plain(values: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A map without a photograph, from its least to its most, as the original writes it."""
    from matplotlib.cm import ScalarMappable

    return np.asarray(ScalarMappable(cmap=PLAIN).to_rgba(values, bytes=True))[..., :3]


def _table(name: str, first: float) -> UInt8[np.ndarray, "256 3"]:
    import matplotlib as mpl

    colours = mpl.colormaps[name](np.linspace(first, 1.0, 256))[:, :3]
    return np.round(255 * colours).astype(np.uint8)


def masks(
    maps: Float[np.ndarray, "*maps rows columns"], mass: float
) -> Bool[np.ndarray, "*maps rows columns"]:
    """The patches that hold the largest share `mass` of each map (`ops.attention_mask`)."""
    return mass_masks(maps.reshape(*maps.shape[:-2], -1), mass).reshape(maps.shape)


def contours(
    mask: Bool[np.ndarray, "rows columns"],
) -> Float[np.ndarray, "segments 2 2"]:
    """The border of a mask as segments from (x, y) to (x, y), in patches from the top left.

    The picture's own edge is a border too, where the mask reaches it.
    """
    outside = np.pad(mask, 1)
    across, down = np.diff(outside[1:-1], axis=1), np.diff(outside[:, 1:-1], axis=0)
    rows, xs = np.nonzero(across)
    ys, columns = np.nonzero(down)
    upright = np.stack([np.stack([xs, rows], -1), np.stack([xs, rows + 1], -1)], axis=1)
    level = np.stack([np.stack([columns, ys], -1), np.stack([columns + 1, ys], -1)], axis=1)
    return np.concatenate([upright, level]).astype(np.float64)


def outlined(
    image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "rows columns"], *, width: int = 2
) -> UInt8[np.ndarray, "h w 3"]:
    """The border of a mask drawn into an image, `width` pixels wide, on either side of it."""
    height, across = image.shape[:2]
    drawn, colour = image.copy(), np.array([int(OUTLINE[k : k + 2], 16) for k in (1, 3, 5)])
    scale = np.array([across / mask.shape[1], height / mask.shape[0]])
    half = max(width // 2, 1)
    for (left, top), (right, bottom) in np.rint(contours(mask) * scale[None, None]).astype(int):
        rows = slice(max(top - half, 0), bottom + half)
        drawn[rows, max(left - half, 0) : right + half] = colour
    return drawn


def colour_bar(figure: Any, axis: Any, scale: Scale) -> None:
    """Draw the overlay's scale into an axis, with its unit: times a patch's even share."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm

    strong = np.linspace(0, 1, 256, dtype=np.float32)[None]
    colours = overlaid(np.zeros((1, 256, 1), np.float32), strong)[0] / 255
    shown = ScalarMappable(LogNorm(1, scale.full), ListedColormap(colours))
    bar = figure.colorbar(shown, cax=axis, orientation="horizontal", extend="max")
    ticks = [tick for tick in _TICKS if tick <= scale.full]
    bar.set_ticks(ticks, labels=[f"{tick:g}×" for tick in ticks], minor=False)
    bar.ax.minorticks_off()
    bar.set_label("attention to a patch, in even shares", fontsize=7, labelpad=2)
    bar.ax.tick_params(labelsize=7, length=2, pad=2)
    bar.outline.set_visible(False)
