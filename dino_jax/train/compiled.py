"""The step as it is run: compiled over a mesh, its state donated.

Where the state is split (`sharding`), a network is given whole parameters, gathered just before;
their gradients go back summed and split, so that the optimiser and the teacher move the parts only.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh

from dino_jax.models.build import Model
from dino_jax.train.method import Method
from dino_jax.train.sharding import (
    batch_sharded,
    param_shardings,
    parts_of,
    replicated,
    state_shardings,
)
from dino_jax.train.state import TrainState
from dino_jax.train.step import DeviceBatch, StepFunction, make_train_step
from dino_jax.types import Params

FILLED = re.compile(r"last_layer\.weight_v$")
"""Whose gradient the loss fills in, some prototypes at a time (`ops.streaming`)."""


def compiled_step(method: Method, mesh: Mesh) -> StepFunction:
    """The step over a mesh: the batch split, the state donated, where `sharding` says it lies."""
    everywhere, split = replicated(mesh), batch_sharded(mesh)
    if parts_of(mesh) == 1:
        return jax.jit(
            make_train_step(method),
            in_shardings=(everywhere, split),
            out_shardings=(everywhere, everywhere),
            donate_argnums=0,
        )
    step = make_train_step(gathering(method, mesh))

    def on_parts(state: TrainState, batch: DeviceBatch) -> tuple[TrainState, dict[str, jax.Array]]:
        """Take the state as it lies; its shapes are known here, so that it leaves as it came."""
        new, metrics = step(state, jax.lax.with_sharding_constraint(batch, split))
        return (
            jax.lax.with_sharding_constraint(new, state_shardings(new, mesh)),
            jax.lax.with_sharding_constraint(metrics, everywhere),
        )

    return jax.jit(on_parts, donate_argnums=0)


def gathering(method: Method, mesh: Mesh) -> Method:
    """The method whose networks take split parameters, and whose gradients come back split."""
    return method._replace(
        student=_gathering(method.student, mesh), teacher=_gathering(method.teacher, mesh)
    )


def _gathering(model: Model, mesh: Mesh) -> Model:
    def given(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda params, *rest, **named: function(_whole_params(mesh, params), *rest, **named)

    return model._replace(apply=given(model.apply), embed=given(model.embed))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _whole_params(mesh: Mesh, params: Params) -> Params:
    return jax.lax.with_sharding_constraint(params, replicated(mesh))


def _gathered(mesh: Mesh, params: Params) -> tuple[Params, None]:
    return _whole_params(mesh, params), None


def _scattered(mesh: Mesh, _: None, gradient: Params) -> tuple[Params]:
    """Each device gets the sum of its part alone, where the transpose would sum the whole.

    What a loop fills is made whole first: its rows would else be gathered at every turn.
    """
    everywhere = replicated(mesh)
    gradient = {
        name: jax.lax.with_sharding_constraint(value, everywhere) if FILLED.search(name) else value
        for name, value in gradient.items()
    }
    return (jax.lax.with_sharding_constraint(gradient, param_shardings(gradient, mesh)),)


_whole_params.defvjp(_gathered, _scattered)
