"""`config.json`: what was asked for and what it became, and whether a run may go on with it."""

import copy
import json
import os
import pathlib
import stat
from typing import NamedTuple

from dino_jax.config.auto import AUTO_FIELDS
from dino_jax.config.fields import from_dict, get, set_value, to_dict
from dino_jax.config.kinds import IDENTITY, SCHEDULE, compare
from dino_jax.config.resolve import Resolved
from dino_jax.config.tree import Config, UserError

FILE = "config.json"
FORMAT_VERSION = 1


class Record(NamedTuple):
    """The configuration of a run: as requested, as resolved, and the number of its images."""

    requested: Config
    resolved: Config
    examples: int


def save_record(workdir: str | os.PathLike[str], requested: Config, resolved: Resolved) -> None:
    """Write `config.json` into `workdir`, whole or not at all, making the folder.

    Raises:
        UserError: the folder cannot be made or written.
    """
    _check_folder(workdir)
    content = {
        "format_version": FORMAT_VERSION,
        "requested": to_dict(requested),
        "resolved": to_dict(resolved.config),
        "examples": resolved.examples,
        "steps_per_epoch": resolved.steps_per_epoch,
        "reasons": list(resolved.reasons),
    }
    path = pathlib.Path(workdir) / FILE
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(content, indent=2) + "\n")
        partial.replace(path)
    except OSError as error:
        raise _unusable(workdir, error) from error


def load_record(workdir: str | os.PathLike[str]) -> Record | None:
    """Read `config.json` of `workdir`; `None` where there is none.

    Raises:
        UserError: the file is not one of ours, or of a newer format; or `workdir` is no folder
            and cannot become one.
    """
    _check_folder(workdir)
    path = pathlib.Path(workdir) / FILE
    try:
        if not path.is_file():
            return None
        content = json.loads(path.read_text())
        version = content["format_version"]
        if version > FORMAT_VERSION:
            raise UserError(f"{path} has format {version}, newer than this dino_jax: upgrade it")
        return Record(
            from_dict(content["requested"]), from_dict(content["resolved"]), content["examples"]
        )
    except UserError:
        raise
    except (  # a ValueError is text that is neither UTF-8 nor JSON, or a number too long to read
        OSError,
        ValueError,
        OverflowError,
        RecursionError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise UserError(f"{path} is not a run's configuration: choose another workdir") from error


def _check_folder(workdir: str | os.PathLike[str]) -> None:
    """Refuse a file, and a name that no folder can have, before anything is opened."""
    try:
        found = os.stat(workdir)
    except FileNotFoundError:
        return  # it will be made
    except (OSError, ValueError) as error:
        raise _unusable(workdir, error) from error
    if not stat.S_ISDIR(found.st_mode):
        raise UserError(f"{_shown(workdir)} is a file; name a folder for --workdir")


def _unusable(workdir: str | os.PathLike[str], error: OSError | ValueError) -> UserError:
    reason = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
    return UserError(
        f"cannot write into workdir {_shown(workdir)}: {reason}; name another folder for --workdir"
    )


def _shown(workdir: str | os.PathLike[str]) -> str:
    """The name on one line, whatever it is made of."""
    name = os.fspath(workdir)
    return name if name.isprintable() else repr(name)


def pin(requested: Config, record: Record) -> Config:
    """Give `requested` with what it leaves to be picked taken from the run as it began.

    So a run goes on with the batch or the precision picked when it started, whatever machine
    it resumes on.
    """
    pinned = copy.deepcopy(requested)
    for path in (*AUTO_FIELDS, "precision"):
        if get(requested, path) in (None, "auto"):
            set_value(pinned, path, get(record.resolved, path))
    return pinned


def check_resume(record: Record, resolved: Resolved, *, force_schedule: bool = False) -> None:
    """Refuse to go on with a run whose identity, or unforced schedule, would change.

    Raises:
        UserError: every changed field, old -> new, and what to do.
    """
    changes = compare(record.resolved, resolved.config)
    identity = [str(change) for change in changes if change.kind == IDENTITY]
    if record.examples != resolved.examples:
        # images are held out of data.train where data.val is None, so it may be the cause
        identity += [str(change) for change in changes if change.path == "data.val"]
        identity.append(f"number of images: {record.examples} -> {resolved.examples}")
    if identity:
        raise UserError(
            f"the workdir holds another run ({'; '.join(identity)}): "
            "choose another --workdir or undo the change"
        )
    schedule = [str(change) for change in changes if change.kind == SCHEDULE]
    if schedule and not force_schedule:
        raise UserError(
            f"the workdir's run began otherwise ({'; '.join(schedule)}): undo the change, choose "
            "another --workdir, or go on with it by --force_schedule"
        )
