"""The step compiled ahead: traced at once, compiled beside whatever else a start has to do."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
from jax.sharding import Mesh

from dino_jax.config import Resolved
from dino_jax.train.compiled import compiled_step
from dino_jax.train.method import Method, init_state
from dino_jax.train.planning.stepping import batch_shapes
from dino_jax.train.sharding import batch_sharded, placed, state_shardings
from dino_jax.train.state import TrainState
from dino_jax.train.step import DeviceBatch, StepFunction

log = logging.getLogger(__name__)


def step_ahead(method: Method, resolved: Resolved, mesh: Mesh) -> StepFunction:
    """The step of `compiled_step`, whose compiling begins now, in a thread; the first call waits.

    Tracing holds Python's lock and compiling does not: the state is drawn and the first batch read
    meanwhile. What does not have the shapes foreseen is compiled when it comes.
    """
    step: Any = compiled_step(method, mesh)
    state = jax.eval_shape(lambda: init_state(method, resolved))
    batch = batch_shapes(resolved, resolved.config.batch_size)
    split = {name: batch_sharded(mesh) for name in batch}
    lowered = step.lower(placed(state, state_shardings(state, mesh)), placed(batch, split))
    thread = ThreadPoolExecutor(1, "compile")
    compiling = thread.submit(lowered.compile)
    thread.shutdown(wait=False)  # it ends with the work it has
    return Ahead(compiling.result, step)


class Ahead:
    """A step function that waits for its program at the first call."""

    def __init__(self, compiled: Callable[[], StepFunction], step: StepFunction) -> None:
        """`compiled()` gives the program, `step` is what compiles for any arguments."""
        self._compiled, self._step = compiled, step
        self._ready: StepFunction | None = None

    def __call__(
        self, state: TrainState, batch: DeviceBatch
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """Dispatch one step."""
        if self._ready is None:
            self._ready = self._compiled()
        try:
            return self._ready(state, batch)
        except (TypeError, ValueError) as error:  # of the arguments: nothing has run
            if self._ready is self._step:
                raise
            log.info("the step is compiled anew: %s", str(error).splitlines()[0])
            self._ready = self._step
            return self._step(state, batch)
