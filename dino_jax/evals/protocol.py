"""What every evaluation protocol is given, and what it reports."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from dino_jax.config import UserError
from dino_jax.evals.store import FeatureStore
from dino_jax.interop.encoder import Encoder


@dataclasses.dataclass(frozen=True)
class Request:
    """One network under one protocol.

    `data` and `val` are specs of images (what they mean is the protocol's: a source, or a folder
    of a layout), `out` the folder for what is written, `options` the protocol's own dataclass of
    `config/protocols.py`. `encoder` is None only for a protocol that was asked to do without.
    """

    encoder: Encoder | None
    data: str
    val: str | None
    out: pathlib.Path | None
    store: FeatureStore
    mesh: Mesh
    batch_size: int
    seed: int
    options: Any

    @property
    def network(self) -> Encoder:
        """The encoder, where the protocol cannot do without.

        Raises:
            UserError: none was named.
        """
        if self.encoder is None:
            raise UserError("--weights is missing: name a run, a file or a published name")
        return self.encoder


def percent(units: np.ndarray) -> float:
    """The mean of per-example scores between 0 and 1, as a percentage."""
    return 100 * float(np.mean(units))


class Sample(NamedTuple):
    """A figure by what it is made of, so that its uncertainty can be told.

    `units` (n, ...) has one entry to each example that may count as independent (an image, a
    query, an object), in an order that does not depend on the network; the figure is
    `statistic(units)`, in percent (0 to 100). `lower_wins` says that less of it is better.
    """

    units: np.ndarray
    statistic: Callable[[np.ndarray], float] = percent
    lower_wins: bool = False

    @property
    def value(self) -> float:
        """The figure."""
        return self.statistic(self.units)


class Report(NamedTuple):
    """What a protocol found of one network.

    `samples` are the figures of the table, by name, and `titles` their columns' titles; `values`
    are further figures without an interval, `files` what was written, `drawing` what a picture is
    to be made of. `row` names what was measured where no weights do.
    """

    title: str
    samples: Mapping[str, Sample] = {}
    titles: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()
    values: Mapping[str, Any] = {}
    files: tuple[pathlib.Path, ...] = ()
    drawing: Any = None
    row: str = ""
