"""Our training step, built from a configuration for a benchmark: no files, no workdir, no loop."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.workload import Workload
from dino_jax.config import Config, Resolved, resolve
from dino_jax.train.method import build_method, init_state
from dino_jax.train.state import TrainState
from dino_jax.train.step import DeviceBatch, Method, make_train_step


class Trainer(NamedTuple):
    """The jitted step (it takes the state's memory over) and a function that makes the state."""

    step: Any  # a jitted `StepFunction`, which also has `lower`
    start: Callable[..., TrainState]
    method: Method
    resolved: Resolved


def config_of(work: Workload, *, photometric: bool = True) -> Config:
    """The defaults of the released code at the sizes of `work`, the last layer never frozen.

    Without `photometric` the crops are only normalised, as if the host had augmented them.
    """
    config = Config(batch_size=work.batch, epochs=100)
    config.model.arch, config.model.patch_size = work.arch, work.patch
    config.model.width, config.model.depth = work.width, work.depth
    config.model.heads = work.heads
    config.head.prototypes, config.head.hidden = work.prototypes, work.hidden
    config.head.bottleneck = work.bottleneck
    config.crops.global_size, config.crops.local_size = work.image, work.local
    config.crops.local_number = work.locals_
    config.optim.freeze_last_layer_epochs = 0
    config.augment.where = "device" if photometric else "host"
    return config


def trainer(config: Config, *, examples: int) -> Trainer:
    """Build the step for a run over `examples` images on one device."""
    resolved = resolve(config, examples=examples, platform=jax.default_backend(), device_count=1)
    method = build_method(resolved)
    step = jax.jit(make_train_step(method), donate_argnums=0)

    def start(params: Mapping[str, np.ndarray] | None = None) -> TrainState:
        own = None if params is None else {key: jax.numpy.array(p) for key, p in params.items()}
        return init_state(method, resolved, own)

    return Trainer(step, start, method, resolved)


def device_batch(batch: Mapping[str, np.ndarray]) -> DeviceBatch:
    """What the step needs of a host batch, on the device; indices as int32."""
    return {
        name: jax.device_put(value if value.dtype == np.uint8 else value.astype(np.int32))
        for name, value in batch.items()
        if name != "replaced"
    }
