"""`jaccard`: how well attention covers objects, and what it finds without being told of any."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dino_jax.config import UserError
from dino_jax.config.protocol_options import JaccardOptions
from dino_jax.data.crops import Box, cut
from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.folder import folder_of
from dino_jax.data.masked import VOID
from dino_jax.data.source import Source
from dino_jax.data.sources import open_source
from dino_jax.data.voc import voc_root
from dino_jax.evals.dense.stream import read_ahead
from dino_jax.evals.dense.waiting import say_patches, with_bar
from dino_jax.evals.objects.encoding import Encoded, Reading, open_reading
from dino_jax.evals.objects.labels import file_names, write_labels
from dino_jax.evals.objects.regions import Frame, Regions, regions_of
from dino_jax.evals.objects.truth import Truth, best_of_heads, by_class, open_objects, truth_of
from dino_jax.evals.protocol import Report, Request, Sample
from dino_jax.interop.encoder import NETWORK
from dino_jax.ops.discovery import localised

LOST, ATTENTION = "corloc", "corloc_attention"


class _Seen(NamedTuple):
    """One image after it was encoded."""

    number: int
    frame: Frame
    truth: Truth | None
    encoded: Encoded


class _Images(NamedTuple):
    """What is looked at: images, what marks their objects if anything does."""

    source: Source
    load: Callable[[int], tuple[UInt8[np.ndarray, "h w c"] | None, Truth | None]]
    """Nothing of a photograph without a truth that cannot be read."""
    notes: tuple[str, ...] = ()
    marked: bool = False
    readable: int = 0


def run(request: Request) -> Report:
    """Compare the regions of each head with each object, and LOST's box with their boxes.

    The figures are the overlap at each `--mass` (of an object with the head that fits it best, in
    the mean over an image's objects and then over images), and the shares of images in which the
    box of LOST, or of the attention, is that of an object (CorLoc); an example is an image.
    """
    options, out = request.options, request.out
    _check(request)
    images = _opened(request)
    names = file_names([images.source.name(i) for i in range(len(images.source))])
    figures: dict[str, np.ndarray] = {}
    count = 0
    reading = open_reading(
        request.network, features=options.lost, mesh=request.mesh, batch_size=request.batch_size
    )
    for seen in _encoded(request, reading, images):
        count += 1
        regions = regions_of(seen.encoded, fraction=options.mass[0], expansion=options.expansion)
        if seen.truth is not None:
            for name, value in _figures(seen, seen.truth, regions, options).items():
                figures.setdefault(name, np.zeros(len(images.source)))[seen.number] = value
        if options.masks and out is not None:
            told = _told(request, reading, images.source.name(seen.number))
            write_labels(out / "masks", names[seen.number], regions, seen.frame, told)
    if not count:
        raise UserError(f"none of the images of {images.source.spec} can be read")
    return _report(request, reading, images._replace(readable=count), figures)


def _check(request: Request) -> None:
    options, encoder = request.options, request.network
    if not options.mass or not all(0 < each <= 1 for each in options.mass):
        raise UserError("--mass: expected shares of the attention, above 0 and not above 1")
    if options.expansion < 1:
        raise UserError(f"--expansion={options.expansion}: expected 1 or more patches")
    if options.size < encoder.patch_size:
        raise UserError(f"--size={options.size}: less than a patch of {encoder.patch_size} pixels")
    if options.masks and request.out is None:
        raise UserError("--masks writes files: name a folder for them by --out")


def _opened(request: Request) -> _Images:
    """The folder's images with their objects; with `--masks` any source will do."""
    options, channels = request.options, request.network.channels
    folder = folder_of(request.data)
    root = voc_root(folder) if folder.is_dir() else None
    if root is not None:
        source = open_objects(root, options.val_set, channels=channels)
        count = by_class(source)
        note = (
            f"{count} of {len(source)} images have no SegmentationObject: each class that "
            "SegmentationClass marks in them counts as one object."
        )
        notes = (note,) if count else ()
        return _Images(source, functools.partial(truth_of, source, root), notes, marked=True)
    if not options.masks:
        raise UserError(
            f"{request.data} is not laid out as VOC (JPEGImages, SegmentationObject, "
            "ImageSets/Segmentation); images without objects marked can only be given masks: "
            "--masks --out=DIR"
        )
    images = open_source(request.data, channels=channels)
    return _Images(images, functools.partial(_unmarked, images))


def _unmarked(source: Source, index: int) -> tuple[UInt8[np.ndarray, "h w c"] | None, None]:
    try:
        return source.load(index), None
    except UnreadableImageError as error:
        source.name_unreadable(index, error)
        return None, None


def _encoded(request: Request, reading: Reading, images: _Images) -> Iterator[_Seen]:
    options, encoder = request.options, request.network
    side = options.size // encoder.patch_size * encoder.patch_size
    count = len(images.source)
    say_patches(encoder, side, side)

    def load(index: int) -> tuple[np.ndarray, tuple[int, Frame, Truth | None]] | None:
        image, truth = images.load(index)
        if image is None:
            return None
        height, width = image.shape[:2]
        stretched = cut(
            image, [Box(0, 0, height, width, False)], options.size, Image.Resampling.BILINEAR
        )[0]
        frame = Frame(height, width, options.size, encoder.patch_size)
        return stretched[:side, :side], (index, frame, truth)

    ahead = with_bar(read_ahead(load, range(count)), count, "looked at")
    for each in reading.extractor(each for each in ahead if each is not None):
        index, frame, truth = each.rest
        yield _Seen(index, frame, truth, reading.encoded(each))


def _figures(
    seen: _Seen, truth: Truth, regions: Regions, options: JaccardOptions
) -> dict[str, float]:
    frame, found = seen.frame, {}
    void = VOID if options.ignore_void else None
    for fraction in options.mass:
        best, _ = best_of_heads(
            seen.encoded.attention, truth, fraction=fraction, size=frame.size, patch=frame.patch,
            void=void,
        )  # fmt: skip
        found[figure_name(fraction)] = float(best.mean())
    part = regions.heads[regions.chosen].part
    found[LOST] = float(localised(frame.box(regions.found.mask), truth.boxes))
    found[ATTENTION] = float(localised(frame.box(part), truth.boxes))
    return found


def figure_name(fraction: float) -> str:
    """What the overlap at a fraction of the mass is called: `jaccard_60` of 0.6."""
    return f"jaccard_{100 * fraction:g}"


def _told(request: Request, reading: Reading, name: str) -> dict[str, Any]:
    options = request.options
    return {
        "image": name,
        "weights": request.network.name,
        "mass": options.mass[0],
        "size": options.size,
        "lost": reading.features,
        "expansion": options.expansion,
    }


def _report(
    request: Request, reading: Reading, images: _Images, figures: Mapping[str, np.ndarray]
) -> Report:
    options, encoder = request.options, request.network
    titles = {figure_name(each): f"Jaccard, {100 * each:g} % mass" for each in options.mass}
    titles |= {LOST: "CorLoc, LOST", ATTENTION: "CorLoc, attention"}
    notes = list(images.notes)
    if encoder.kind != NETWORK:
        notes.append(
            f"{encoder.name}: a Gaussian about the centre stands for the attention, so that its "
            "regions are centred ellipses; LOST reads the patches."
        )
    elif reading.features != options.lost:
        notes.append(f"{encoder.name}: LOST reads the patches, since it has no keys to read.")
    if options.masks:
        notes.append(
            f"{encoder.name}: masks, boxes and JSON of {images.readable} images are written."
        )
        if absent := len(images.source) - images.readable:
            notes.append(f"{absent} of {len(images.source)} images cannot be read: left out.")
    size = f"{options.size} x {options.size} pixels"
    title = (
        f"Attention and the objects of {len(images.source)} images, best head an object, {size}"
        if images.marked
        else f"Masks of {images.readable} images, {size}"
    )
    return Report(
        title,
        {name: Sample(units) for name, units in figures.items()},
        titles if figures else {},
        tuple(notes),
        files=(request.out / "masks",) if options.masks and request.out is not None else (),
    )
