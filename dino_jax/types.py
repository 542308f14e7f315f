"""Names for the values that travel between the parts of the library."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float32

Params = dict[str, jax.Array]
"""One leaf per tensor of the original, keyed by its state-dict name, in its layout, float32."""

Stats = dict[str, jax.Array]
"""Batch statistics, keyed like `Params`."""


class Prototypes(NamedTuple):
    """The last layer's rows: each is `scale` times its `direction` divided by that one's length."""

    direction: Float32[Array, "prototypes width"]
    scale: Float32[Array, "prototypes 1"]


HostBatch = Mapping[str, np.ndarray]
"""What the data pipeline yields: `views`, `locals`, `index`, `epoch`, `replaced`."""


@runtime_checkable
class Evaluator(Protocol):
    """Measures a network on held-out images; handed to the training loop by the command."""

    def __call__(self, params: Params, *, final: bool) -> Mapping[str, Any]:
        """Score one network and return named figures.

        `params` holds its parameters and its batch statistics, the backbone's under `backbone.`.

        `final` says that this is the last evaluation of the run, which may use every image.
        """


@runtime_checkable
class Reporter(Protocol):
    """Keeps the report of a run while it trains; handed to the training loop by the command.

    Nothing of it may raise: the run is worth more than its report.
    """

    def begin(self, step: int) -> None:
        """The run starts, or goes on, after so many steps; what is known of later ones is void."""

    def line(
        self,
        line: Mapping[str, Any],
        teacher: Params,
        troubles: Mapping[str, Any],
        *,
        evaluated: bool,
    ) -> None:
        """A line of figures was written; `evaluated` says that it holds scores.

        `teacher` holds its batch statistics too, and is void after the call. `troubles` are what
        went wrong so far: `collapse`, `alarms`, `skipped_updates`, `unreadable_images`.
        """

    def end(self) -> None:
        """The call ends, with all files written."""
