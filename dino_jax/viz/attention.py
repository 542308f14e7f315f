"""Pictures of what each head attends to: the CLS token's attention laid over the photograph."""

import itertools
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

COLOURS = "inferno"
FULL = 2.5
"""At least so many times a patch's even share is shown in full colour."""
_CELL = 1.35  # inches a picture


def cls_attention(
    attention: Float[np.ndarray, "n heads queries tokens"], rows: int, columns: int
) -> Float[np.ndarray, "n heads {rows} {columns}"]:
    """The last block's attention of the CLS token to every patch, as maps on the patch grid.

    `attention` is softmaxed over its last axis; token 0 is CLS, the first or the only query. Each
    map sums to 1 less what CLS gives to itself. Raises ValueError if rows x columns patches and
    CLS are not its tokens (paper, section 4.2.2; reference, section 1.10).
    """
    if attention.shape[-1] != rows * columns + 1:
        raise ValueError(f"{attention.shape[-1]} tokens are not CLS and {rows} x {columns} patches")
    return attention[:, :, 0, 1:].reshape(*attention.shape[:2], rows, columns)


def overlay(
    image: UInt8[np.ndarray, "h w c"], attention: Float[np.ndarray, "rows columns"]
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay one map over its image: the more attention, the more colour; the rest stays grey.

    Colour begins at a patch's even share of the map and is full at the map's 99.5th percentile,
    but not below `FULL` times that share: stretched to its own range, the nearly even attention of
    an untrained network would look like a segmentation.
    """
    import matplotlib as mpl

    strength = _strength(_enlarged(attention, *image.shape[:2]), float(attention.mean()))
    grey = image[..., :3].mean(axis=2, keepdims=True) / 255
    colour = mpl.colormaps[COLOURS](0.15 + 0.85 * strength)[..., :3]
    opacity = 0.9 * strength[..., None] ** 0.75
    mixed = (1 - opacity) * (0.1 + 0.75 * grey) + opacity * colour
    return np.round(255 * np.clip(mixed, 0, 1)).astype(np.uint8)


def write_attention_picture(
    path: str | pathlib.Path,
    images: Sequence[UInt8[np.ndarray, "h w c"]],
    attention: Sequence[Float[np.ndarray, "heads rows columns"]],
    *,
    before: Sequence[Float[np.ndarray, "heads rows columns"]] | None = None,
    names: Sequence[str] = (),
    title: str = "",
    pixels_per_inch: int = 200,
) -> None:
    """Write a picture: a row a photograph; in it the photograph, the heads' mean, and every head.

    `attention` holds one array of maps an image (see `cls_attention`), on any patch grid;
    `before`, the maps of the network before training, adds a column with the mean of its heads.
    The folder is made if it is missing; the suffix of `path` says the format (png, pdf, svg).
    """
    from matplotlib.figure import Figure

    pictures = [
        [_rgb(image), overlay(image, maps.mean(axis=0)), *(overlay(image, each) for each in maps)]
        for image, maps in zip(images, attention, strict=True)
    ]
    headings = ["image", "mean of heads", *(f"head {i + 1}" for i in range(len(attention[0])))]
    if before is not None:
        headings.append("before training")
        for line, image, maps in zip(pictures, images, before, strict=True):
            line.append(overlay(image, maps.mean(axis=0)))
    figure = Figure(
        figsize=(_CELL * len(headings) + 0.2 * bool(names), _CELL * len(images) + 0.25),
        layout="constrained",
    )
    axes = figure.subplots(len(images), len(headings), squeeze=False)
    for axis, picture in zip(axes.flat, itertools.chain.from_iterable(pictures), strict=True):
        axis.imshow(picture, interpolation="lanczos")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for axis, heading in zip(axes[0], headings, strict=True):
        axis.set_title(heading, fontsize=8, pad=4)
    for axis, name in zip(axes[:, 0], names, strict=False):
        axis.set_ylabel(name, fontsize=7, parse_math=False)  # a file's name may hold a $
    figure.suptitle(title, fontsize=9)
    figure.set_layout_engine("constrained", w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=pixels_per_inch, bbox_inches="tight", pad_inches=0.03)


def _rgb(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    return image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)


def _enlarged(
    attention: Float[np.ndarray, "rows columns"], height: int, width: int
) -> Float[np.ndarray, "h w"]:
    from PIL import Image

    picture = Image.fromarray(np.asarray(attention, np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))


def _strength(values: Float[np.ndarray, "h w"], even_share: float) -> Float[np.ndarray, "h w"]:
    full = max(float(np.percentile(values, 99.5)), FULL * even_share, 1e-12)
    return np.clip((values - even_share) / (full - even_share), 0, 1)
