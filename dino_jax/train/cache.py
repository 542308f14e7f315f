"""Compiled programs kept between processes: JAX's own cache, in the user's cache folder.

DINO_JAX_COMPILE_CACHE=off      nothing is kept
JAX_COMPILATION_CACHE_DIR=DIR   kept there, by JAX's own rules and without a limit
"""

import contextlib
import hashlib
import logging
import os
import pathlib
import platform
import tempfile

import jax

log = logging.getLogger(__name__)

SWITCH = "DINO_JAX_COMPILE_CACHE"
MOST_BYTES = 2 * 2**30
"""What one machine's folder may hold when a command starts; the longest unused go first."""
LEAST_SECONDS = 0.01
"""Programs that compile faster are not kept."""


def keep_compiled() -> pathlib.Path | None:
    """Have JAX keep what it compiles for the next process; the folder, None where nothing is kept.

    `$XDG_CACHE_HOME/dino_jax/compiled` (`~/.cache/…`), a folder a kind of processor within it,
    since code for one may not run on another. Several processes may use it at once: an entry half
    written or damaged is compiled again, with a warning by JAX. Does nothing where the environment
    says so, or says where; where the folder cannot be written it is one line of the log.
    """
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "false", "no"):
        return None
    if chosen := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return pathlib.Path(chosen)  # JAX has read it itself
    try:
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
        _prune(folder, MOST_BYTES)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
        log.info("compiled programs are not kept (%s): every start compiles anew", error)
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)
    return folder


def _folder() -> pathlib.Path:
    root = os.environ.get("XDG_CACHE_HOME", "")
    # By the XDG specification a relative path is to be ignored.
    base = pathlib.Path(root) if os.path.isabs(root) else pathlib.Path.home() / ".cache"
    kind = f"{platform.machine()} {_instructions()}"
    return base / "dino_jax" / "compiled" / hashlib.sha256(kind.encode()).hexdigest()[:12]


def _prune(folder: pathlib.Path, most: int) -> None:
    """Remove the entries that were not read for longest, until `most` bytes are left."""
    entries = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process removed it
            if path.is_file():
                stat = path.stat()
                entries.append((max(stat.st_atime, stat.st_mtime), stat.st_size, path))
    held = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if held <= most:
            break
        with contextlib.suppress(OSError):
            path.unlink()
        held -= size


def _instructions() -> str:
    """What this processor can do, as Linux lists it; empty where it does not."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    names = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return " ".join(sorted(next(names, "").split()))
