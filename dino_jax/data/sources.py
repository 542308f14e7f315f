"""Which source a spec string means."""

import os
import re

from dino_jax.config import UserError
from dino_jax.data import tar
from dino_jax.data.arrayrecord import ArrayRecordSource
from dino_jax.data.embedded import WINDOW, EmbeddedSource
from dino_jax.data.folder import FolderSource
from dino_jax.data.source import Source
from dino_jax.data.tfds import TfdsSource

_FORM_OF = {
    "embedded": "embedded:photos[:val][:WINDOW]",
    "folder": "folder:PATH",
    "tar": "tar:PATH",
    "tfds": "tfds:NAME[:SPLIT]",
    "arrayrecord": "arrayrecord:PATTERN",
}
FORMS = ", ".join(_FORM_OF.values())
_EMBEDDED = re.compile(r"photos(?::(?P<split>train|val))?(?::(?P<window>\d+))?")


def open_source(spec: str, *, channels: int = 3) -> Source:
    """Open the images that a spec string names; see `FORMS`.

    A bare path means a tar archive if its suffix says so, and a folder otherwise. `channels` is
    the number of channels of every decoded image. Raises `UserError` with one line that says what
    is wrong, what was expected and what to do.
    """
    kind, colon, rest = spec.partition(":")
    if kind in _FORM_OF and colon and not rest.strip():
        raise UserError(
            f"{spec} has nothing after the colon; expected {_FORM_OF[kind]}, so name the images "
            "(a shell variable that is not set leaves nothing there)"
        )
    if kind == "embedded" and colon:
        return _embedded(spec, rest, channels)
    if kind == "folder" and colon:
        return FolderSource(spec, rest, channels)
    if kind == "tar" and colon:
        return tar.TarSource(spec, rest, channels)
    if kind == "tfds" and colon:
        return TfdsSource(spec, rest, channels)
    if kind == "arrayrecord" and colon:
        return ArrayRecordSource(spec, rest, channels)
    if colon and "/" not in kind and "\\" not in kind and len(kind) > 1:
        raise UserError(
            f"there is no source of the kind {kind!r} ({spec}); expected one of {FORMS}"
        )
    return _bare_path(spec, channels)


def _bare_path(spec: str, channels: int) -> Source:
    if not spec.strip():
        raise UserError(f"the source of images is empty; expected one of {FORMS}")
    if tar.is_archive_path(spec) and not os.path.isdir(os.path.expanduser(spec)):
        return tar.TarSource(spec, spec, channels)
    return FolderSource(spec, spec, channels)


def _embedded(spec: str, rest: str, channels: int) -> Source:
    match = _EMBEDDED.fullmatch(rest)
    if match is None:
        raise UserError(
            f"{spec} is not among the embedded sources; expected embedded:photos or "
            "embedded:photos:val, with :WINDOW after it for windows of that many pixels"
        )
    window = int(match["window"] or WINDOW)
    return EmbeddedSource(spec, match["split"] or "train", window, channels)
