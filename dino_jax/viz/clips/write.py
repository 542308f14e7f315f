"""A clip in, its attention as a clip out."""

import contextlib
import itertools
import logging
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from tqdm import tqdm

from dino_jax.config import UserError
from dino_jax.data.clip import Clip, ffmpeg, open_clip
from dino_jax.files import made, writing
from dino_jax.interop.encoder import Encoder
from dino_jax.viz.attend.colour import Scale, Upsampling, masks, outlined, overlay, scale_of
from dino_jax.viz.attend.files import stem_of
from dino_jax.viz.attend.maps import block_count, check_attention, check_head
from dino_jax.viz.attend.picture import SIZE, Picture, pictured
from dino_jax.viz.clips.attending import maps_of_frames
from dino_jax.viz.clips.caption import caption
from dino_jax.viz.clips.film import written_film
from dino_jax.viz.clips.frames import written_frames

log = logging.getLogger(__name__)

STEADY = 90
"""Percent of the frames whose own scale is no wider than the clip's."""

T = TypeVar("T")


class Shown(NamedTuple):
    """How every frame is shown."""

    size: int = SIZE
    square: bool = False
    block: int = -1
    head: int | None = None
    """None: the mean of all."""
    mass: float | None = None
    """The share of the attention that is outlined, if any."""
    blend: float = 0.9
    upsampling: Upsampling = "nearest"
    beside: bool = False
    """The frame itself at the left."""


def write_clip(
    source: pathlib.Path,
    out: pathlib.Path,
    encoder: Encoder,
    *,
    size: int = SIZE,
    square: bool = False,
    head: int | None = None,
    block: int = -1,
    mass: float | None = None,
    fps: float | None = None,
    frames: bool = False,
    blend: float = 0.9,
    upsampling: Upsampling = "nearest",
    beside: bool = False,
    batch_size: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> list[pathlib.Path]:
    """Lay the attention of CLS over every frame of a film or a folder of frames; returns the files.

    Writes `out`/NAME-attention.mp4 at the clip's rate and, with `frames`, the folder
    `out`/NAME-attention of attn-frame-0000.png and so on, which are the stills of
    `viz.attend.colour` on one scale for the whole clip. The clip is read twice, a batch at a time:
    first the maps are computed and put aside on the disk, then the frames are drawn. `stop` is
    asked between frames; what is unfinished then is removed.

    Raises:
        UserError: the clip cannot be read, what is asked for is not there, or no film can be
            written (without ffmpeg `frames` of a folder of frames are written all the same).
        KeyboardInterrupt: `stop` said so.
    """
    show = Shown(size, square, block, head, mass, blend, upsampling, beside)
    show = show._replace(block=check_attention(encoder, block=block))
    check_head(encoder, head)
    if encoder.channels not in (1, 3):
        raise UserError(f"{encoder.name} reads {encoder.channels} channels: a clip has 3")
    clip = open_clip(source, fps=fps)
    filmed = _can_film(clip, frames=frames)
    start = time.monotonic()
    with tempfile.TemporaryFile(dir=made(out)) as aside:
        scale = _put_aside(clip, encoder, show, aside, out=out, batch_size=batch_size, stop=stop)
        aside.seek(0)
        drawn = _drawn(clip, encoder, show, scale, aside, stop=stop)
        written = _write(drawn, clip, encoder, out, show, scale, film=filmed, frames=frames)
    log.info(
        "%s: %s frame%s at %.5g a second, colour full at %.1f times the even share; %.1f done a "
        "second%s",
        clip.path.name, clip.number, "s" * (clip.number != 1), clip.rate, scale.full,
        (clip.number or 0) / (time.monotonic() - start), "; its sound is left out" * clip.sound,
    )  # fmt: skip
    return written


def _can_film(clip: Clip, *, frames: bool) -> bool:
    try:
        ffmpeg()
    except UserError as error:
        if not frames:
            raise
        log.warning("no film of %s, frames alone: %s", clip.path.name, error)
        return False
    return True


def _pictures(clip: Clip, encoder: Encoder, show: Shown) -> Iterator[Picture]:
    with contextlib.closing(clip.frames()) as frames:
        for frame in frames:
            if encoder.channels == 1:
                frame = np.asarray(Image.fromarray(frame).convert("L"))[..., None]
            name = clip.path.name
            yield pictured(frame, encoder, size=show.size, square=show.square, name=name)


def _put_aside(
    clip: Clip,
    encoder: Encoder,
    show: Shown,
    aside: IO[bytes],
    *,
    out: pathlib.Path,
    batch_size: int | None,
    stop: Callable[[], bool],
) -> Scale:
    """Write the map of every frame (float32) and return one scale for all of them.

    A scale of each frame's own would flicker: the colour of a place would change with what else
    is in the frame. This one is as wide as nine frames in ten need, so that a single frame does
    not dim the others.
    """
    pixels = (picture.pixels for picture in _pictures(clip, encoder, show))
    maps = maps_of_frames(encoder, pixels, block=show.block, head=show.head, batch_size=batch_size)
    fulls = []
    for each in _barred(maps, clip, "attention", stop):
        with writing(out):
            aside.write(np.ascontiguousarray(each, np.float32).data)
        fulls.append(scale_of([each]).full)
    return Scale(float(np.percentile(fulls, STEADY)))


def _drawn(
    clip: Clip,
    encoder: Encoder,
    show: Shown,
    scale: Scale,
    aside: IO[bytes],
    *,
    stop: Callable[[], bool],
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    for picture in _barred(_pictures(clip, encoder, show), clip, "film", stop):
        grid = tuple(side // encoder.patch_size for side in picture.pixels.shape[:2])
        values = np.frombuffer(aside.read(4 * grid[0] * grid[1]), np.float32).reshape(grid)
        yield drawn_frame(picture, values, show, scale)


def drawn_frame(
    picture: Picture, values: Float[np.ndarray, "rows columns"], show: Shown, scale: Scale
) -> UInt8[np.ndarray, "h w 3"]:
    """One frame as it is shown: the overlay of a still, outlined and with itself beside."""
    frame = overlay(
        picture.image, values, scale=scale, upsampling=show.upsampling, blend=show.blend
    )
    if show.mass:
        frame = outlined(frame, masks(values, show.mass))
    return np.concatenate([picture.image, frame], axis=1) if show.beside else frame


def _write(
    drawn: Iterator[UInt8[np.ndarray, "h w 3"]],
    clip: Clip,
    encoder: Encoder,
    out: pathlib.Path,
    show: Shown,
    scale: Scale,
    *,
    film: bool,
    frames: bool,
) -> list[pathlib.Path]:
    """Write what is drawn as a film, as a folder of frames, or as both; returns which."""
    stem, said = stem_of(clip.path.resolve().name) or "clip", described(encoder, show)
    name = f"{stem}-attention"
    written = [out / f"{name}.mp4"] * film + [out / name] * frames
    first = next(drawn)
    beneath = caption(first.shape[1], said, scale)
    with contextlib.ExitStack() as stack:
        takers = []
        if frames:
            takers.append(stack.enter_context(written_frames(out / name)))
        if film:
            height = first.shape[0] + beneath.shape[0]
            taker = stack.enter_context(
                written_film(
                    written[0], height=height, width=first.shape[1], rate=clip.rate, said=said
                )
            )
            takers.append(lambda frame: taker(np.concatenate([frame, beneath])))
        for frame in itertools.chain([first], drawn):
            for take in takers:
                take(frame)
    return written


def described(encoder: Encoder, show: Shown) -> str:
    """Weights, block, head and mask, as a film's caption says them; `show.block` is from 0."""
    last = " (the last)" * (show.block == block_count(encoder) - 1)
    heads = f"mean of {encoder.heads} heads" if show.head is None else f"head {show.head}"
    outline = f"; {100 * show.mass:g} % of it outlined" if show.mass else ""
    weights = encoder.name.rstrip("/").rsplit("/", 1)[-1]
    return f"{weights}: attention of CLS, block {show.block}{last}, {heads}{outline}"


def _barred(items: Iterator[T], clip: Clip, said: str, stop: Callable[[], bool]) -> Iterator[T]:
    """The same items with a bar of how many there were, in frames a second."""
    for item in tqdm(items, desc=said, total=clip.number, unit="frame", mininterval=0.5):
        if stop():
            raise KeyboardInterrupt
        yield item
