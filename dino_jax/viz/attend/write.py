"""All that the command `attend` writes of photographs."""

import itertools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dino_jax.config import UserError
from dino_jax.config.looking import Looking
from dino_jax.files import made
from dino_jax.interop.encoder import Encoder
from dino_jax.viz.attend.figure import Seen, Style, write_figure
from dino_jax.viz.attend.files import Names, Written, write_arrays, write_heads
from dino_jax.viz.attend.maps import attention_maps, check_attention, check_head
from dino_jax.viz.attend.picture import Picture, open_rows
from dino_jax.viz.attend.stats import write_stats


def write_pictures(asked: Looking, encoders: Sequence[Encoder]) -> Written:
    """Write figures, files of heads, measures or the page, as asked.

    Raises:
        UserError: what is asked for cannot be had of these weights or these images.
    """
    check(asked, encoders)
    rows: Iterator[tuple[Picture, ...]] = open_rows(
        asked.image, encoders, size=asked.size, square=asked.square
    )
    rows = itertools.chain([next(rows)], rows)  # nothing is made for what cannot be read
    out = made(asked.out)
    if asked.html:
        from dino_jax.viz.explorer.write import write_explorer

        blocks = None if asked.block is None else (asked.block,)
        page, shown, start = out / "attention.html", [row[0] for row in rows], _start(asked)
        return Written([write_explorer(page, shown, encoders, blocks=blocks, start=start)])
    if asked.stats:
        return write_stats(out, rows, encoders)
    files: list[pathlib.Path] = []
    names = Names()
    for pictures in rows:
        stem = out / names.of(pictures[0].name)
        files += _write_one(asked, encoders, pictures, stem)
    return Written(files)


def write_film(asked: Looking, encoder: Encoder, *, stop: Callable[[], bool]) -> list[pathlib.Path]:
    """Write the film of a video, or of a folder of its frames; `stop` is asked between frames.

    Raises:
        UserError: as `viz.clips.write.write_clip`.
    """
    from dino_jax.viz.clips.write import write_clip

    check(asked, [encoder])
    source = pathlib.Path(asked.image).expanduser()
    if not source.exists():
        raise UserError(f"there is no file or folder {source}: name a video, or a folder of frames")
    return write_clip(
        source,
        made(asked.out),
        encoder,
        size=asked.size,
        square=asked.square,
        head=asked.head,
        block=_block(asked),
        mass=asked.mass or None,
        fps=asked.fps,
        frames=asked.frames,
        blend=asked.blend,
        upsampling=asked.upsampling,
        beside=asked.beside,
        stop=stop,
    )


def check(asked: Looking, encoders: Sequence[Encoder]) -> None:
    """Refuse, before anything is read, what these weights cannot show.

    Raises:
        UserError: no such block, head or point; or files would be written among the images.
    """
    needs_all = bool(asked.points) or asked.stats or asked.html
    for encoder in encoders:
        check_attention(encoder, block=_block(asked), points=needs_all)
        check_head(encoder, asked.head)
    folder = pathlib.Path(asked.image).expanduser()
    out = asked.out
    if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"--out={out} lies among the images of {folder}: name a folder outside it")


def _write_one(
    asked: Looking, encoders: Sequence[Encoder], pictures: Sequence[Picture], stem: pathlib.Path
) -> list[pathlib.Path]:
    seen = [_seen(asked, *each) for each in zip(encoders, pictures, strict=True)]
    style = Style(asked.outlined, asked.upsampling, asked.blend, asked.head)
    figure, arrays = (stem.with_name(f"{stem.name}-attention.{end}") for end in ("png", "npz"))
    write_figure(figure, seen, points=asked.points, style=style)
    write_arrays(arrays, seen, points=asked.points, mass=style.mass)
    files = [figure, arrays]
    if asked.heads:
        for number, one in enumerate(seen):
            folder = stem.with_name(f"{stem.name}-heads{f'-{number}' if number else ''}")
            files.append(write_heads(folder, one, style))
    return files


def _seen(asked: Looking, encoder: Encoder, picture: Picture) -> Seen:
    block = check_attention(encoder, block=_block(asked))
    maps = attention_maps(encoder, picture.pixels, block=block, points=asked.points)
    return Seen(encoder, block, picture, maps)


def _start(asked: Looking) -> dict[str, Any]:
    """What the page shows first, of what was asked for (`viz.explorer.start`)."""
    return {
        "head": asked.head,
        "mass": asked.mass,
        "blend": asked.blend,
        "smooth": asked.upsampling == "smooth",
        "point": asked.points[0] if asked.points else None,
    }


def _block(asked: Looking) -> int:
    return -1 if asked.block is None else asked.block
