"""Where an export goes: what may be written over, and how it appears there whole or not at all.

Every export of ours says in its `config.json`, under `dino_jax`, which files were written and how
long they are. What is written over has to be those files, as they were written, and nothing else.
"""

import contextlib
import json
import os
import pathlib
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence

from dino_jax.config import UserError

CONFIG = "config.json"
MARK = "dino_jax"
"""The key of `config.json` by which an export of ours is known."""
FILES = "files"
"""Under it: what was written, as length in bytes by name; `config.json` itself is implied."""


def check_target(target: pathlib.Path, *, single: bool, overwrite: bool) -> None:
    """Refuse a target that is there, unless it may go and is an export of ours and no more.

    With `single` the target is a file, whose model card lies beside it.

    Raises:
        UserError: so it is refused; what is not ours is named.
    """
    if target.name in ("", "..") or "\0" in str(target):
        raise UserError(f"--out={target}: name a new folder, or a file in one")
    above = next((folder for folder in target.parents if folder.exists()), target.parent)
    if not above.is_dir():
        raise UserError(f"--out={target}: {above} is a file")
    _check_no_checkpoint(target)
    if single and target.is_dir():
        raise UserError(f"--out={target} is a folder: name a file, or a folder without that suffix")
    there = target if os.path.lexists(target) else _side_there(target) if single else None
    if there is None:
        return
    if not overwrite:
        raise UserError(f"{there} exists: name another --out, or write over it by --overwrite")
    strange = _strange_file(target) if single else _stranger(target)
    if strange is not None:
        raise UserError(
            f"--out={target}: {strange} is not as an export of dino_jax wrote it; it is not "
            "written over"
        )


def check_apart(source: str, target: pathlib.Path) -> None:
    """Refuse a target that is the source, holds it, or lies in it; a name of no file is none.

    Raises:
        UserError: so it is refused.
    """
    if not source or not os.path.exists(os.path.expanduser(source)):
        return
    here, there = pathlib.Path(os.path.expanduser(source)).resolve(), target.resolve()
    if here == there or there in here.parents:
        what = "is what is read" if here == there else "holds what is read"
    elif here in there.parents:
        what = "lies in what is read"
    else:
        return
    raise UserError(f"--out={target} {what}, --from={source}: name another place")


def _check_no_checkpoint(target: pathlib.Path) -> None:
    """Nothing is put among the checkpoints of a run, which would take it for its newest."""
    for folder in target.absolute().parents:
        if folder.name == "checkpoints" and (
            (folder == target.absolute().parent and target.name.isdigit())
            or (folder.is_dir() and any(entry.name.isdigit() for entry in folder.iterdir()))
        ):
            raise UserError(f"--out={target} lies among the checkpoints of a run: name another")


def _side(target: pathlib.Path, name: str) -> pathlib.Path:
    """Where a file goes that belongs to the file `target`."""
    return target.with_name(f"{target.stem}.{name}")


def _side_there(target: pathlib.Path) -> pathlib.Path | None:
    sides = (_side(target, name) for name in ("README.md", CONFIG))
    return next((side for side in sides if os.path.lexists(side)), None)


def _written(config: pathlib.Path) -> Mapping[str, int]:
    """The files that an export's `config.json` names; none where it is not one of ours."""
    try:
        files = json.loads(config.read_bytes())[MARK][FILES]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}
    return files if isinstance(files, dict) else {}


def _is_as_written(path: pathlib.Path, size: int | None) -> bool:
    plain = path.is_file() and not path.is_symlink()
    return plain and size is not None and path.stat().st_size == size


def _stranger(folder: pathlib.Path) -> pathlib.Path | None:
    """What in a folder is not an export of ours, the first of it; None: nothing."""
    if folder.is_symlink() or not folder.is_dir():
        return folder
    written = _written(folder / CONFIG)
    if not written:  # before everything in it is looked at
        return min(folder.iterdir(), default=None)
    folders = {above for name in written for above in (folder / name).parents}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            known = path in folders
        elif path == folder / CONFIG:
            known = not path.is_symlink()
        else:
            known = _is_as_written(path, written.get(path.relative_to(folder).as_posix()))
        if not known:
            return path
    return None


def _strange_file(target: pathlib.Path) -> pathlib.Path | None:
    """The same of a file and of what would be written beside it."""
    config = _side(target, CONFIG)
    written = _written(config)
    for path in (target, _side(target, "README.md")):
        if os.path.lexists(path) and not _is_as_written(path, written.get(path.name)):
            return path
    return config if os.path.lexists(config) and (not written or config.is_symlink()) else None


@contextlib.contextmanager
def beside(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """An empty folder next to the target that is gone after, as is what was made to hold it.

    Raises:
        UserError: the system refuses something, the disk is full, or the block meets an OSError.
    """
    folder = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    made = [above for above in target.parents if not above.exists()]
    try:
        folder.mkdir(parents=True)
        yield folder
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for above in made:
            with contextlib.suppress(OSError):  # not empty: something was written there
                above.rmdir()


def gone_for_good(folder: pathlib.Path, *, quiet: float, longest: float) -> None:
    """Remove a folder until nobody has made it anew for `quiet` seconds; all within `longest`."""
    began = last = time.monotonic()
    while (now := time.monotonic()) < min(last + quiet, began + longest):
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
            last = now
        time.sleep(0.02)


def put(folder: pathlib.Path, target: pathlib.Path, *, main: str, overwrite: bool) -> None:
    """Rename the folder to its place or, with `main`, each of its files, that one last.

    What was there goes when all of it is in place; if anything happens before, an interrupt too,
    it is there again. The folder's `config.json` gets the list of what is written.

    Raises:
        UserError: as `check_target`, since time has passed.
    """
    check_target(target, single=bool(main), overwrite=overwrite)
    if not main:
        _list_files(folder, {}, {})
        _exchange([(folder, target)], folder.with_suffix(".old"))
        return
    places = {file.name: _side(target, file.name) for file in sorted(folder.iterdir())}
    del places[main]
    places[main] = target
    before = _written(_side(target, CONFIG))  # of a.pth, where this is a.safetensors
    others = {n: size for n, size in before.items() if _is_as_written(target.parent / n, size)}
    _list_files(folder, {name: place.name for name, place in places.items()}, others)
    moves = [(folder / name, place) for name, place in places.items()]
    _exchange(moves, folder.with_suffix(".old"))


def _list_files(folder: pathlib.Path, places: Mapping[str, str], others: Mapping[str, int]) -> None:
    """Note in the folder's `config.json` what is written, by the names it will have."""
    config = json.loads((folder / CONFIG).read_bytes())
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    names = {file: file.relative_to(folder).as_posix() for file in files}
    config[MARK][FILES] = dict(others) | {
        places.get(name, name): file.stat().st_size
        for file, name in names.items()
        if name != CONFIG
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def _exchange(moves: Sequence[tuple[pathlib.Path, pathlib.Path]], kept: pathlib.Path) -> None:
    """Rename each new one to its place, in order: all, or none and what was there is back."""
    rows = [(new, place, kept / str(number)) for number, (new, place) in enumerate(moves)]
    try:
        kept.mkdir()
        for _, place, old in reversed(rows):
            if os.path.lexists(place):
                place.rename(old)
        for new, place, _ in rows:
            new.rename(place)
    except BaseException as error:  # an interrupt too, before or after any of these lines
        try:
            _put_back(rows)
        except OSError as other:
            raise UserError(
                f"cannot write {moves[-1][1]} ({error or type(error).__name__}), nor put back what "
                f"was there ({other.strerror}): what was there is in {kept}"
            ) from error
        with contextlib.suppress(OSError):
            kept.rmdir()
        raise
    shutil.rmtree(kept, ignore_errors=True)


def _put_back(rows: Sequence[tuple[pathlib.Path, pathlib.Path, pathlib.Path]]) -> None:
    """Undo what was done of an exchange, as the files themselves show it."""
    for new, place, old in rows:
        if not os.path.lexists(new) and os.path.lexists(place):
            place.rename(new)
        if os.path.lexists(old):
            old.rename(place)
