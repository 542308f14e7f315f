"""Starting from weights: the state before the first step of a run with `init_from`."""

import logging

import jax
import jax.numpy as jnp

from dino_jax.config import Config, UserError
from dino_jax.config.architectures import architecture_of
from dino_jax.interop.infer import filled
from dino_jax.interop.network import MOMENTS, Network, Optimiser, Weights
from dino_jax.interop.positions import at_size
from dino_jax.train.state import TrainState

log = logging.getLogger(__name__)


def started_from(state: TrainState, weights: Weights, config: Config) -> TrainState:
    """Put weights into a fresh state: student, teacher, batch statistics, centre, optimiser.

    Where the weights are one network, student and teacher both begin as it. Positions of another
    image size are interpolated as the original does at every other size. With `init_head` false
    the head, its statistics and the centre stay those of `state`; with `init_optimiser` the
    moments of every tensor taken over come too, and those of a new head start from nothing.

    Raises:
        UserError: the weights lack what was asked for, or do not fit the configuration.
    """
    source = f"init_from {config.init_from}"
    teacher = weights.network()
    student = weights.networks.get("student", teacher)
    taken = {}
    _check_sizes(teacher, config, source)
    for name, network in (("student", student), ("teacher", teacher)):
        if config.init_head and network.head is None:
            raise UserError(
                f"{source} holds a backbone without its head: start the head anew by "
                "--config.init_head=false, or name weights that have one"
            )
        wanted = getattr(state, name) | getattr(state, f"{name}_stats")
        taken[name] = wanted | _fitted(network, wanted, config, source)
    started = state._replace(
        student={name: taken["student"][name] for name in state.student},
        teacher={name: taken["teacher"][name] for name in state.teacher},
        student_stats={name: taken["student"][name] for name in state.student_stats},
        teacher_stats={name: taken["teacher"][name] for name in state.teacher_stats},
    )
    if config.init_head:
        started = started._replace(target_state=_centre(state, weights, source))
    if config.init_optimiser:
        started = started._replace(opt_state=_moments(state, weights.optimiser, config, source))
    return started


def _check_sizes(network: Network, config: Config, source: str) -> None:
    """Name every field of the model and the head that is not the weights', and its value there."""
    ours, theirs = filled(config.model), network.model
    same_family = architecture_of(ours).family == architecture_of(theirs).family
    sizes = ("patch_size", "width", "depth", "heads", "channels")
    names = sizes if same_family else ("arch", "patch_size")
    differing = [
        f"model.{name} {getattr(ours, name)}: set --config.model.{name}={getattr(theirs, name)}"
        for name in names
        if getattr(ours, name) != getattr(theirs, name)
    ]
    if config.init_head and network.head is not None and not differing:
        differing = [
            f"head.{name} {getattr(config.head, name)}: "
            f"set --config.head.{name}={getattr(network.head, name)}"
            for name in ("prototypes", "hidden", "bottleneck", "layers", "batch_norm")
            if getattr(config.head, name) != getattr(network.head, name)
        ]
    if differing:
        raise UserError(f"{source} is another network than this run's {', '.join(differing)}")


def _centre(state: TrainState, weights: Weights, source: str) -> jax.Array:
    """The centre of the weights; where they have none, that of a new run, which is said."""
    if weights.centre is None:
        log.info("%s holds no centre: it starts from 0", source)
        return state.target_state
    if weights.centre.shape != state.target_state.shape:
        raise UserError(
            f"{source} has a centre of shape {weights.centre.shape}, expected "
            f"{state.target_state.shape}: the head's prototypes and the centre are not of one run"
        )
    return jnp.asarray(weights.centre, state.target_state.dtype)


def _fitted(
    network: Network, wanted: dict[str, jax.Array], config: Config, source: str
) -> dict[str, jax.Array]:
    """The tensors to take over, in the shapes and types of the run."""
    network = at_size(network, (config.crops.global_size,) * 2)
    given = {**network.params, **network.stats}
    if not config.init_head:
        given = {name: value for name, value in given.items() if name.startswith("backbone.")}
        wanted = {name: value for name, value in wanted.items() if name.startswith("backbone.")}
    differing = sorted(
        name
        for name in wanted.keys() | given.keys()
        if name not in wanted or name not in given or wanted[name].shape != given[name].shape
    )
    if differing:
        raise UserError(
            f"{source} does not fit this configuration: {', '.join(differing[:4])} differ "
            f"({len(differing)} in all); give the model{' and head' * config.init_head} of "
            "those weights"
        )
    return {name: jnp.asarray(given[name], wanted[name].dtype) for name in given}


def _moments(
    state: TrainState, optimiser: Optimiser | None, config: Config, source: str
) -> dict[str, dict[str, jax.Array]]:
    """The optimiser's state of the run with the moments of `optimiser` where it has any."""
    if optimiser is None:
        raise UserError(
            f"{source} holds no optimiser state: leave --config.init_optimiser away, or name a "
            "run or a full checkpoint"
        )
    if optimiser.name != config.optim.name:
        raise UserError(
            f"{source} was trained by {optimiser.name} and optim.name is {config.optim.name}: "
            f"set --config.optim.name={optimiser.name} or leave --config.init_optimiser away"
        )
    names = MOMENTS[optimiser.name]
    slots = {}
    for name, fresh in state.opt_state.items():
        first = next(iter(names.values()))
        known = name in optimiser.moments[first] and (
            config.init_head or name.startswith("backbone.")
        )
        slots[name] = dict(fresh)
        if not known:  # never stepped: a last layer that was still frozen, or a new head
            continue
        for slot, original in names.items():
            moment = optimiser.moments[original][name]
            if moment.shape != fresh[slot].shape:
                raise UserError(
                    f"{source}: the optimiser's {original} of {name} has shape {moment.shape}, "
                    f"expected {fresh[slot].shape}; leave --config.init_optimiser away"
                )
            slots[name][slot] = jnp.asarray(moment)
        if "count" in fresh:
            slots[name]["count"] = jnp.asarray(optimiser.steps[name], fresh["count"].dtype)
    return slots
