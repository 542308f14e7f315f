"""Pictures of what each head attends to: the CLS token's attention laid over the photograph."""

import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

COLOURS = "inferno"
_CELL = 1.35  # inches a picture


def cls_attention(
    attention: Float[np.ndarray, "n heads tokens tokens"], rows: int, columns: int
) -> Float[np.ndarray, "n heads {rows} {columns}"]:
    """The last block's attention of the CLS token to every patch, as maps on the patch grid.

    `attention` is softmaxed over its last axis and token 0 is CLS. Each map sums to 1 less what
    CLS gives to itself. Raises ValueError if rows x columns patches and CLS are not its tokens
    (paper, section 4.2.2; reference, section 1.10).
    """
    if attention.shape[-1] != rows * columns + 1:
        raise ValueError(f"{attention.shape[-1]} tokens are not CLS and {rows} x {columns} patches")
    return attention[:, :, 0, 1:].reshape(*attention.shape[:2], rows, columns)


def overlay(
    image: UInt8[np.ndarray, "h w c"], attention: Float[np.ndarray, "rows columns"]
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay one map over its image: the more attention, the more colour; the rest stays grey.

    The map is enlarged with smooth (bicubic) borders and stretched from its 2nd percentile to its
    99.5th, so maps of different heads can be compared in shape but not in strength.
    """
    import matplotlib as mpl

    strength = _stretched(_enlarged(attention, *image.shape[:2]))[..., None]
    grey = image.mean(axis=2, keepdims=True) / 255
    colour = mpl.colormaps[COLOURS](strength[..., 0])[..., :3]
    opacity = 0.35 + 0.5 * strength
    mixed = (1 - opacity) * (0.15 + 0.75 * grey) + opacity * colour
    return np.round(255 * np.clip(mixed, 0, 1)).astype(np.uint8)


def write_attention_picture(
    path: str | pathlib.Path,
    images: Sequence[UInt8[np.ndarray, "h w c"]],
    attention: Sequence[Float[np.ndarray, "heads rows columns"]],
    *,
    names: Sequence[str] = (),
    title: str = "",
    pixels_per_inch: int = 200,
) -> None:
    """Write a picture: a row a photograph; in it the photograph, the heads' mean, and every head.

    `attention` holds one array of maps an image (see `cls_attention`), on any patch grid. The
    folder is made if it is missing; the suffix of `path` says the format (png, pdf, svg).
    """
    from matplotlib.figure import Figure

    heads = len(attention[0])
    figure = Figure(figsize=(_CELL * (heads + 2), _CELL * len(images) + 0.35 * (1 + bool(title))))
    axes = figure.subplots(len(images), heads + 2, squeeze=False)
    for line, image, maps in zip(axes, images, attention, strict=True):
        pictures = [_rgb(image), overlay(image, maps.mean(axis=0))]
        pictures += [overlay(image, each) for each in maps]
        for axis, picture in zip(line, pictures, strict=True):
            axis.imshow(picture, interpolation="lanczos")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    headings = ["image", "mean of heads", *(f"head {head + 1}" for head in range(heads))]
    for axis, heading in zip(axes[0], headings, strict=True):
        axis.set_title(heading, fontsize=8, pad=4)
    for line, name in zip(axes, names, strict=False):
        line[0].set_ylabel(name, fontsize=7)
    if title:
        figure.suptitle(title, fontsize=9)
    figure.set_layout_engine("constrained", w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=pixels_per_inch)


def _rgb(image: np.ndarray) -> np.ndarray:
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[..., :3]


def _enlarged(attention: np.ndarray, height: int, width: int) -> np.ndarray:
    from PIL import Image

    picture = Image.fromarray(np.asarray(attention, np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))


def _stretched(values: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values, [2, 99.5])
    # A map without any structure stays dark instead of showing rounding as if it were a finding.
    return np.clip((values - low) / max(high - low, 1e-3 * abs(high), 1e-12), 0, 1)
