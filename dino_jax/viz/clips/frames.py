"""Frames of a clip as files of one folder, which is whole or as it was."""

import contextlib
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dino_jax.files import made, writing

NAME = "attn-frame-{:04d}.png"
"""Counted from 0, as the original counts; a fifth digit follows 9999."""


@contextlib.contextmanager
def written_frames(
    folder: pathlib.Path,
) -> Iterator[Callable[[UInt8[np.ndarray, "h w 3"]], None]]:
    """Yield what takes frame after frame; they lie in `folder` once the block has ended.

    Frames of before go then, so that those of a longer clip do not stay. If the block fails nothing
    has changed.

    Raises:
        UserError: the folder, or a frame in it, cannot be written.
    """
    made(folder.parent)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as unfinished:
        number = 0

        def take(frame: UInt8[np.ndarray, "h w 3"]) -> None:
            nonlocal number
            path = pathlib.Path(unfinished) / NAME.format(number)
            with writing(folder / path.name, path):
                Image.fromarray(np.ascontiguousarray(frame)).save(path, compress_level=4)
            number += 1

        yield take
        made(folder)
        for before in folder.glob("attn-frame-*.png"):
            with writing(before):
                before.unlink()
        for path in sorted(pathlib.Path(unfinished).iterdir()):
            with writing(folder / path.name, path):
                shutil.move(path, folder / path.name)
