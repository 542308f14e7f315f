"""All that the command `attend` writes of photographs."""

import logging
import pathlib
from collections.abc import Sequence

from dino_jax.config.looking import Looking
from dino_jax.interop.encoder import Encoder
from dino_jax.viz.attend.maps import check_attention
from dino_jax.viz.attend.picture import open_pictures

log = logging.getLogger(__name__)


def write_pictures(
    asked: Looking, encoders: Sequence[Encoder], out: pathlib.Path
) -> list[pathlib.Path]:
    """Write figures, files of heads, measures or the page, as asked; returns the files.

    Raises:
        UserError: what is asked for cannot be had of these weights or these images.
    """
    block = -1 if asked.block is None else asked.block
    for encoder in encoders:
        check_attention(encoder, block=block, points=bool(asked.points))
    if asked.html:
        from dino_jax.viz.explorer.write import write_explorer

        pictures = list(
            open_pictures(asked.image, encoders[0], size=asked.size, square=asked.square)
        )
        blocks = None if asked.block is None else (asked.block,)
        return [write_explorer(out / "attention.html", pictures, encoders, blocks=blocks)]
    return []
