"""What the process does with memory it has freed."""

import ctypes
import os
import sys

# glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
# Linux's <sys/mman.h>, and the pages that it makes of 512 small ones.
_MADV_HUGEPAGE, HUGE_PAGE = 14, 2 << 20


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next request; True where it agreed.

    XLA on CPU allocates a step's temporaries anew at every step (hundreds of megabytes) and glibc
    gives blocks of that size back to the system each time: the kernel then clears every page
    again, a fifth of a small model's step. Call it before jax is imported, since a thread keeps
    the arena it first allocated from, and only the first arena can grow that large. The process
    keeps its peak memory until it ends. What it keeps is asked for in huge pages, since a step
    passes through all of it and a processor's table of pages holds a few megabytes of small ones.
    Does nothing without glibc, or where the environment sets malloc's options itself.
    """
    own_choice = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if own_choice or not sys.platform.startswith("linux"):
        return False
    try:
        library = ctypes.CDLL(None)
        mallopt = library.mallopt
    except (OSError, AttributeError):
        return False
    # One arena, no block mapped on its own, and -1: the top of the heap is never given back.
    wanted = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    if not all(mallopt(option, value) == 1 for option, value in wanted):
        return False
    _ask_for_huge_pages(library, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    return True


def _ask_for_huge_pages(library: ctypes.CDLL, size: int) -> None:
    """Grow the heap by `size` bytes that nobody has touched, advise the kernel, give them back.

    They stay the heap's, cost no memory until they are used, and come next. A system that will not
    promise so much, or has no huge pages, goes on with small ones.
    """
    library.malloc.argtypes, library.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    library.free.argtypes, library.free.restype = [ctypes.c_void_p], None
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    address = library.malloc(size)
    if not address:
        return
    start = -(-address // HUGE_PAGE) * HUGE_PAGE
    whole = (address + size - start) // HUGE_PAGE * HUGE_PAGE
    library.madvise(start, max(whole, 0), _MADV_HUGEPAGE)
    library.free(address)
