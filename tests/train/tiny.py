"""A network that compiles in seconds, and the parts of a run around it."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from dino_jax.config import Config, Resolved, resolve, set_value
from dino_jax.train.compiled import compiled_step
from dino_jax.train.method import build_method, init_state
from dino_jax.train.sharding import make_mesh, put_batch, spread
from dino_jax.train.state import TrainState
from dino_jax.train.step import Method

BATCH, EXAMPLES, STEPS = 32, 96, 12


def config(**overrides: Any) -> Config:
    """Width 16, two blocks, 2 views of 32 and 2 local crops of 16 pixels; "__" parts groups."""
    made = Config(batch_size=BATCH, steps=STEPS, epochs=6)
    fields = {
        "model__arch": "vit_tiny", "model__width": 16, "model__depth": 2, "model__heads": 2,
        "model__patch_size": 8, "model__drop_path": 0.0,
        "head__prototypes": 32, "head__hidden": 32, "head__bottleneck": 16,
        "crops__global_size": 32, "crops__local_size": 16, "crops__local_number": 2,
        "augment__where": "host",
        "optim__learning_rate": 0.01, "optim__warmup_epochs": 1.0,
        "optim__freeze_last_layer_epochs": 1.0,
        "teacher__momentum": 0.9, "teacher__warmup_temperature": 0.04,
        "teacher__temperature": 0.06, "teacher__warmup_temperature_epochs": 3.0,
    }  # fmt: skip
    for name, value in (fields | overrides).items():
        set_value(made, name.replace("__", "."), value)
    return made


class Trainer(NamedTuple):
    """A compiled step and what it works on."""

    resolved: Resolved
    method: Method
    mesh: jax.sharding.Mesh
    step: Any

    def start(self) -> TrainState:
        """The state before the first step, over the mesh."""
        return spread(lambda: init_state(self.method, self.resolved), self.mesh)

    def run(
        self, steps: int, state: TrainState | None = None, **more: np.ndarray
    ) -> tuple[TrainState, list[dict[str, np.ndarray]]]:
        """Take the next `steps` steps of the run and return the state and each step's figures.

        `more` is added to every batch.
        """
        state, figures = self.start() if state is None else state, []
        for number in range(int(state.step), int(state.step) + steps):
            state, metrics = self.step(state, put_batch(batch(number) | more, self.mesh))
            figures.append(jax.device_get(metrics))
        return state, figures


@functools.cache
def trainer(devices: int = 1, **overrides: Any) -> Trainer:
    """Put a run on `devices` devices together, to be compiled at its first step."""
    asked = config(**overrides)
    resolved = resolve(asked, examples=EXAMPLES, platform="cpu", device_count=8)
    method = build_method(resolved)
    mesh = make_mesh(devices, asked.fsdp or 1)
    return Trainer(resolved, method, mesh, compiled_step(method, mesh))


def batch(step: int, size: int = BATCH) -> dict[str, np.ndarray]:
    """The batch of one step: smooth random pictures, so that crops of one image are alike."""
    random = np.random.default_rng(step)
    coarse = random.integers(0, 256, (size, 1, 4, 4, 3))
    views = np.kron(coarse, np.ones((1, 2, 8, 8, 1), int))
    noise = random.integers(-20, 20, (size, 4, 32, 32, 3))
    crops = np.clip(np.concatenate([views, views], axis=1) + noise, 0, 255).astype(np.uint8)
    epoch, place = divmod(step, EXAMPLES // size)
    return {
        "views": crops[:, :2],
        "locals": crops[:, 2:, 8:24, 8:24],
        "index": np.arange(size) + place * size,
        "epoch": np.full(size, epoch),
    }
