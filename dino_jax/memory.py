"""What the process does with memory it has freed."""

import ctypes
import os
import sys

# glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next request; True where it agreed.

    XLA on CPU allocates a step's temporaries anew at every step (hundreds of megabytes) and glibc
    gives blocks of that size back to the system each time: the kernel then clears every page
    again, a fifth of a small model's step. Call it before jax is imported, since a thread keeps
    the arena it first allocated from, and only the first arena can grow that large. The process
    keeps its peak memory until it ends. Does nothing without glibc, or where the environment sets
    malloc's options itself.
    """
    own_choice = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if own_choice or not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # One arena, no block mapped on its own, and -1: the top of the heap is never given back.
    wanted = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    return all(mallopt(option, value) == 1 for option, value in wanted)
