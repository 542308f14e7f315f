"""Where training stands, on disk: written whole or not at all, and only for the same request."""

import dataclasses
import hashlib
import json
import logging
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dino_jax.files import whole
from dino_jax.ops.heads import Heads

log = logging.getLogger(__name__)
VERSION = 1
"""Raised when the same key would stand for another course of training."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """Training after `step` steps: the heads, and what was seen on the way.

    `losses` are sums over the steps of each epoch; `top1` is that of the first head on the images
    measured after each epoch, percent, not a number where none was; `best_weight` and `best_bias`
    are that head after its best epoch (zeros before the first).
    """

    step: int
    heads: Heads
    losses: Float[np.ndarray, "epochs heads"]
    top1: Float[np.ndarray, "epochs"]
    best_weight: Float[np.ndarray, "classes inputs"]
    best_bias: Float[np.ndarray, "classes"]


def beginning(heads: Heads, epochs: int) -> Progress:
    """Nothing trained yet."""
    number, classes, inputs = heads.weight.shape
    return Progress(
        0, heads, np.zeros((epochs, number)), np.full(epochs, np.nan),
        np.zeros((classes, inputs), np.float32), np.zeros(classes, np.float32),
    )  # fmt: skip


class Keeper:
    """The file that one request's progress is kept in; without a folder nothing is."""

    def __init__(self, folder: pathlib.Path | None, request: Mapping[str, Any]) -> None:
        """`request` is all that the course of training depends on."""
        self._key = json.dumps({"version": VERSION, **request}, sort_keys=True, default=str)
        name = f"linear-{hashlib.sha256(self._key.encode()).hexdigest()[:12]}.state.npz"
        self.path = None if folder is None else folder / name

    def save(self, progress: Progress) -> None:
        """Write the progress in place of what was there."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = _arrays(progress)
        with whole(self.path) as unfinished:
            np.savez(unfinished, key=np.array(self._key), **arrays)

    def load(self) -> Progress | None:
        """The progress of the same request; None, and a warning, where the file is damaged."""
        if self.path is None or not self.path.exists():
            return None
        try:
            with open(self.path, "rb") as file, np.load(file, allow_pickle=False) as kept:
                if str(kept["key"]) != self._key:
                    return None
                return _progress({name: kept[name] for name in kept.files})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            log.warning("%s cannot be read (%s): training begins anew", self.path, error)
            return None


def _arrays(progress: Progress) -> dict[str, np.ndarray]:
    heads = progress.heads._asdict()
    others = {
        field.name: getattr(progress, field.name)
        for field in dataclasses.fields(progress)
        if field.name != "heads"
    }
    return {name: np.asarray(value) for name, value in {**heads, **others}.items()}


def _progress(arrays: Mapping[str, np.ndarray]) -> Progress:
    return Progress(
        step=int(arrays["step"]),
        heads=Heads(*(jnp.array(arrays[name]) for name in Heads._fields)),
        **{name: arrays[name] for name in ("losses", "top1", "best_weight", "best_bias")},
    )
