"""What every format is read into and written from: networks as plain arrays on the host."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dino_jax.config import HeadConfig, ModelConfig, UserError

Arrays = dict[str, np.ndarray]
"""Tensors by name, C-contiguous."""


MOMENTS: Mapping[str, Mapping[str, str]] = {
    "adamw": {"mean": "exp_avg", "square": "exp_avg_sq"},
    "sgd": {"buffer": "momentum_buffer"},
    "lars": {"buffer": "mu"},
}
"""The slots of each optimiser: our name -> the original's."""


class Network(NamedTuple):
    """One backbone, with its projection head where it has one.

    `params` (float32) and `stats` (batch statistics; counters int64) are keyed by the original's
    names behind `backbone.` and `head.`, in the original's layout; `head` is None where there
    are no `head.` tensors. `model` has every size filled in, and `size` is the image (height,
    width) in pixels whose patches the position table has; any other family has none and says 224.
    `classifier` holds `weight` (classes, inputs) and `bias` of a supervised or a linear head.
    """

    model: ModelConfig
    size: tuple[int, int]
    params: Arrays
    stats: Arrays
    head: HeadConfig | None = None
    classifier: Mapping[str, np.ndarray] = {}


class Optimiser(NamedTuple):
    """The optimiser's state, of the parameters it has stepped.

    `name` is adamw, sgd or lars; `steps` says how often each parameter was stepped (a frozen last
    layer is behind the others) where the optimiser counts; `moments` are keyed by the original's
    buffer name (exp_avg, exp_avg_sq; momentum_buffer; mu), then by parameter.
    """

    name: str
    steps: Mapping[str, int]
    moments: Mapping[str, Arrays]


class Weights(NamedTuple):
    """What a file, a folder or a name holds: one network, or a run's student and teacher.

    A single network is the `teacher`. `epoch` counts completed epochs (the original's number);
    `centre` is (1, prototypes). `facts` are what a model card tells: `source` (the spec), and
    `config`, `steps`, `images`, `scores` of a run of ours, `arguments` of the original's.
    """

    networks: Mapping[str, Network]
    centre: np.ndarray | None = None
    epoch: int | None = None
    optimiser: Optimiser | None = None
    facts: Mapping[str, Any] = {}

    def network(self, name: str = "teacher") -> Network:
        """The student or the teacher.

        Raises:
            UserError: these weights hold no such network.
        """
        if name not in self.networks:
            raise UserError(
                f"{self.facts.get('source', 'these weights')} holds no {name}: "
                f"it has {' and '.join(self.networks)}"
            )
        return self.networks[name]
