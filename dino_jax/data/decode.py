"""Image files to uint8 arrays, by Pillow.

Colour conversion is Pillow's `convert`, as in the reference (`.convert('RGB')`): palettes are
looked up, CMYK is converted, transparency is dropped without compositing. Two things differ on
purpose. The EXIF orientation is applied (the reference ignores it, so that a photograph taken
upright trains lying on its side). And 16-bit greyscale is scaled to 8 bits, where `convert` clips
everything above 255 to white.
"""

import io
import os
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .tif .tiff .bmp .gif .ppm .pgm .pnm .jp2 .avif".split()
)
"""Names that are taken for images when a folder or an archive is searched (in lower case)."""

UNREAD_SUFFIXES = frozenset(
    ".heic .heif .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .raw .psd .svg .jxl".split()
)
"""Names of images of kinds that are not read here; a search that passes them over says so."""

_ORIENTATION = 0x0112
_ON_THEIR_SIDE = (5, 6, 7, 8)
"""EXIF orientations that exchange height and width."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_DEEP = ("I", "F")  # and every mode that begins with "I;16"


class UnreadableImageError(Exception):
    """One example that cannot be decoded; the pipeline puts another in its place."""


def is_image_name(name: str) -> bool:
    """Whether a file name looks like an image's; hidden files (`.x`, `._x.jpg`) never do."""
    base = name.rsplit("/", 1)[-1]
    return not base.startswith(".") and os.path.splitext(base)[1].lower() in SUFFIXES


def unread_suffix(path: str) -> str | None:
    """The suffix (in lower case) of an image of a kind not read here, unless it is hidden."""
    suffix = os.path.splitext(path)[1].lower()
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.split("/"))
    return suffix if suffix in UNREAD_SUFFIXES and not hidden else None


def decode(content: bytes, channels: int = 3) -> UInt8[np.ndarray, "h w c"]:
    """Decode one image file to uint8 of shape (height, width, channels), upright, read-only.

    1, 3 and 4 channels convert to grey, RGB and RGBA. Any other number must be what the file
    has, in its bands or, for a TIFF, in its pages taken together. Raises `UnreadableImageError`
    with the reason.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            return _decode_opened(image, channels)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        reason = "its content is no image that Pillow knows" if content else "it is empty"
        raise UnreadableImageError(reason) from error
    except Exception as error:  # a damaged file makes decoders raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImageError(reason) from error


def _decode_opened(image: Image.Image, channels: int) -> UInt8[np.ndarray, "h w c"]:
    mode = _MODES.get(channels)
    if mode is not None:
        return to_array(_upright(image), mode)
    if len(image.getbands()) == channels:
        return to_array(_upright(image), None)
    pages = [to_array(page, None) for page in _pages(image)]
    found = sum(page.shape[2] for page in pages)
    if found != channels:
        raise UnreadableImageError(f"it has {found} channels where {channels} are expected")
    if len({page.shape[:2] for page in pages}) > 1:
        raise UnreadableImageError("its pages differ in size, so they are no channels")
    return np.concatenate(pages, axis=2)


def _pages(image: Image.Image) -> Iterator[Image.Image]:
    for page in ImageSequence.Iterator(image):
        yield _upright(page)


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image) if image.getexif() else image
    except Exception:  # damaged metadata is no reason to lose the picture
        return image


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width that `decode` gives an opened image, without decoding it."""
    try:
        turned = image.getexif().get(_ORIENTATION) in _ON_THEIR_SIDE
    except Exception:  # damaged metadata is no reason to lose the picture
        turned = False
    return image.size if turned else (image.height, image.width)


def to_array(image: Image.Image, mode: str | None) -> UInt8[np.ndarray, "h w c"]:
    """The pixels of a Pillow image, converted to `mode` (None keeps its own bands)."""
    if image.mode in _DEEP or image.mode.startswith("I;16"):
        image = Image.fromarray(_to_8_bit(np.asarray(image)))
    if image.mode == "P":
        image.info.pop("transparency", None)  # dropped below in any case; Pillow would warn
        image = image.convert(mode or "RGB")
    if mode is not None and image.mode != mode:
        image = image.convert(mode)
    elif image.mode == "1":
        image = image.convert("L")
    pixels = np.asarray(image, np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _to_8_bit(values: np.ndarray) -> UInt8[np.ndarray, "h w"]:
    """Integers in [0, 65535] and floats in [0, 1] keep their scale; other ranges are stretched."""
    depth = values.astype(np.float64)
    low, high = float(depth.min()), float(depth.max())
    if not np.isfinite([low, high]).all():
        raise UnreadableImageError("it holds values that are not finite")
    full = 1.0 if values.dtype.kind == "f" else 65535.0
    if low < 0 or high > full:
        depth, full = depth - low, max(high - low, 1e-12)
    return np.round(depth * (255 / full)).astype(np.uint8)
