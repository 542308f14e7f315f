"""The step as it is run: compiled over a mesh, its state donated."""

import jax

from dino_jax.train.method import Method
from dino_jax.train.sharding import batch_sharded, replicated
from dino_jax.train.step import StepFunction, make_train_step


def compiled_step(method: Method, mesh: jax.sharding.Mesh) -> StepFunction:
    """The step over a mesh: the batch split, the state on every device and donated."""
    everywhere, split = replicated(mesh), batch_sharded(mesh)
    return jax.jit(
        make_train_step(method),
        in_shardings=(everywhere, split),
        out_shardings=(everywhere, everywhere),
        donate_argnums=0,
    )
