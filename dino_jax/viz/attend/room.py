"""Whether there is memory for every token asking every other, said before it is taken."""

import os
import pathlib

import jax

from dino_jax.config import UserError
from dino_jax.interop.encoder import Encoder

COPIES = 2
"""Of one block's map of all heads (float32) that may be held at once; 1.1 were measured on CPU."""
_SHARE = 0.6  # of the memory there is: weights, activations and Python need some too
_GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def needed(encoder: Encoder, patches: int) -> int:
    """Bytes that the attention of one block takes, of all its tokens and heads."""
    asking = 1 if encoder.arch.startswith("xcit") else patches + 1
    return COPIES * 4 * encoder.heads * asking * (patches + 1)


def available() -> int:
    """Bytes that may be taken: of the accelerator, else of the machine or of this process."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(_SHARE * stats["bytes_limit"])
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in map(pathlib.Path, _GROUP_LIMITS):
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):  # none there, or "max"
            continue
    return int(_SHARE * min(limits))


def check_room(
    encoder: Encoder,
    rows: int,
    columns: int,
    *,
    name: str,
    shape: tuple[int, ...] | None = None,
    room: int | None = None,
) -> None:
    """Refuse a grid of patches whose attention would not fit; `room` is `available()` by default.

    Raises:
        UserError: in one line, with the largest size that fits.
    """
    room = available() if room is None else room
    patches = rows * columns
    if needed(encoder, patches) <= room:
        return
    told = f" of {shape[1]} x {shape[0]} pixels" if shape else ""
    size = largest_size(encoder, rows, columns, room)
    wanted = needed(encoder, patches)
    hint = f"--size={size} fits" if size else "no --size fits its shape, --square stretches it"
    raise UserError(
        f"{name}{told}: {rows} x {columns} patches of {encoder.patch_size} pixels need "
        f"{wanted / 2**30:.1f} GiB for attention, {room / 2**30:.1f} GiB are there: {hint}"
    )


def largest_size(encoder: Encoder, rows: int, columns: int, room: int) -> int:
    """Pixels of the short side, a multiple of the patch, that fit at this shape; 0 if none do."""
    short, long = sorted((rows, columns))
    fits = 0
    for count in range(1, short):
        if needed(encoder, count * (count * long // short)) > room:
            break
        fits = count
    return fits * encoder.patch_size
