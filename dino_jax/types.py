"""Names for the values that travel between the parts of the library."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

Params = dict[str, jax.Array]
"""One leaf per tensor of the original, keyed by its state-dict name, in its layout, float32."""

Stats = dict[str, jax.Array]
"""Batch statistics, keyed like `Params`."""

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
