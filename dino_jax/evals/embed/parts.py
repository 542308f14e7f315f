"""Features kept in parts beside the file they are for, so that an interrupted pass goes on."""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dino_jax.config import UserError
from dino_jax.files import claimed, whole

MADE_BY, _BEGUN = "made_by.json", "made_by.unfinished.json"


class Parts:
    """A folder of parts: part k holds the features of a fixed range of examples, whole or not.

    A part appears under its name only once it is on the disk, however the process ends.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        """Take the folder; `claimed` makes it."""
        self.folder = folder

    @contextlib.contextmanager
    def claimed(self, key: Mapping[str, Any], *, restart: bool = False) -> Iterator[None]:
        """Keep the folder for this process, for parts of which `key` says what made them.

        Parts of another key are removed if `restart`.

        Raises:
            UserError: they are not to be, another process holds the folder, or it is not one of
                parts: nothing in it is touched then.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with claimed(self.folder):
            self._agree(dict(key), restart)
            yield

    def _agree(self, key: dict[str, Any], restart: bool) -> None:
        known = self._key()
        if known is not None and known != key:
            if not restart:
                names = sorted(n for n in key.keys() | known.keys() if key.get(n) != known.get(n))
                raise UserError(
                    f"{self.folder} holds what was begun with other {' and '.join(names)}: go on "
                    "with the same, or add --overwrite to begin anew"
                )
            for path in self.folder.glob("*.part"):
                path.unlink()
        if known is None:
            self._check_empty()
        if known != key:
            with whole(self.folder / MADE_BY, mark="unfinished") as unfinished:
                unfinished.write_text(json.dumps(key))

    def _check_empty(self) -> None:
        """What a killed process left unfinished is written over; anything else is somebody's."""
        others = sorted({path.name for path in self.folder.iterdir()} - {_BEGUN})
        if others:
            raise UserError(
                f"{self.folder} is where parts belong, but holds {others[0]} and no {MADE_BY}: "
                "move it away, or name another --out"
            )

    def _own(self) -> list[pathlib.Path]:
        """The files that are of this class's making."""
        named = (self.folder / name for name in (MADE_BY, _BEGUN))
        return [*self.folder.glob("*.part"), *(path for path in named if path.exists())]

    def _key(self) -> dict[str, Any] | None:
        try:
            key = json.loads((self.folder / MADE_BY).read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return key if isinstance(key, dict) else {}

    def __contains__(self, number: int) -> bool:
        """Whether this part is there."""
        return self._path(number).exists()

    def write(
        self, number: int, features: Float[np.ndarray, "n row"], index: Int[np.ndarray, " n"]
    ) -> None:
        """Keep the features of a part and which examples they are of; `n` may be 0."""
        with (
            whole(self._path(number), mark="unfinished") as unfinished,
            open(unfinished, "wb") as file,
        ):
            np.save(file, index)
            np.save(file, features)

    def read(self, number: int) -> tuple[Float[np.ndarray, "n row"], Int[np.ndarray, " n"]]:
        """What `write` was given."""
        with open(self._path(number), "rb") as file:
            index = np.load(file)
            return np.load(file), index

    def index(self, number: int) -> Int[np.ndarray, " n"]:
        """Which examples a part holds, without reading their features."""
        with open(self._path(number), "rb") as file:
            return np.load(file)

    def remove(self) -> None:
        """Take the parts away, and the folder unless something else lies in it."""
        for path in self._own():
            path.unlink()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _path(self, number: int) -> pathlib.Path:
        return self.folder / f"{number:07}.part"
