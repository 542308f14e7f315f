"""The optimisers of the original, tensor by tensor: AdamW, SGD, LARS, with its clip and freeze.

Everything here is decided by one tensor's name and shape and done to that tensor alone, as in the
original: clipping, decay, the freeze of the last layer, and the count that Adam corrects its bias
by. The state therefore is a dict from the tensor's name to a small dict of its own arrays.

An update that is not to be taken (`taken`, the freeze) is one whose factors are 0 and 1, not a
choice between two states: each array then is overwritten in place, read once.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Float32, Int

from dino_jax.config import UserError
from dino_jax.ops.schedules import Real, Schedule, constant
from dino_jax.tree import matching
from dino_jax.types import Params

Slots = dict[str, jax.Array]
"""What an optimiser remembers of one tensor."""


class Rule(NamedTuple):
    """One optimiser, for one tensor.

    `init(parameter)` returns its slots; `update(gradient, slots, parameter, rate, decay, moving)`
    returns what to add to the parameter, and the new slots. `rate` and `decay` are float32
    scalars, or 0.0 for a tensor that is not decayed. Where `moving` is false the gradient comes as
    0, what is to be added is 0 and the slots are those of before.
    """

    init: Callable[[Array], Slots]
    update: Callable[..., tuple[Array, Slots]]


def adamw(*, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Rule:
    """Return Adam with decoupled weight decay: -rate x (decay x p + m^ / (sqrt(v^) + eps)).

    m^ and v^ are the moments divided by 1 - b^count, the count being of this tensor's own updates.
    Loshchilov and Hutter 2019, algorithm 2; reference 1.7.
    """

    def init(parameter: Float[Array, "..."]) -> Slots:
        zeros = {slot: jnp.zeros_like(parameter) for slot in ("mean", "square")}
        return {"count": jnp.zeros((), jnp.int32), **zeros}

    def update(
        gradient: Float[Array, "..."],
        slots: Slots,
        parameter: Float[Array, "..."],
        rate: Float32[Array, ""],
        decay: Float32[Array, ""] | float,
        moving: Bool[Array, ""] | bool = True,
    ) -> tuple[Array, Slots]:
        count = slots["count"] + 1
        mean = _where(moving, b1, 1.0) * slots["mean"] + (1 - b1) * gradient
        square = _where(moving, b2, 1.0) * slots["square"] + (1 - b2) * jnp.square(gradient)
        root = jnp.sqrt(square) * jax.lax.rsqrt(_one_minus_power(b2, count))
        # One division an entry: the corrections and the rate make one factor.
        rate = _where(moving, rate, 0.0)
        adam = (rate / _one_minus_power(b1, count)) * mean / (root + eps)
        slots = {"count": slots["count"] + moving, "mean": mean, "square": square}
        return -(adam + (rate * decay) * parameter), slots

    return Rule(init, update)


def sgd(*, momentum: float = 0.9) -> Rule:
    """Return SGD with heavy-ball momentum and coupled decay: -rate x buffer.

    The buffer becomes momentum x buffer + g + decay x p, from 0 at first. Reference 1.7.
    """

    def init(parameter: Float[Array, "..."]) -> Slots:
        return {"buffer": jnp.zeros_like(parameter)}

    def update(
        gradient: Float[Array, "..."],
        slots: Slots,
        parameter: Float[Array, "..."],
        rate: Float32[Array, ""],
        decay: Float32[Array, ""] | float,
        moving: Bool[Array, ""] | bool = True,
    ) -> tuple[Array, Slots]:
        step = _where(moving, 1.0, 0.0) * (gradient + decay * parameter)
        buffer = _where(moving, momentum, 1.0) * slots["buffer"] + step
        return -_where(moving, rate, 0.0) * buffer, {"buffer": buffer}

    return Rule(init, update)


def lars(*, momentum: float = 0.9, eta: float = 0.001) -> Rule:
    """Return SGD whose step is rescaled to eta x |p| / |g + decay x p| for tensors not of rank 1.

    Where either norm is 0 the step is left as it is. Barlow Twins' variant; reference 1.7.
    """
    base = sgd(momentum=momentum)

    def update(
        gradient: Float[Array, "..."],
        slots: Slots,
        parameter: Float[Array, "..."],
        rate: Float32[Array, ""],
        decay: Float32[Array, ""] | float,
        moving: Bool[Array, ""] | bool = True,
    ) -> tuple[Array, Slots]:
        if parameter.ndim == 1:
            return base.update(gradient, slots, parameter, rate, 0.0, moving)
        step = gradient + decay * parameter
        size, length = tensor_norm(parameter), tensor_norm(step)
        safe = (size > 0) & (length > 0)
        trust = jnp.where(safe, eta * size / jnp.where(safe, length, 1.0), 1.0)
        return base.update(trust * step, slots, parameter, rate, 0.0, moving)

    return Rule(base.init, update)


RULES: Mapping[str, Callable[[], Rule]] = {"adamw": adamw, "sgd": sgd, "lars": lars}

# Rules over names, as `dino_jax.tree.matching` reads them; the first that matches decides.
NameRules = Sequence[tuple[str, bool]]
DECAYED: NameRules = ((r"\.bias$", False), ("", True))
HELD_BY_FREEZE: NameRules = (("last_layer", True), ("", False))
EVERY_TENSOR: NameRules = (("", True),)
ALL_BUT_WEIGHT_G: NameRules = ((r"last_layer\.weight_g$", False), ("", True))


def tensor_norm(tensor: Float[Array, "..."]) -> Float32[Array, ""]:
    """Return the Euclidean norm of one tensor, whatever its rank, in float32."""
    return jnp.sqrt(jnp.sum(jnp.square(tensor.astype(jnp.float32))))


def clip_per_tensor(max_norm: Real | None) -> optax.GradientTransformation:
    """Return the clip of the original: each tensor alone is scaled by max_norm / (norm + 1e-6).

    Only where that factor is below 1; `None` or 0 disables it. Raises `UserError` if negative.
    Not a clip by the global norm. Reference 1.7 and trap 1 of section 5.
    """
    if max_norm is not None and max_norm < 0:
        raise UserError(f"optim.clip is {max_norm}: expected a norm above 0, or None for no clip")
    if not max_norm:
        return optax.identity()

    def clip(gradient: Float[Array, "..."], parameter: Any) -> Float[Array, "..."]:
        del parameter
        factor = max_norm / (tensor_norm(gradient) + 1e-6)
        return gradient * jnp.minimum(factor, 1.0)

    return optax.stateless_with_tree_map(clip)


def decay_mask(params: Mapping[str, Any]) -> dict[str, bool]:
    """Return which tensors decay: those of rank above 1 whose name does not end in ".bias".

    So the position embedding, the class token and a trained weight_g do. Reference 1.7.
    """
    by_name = matching(DECAYED, params)
    return {name: by_name[name] and p.ndim > 1 for name, p in params.items()}


def build_optimiser(
    name: str,
    *,
    learning_rate: Schedule | Real,
    weight_decay: Schedule | Real,
    clip: Real | None = None,
    freeze_steps: int = 0,
    trainable: NameRules = EVERY_TENSOR,
) -> optax.GradientTransformationExtraArgs:
    """Return the optimiser `name` (adamw, sgd, lars) as `update(grads, state, params, *, step)`.

    `step` counts the optimiser's steps from 0 and is what the two schedules are read at. While
    step < freeze_steps a tensor of the last layer keeps its value and all of its state; a tensor
    that is not `trainable` has no state, and its update is 0 for ever (`ALL_BUT_WEIGHT_G` is
    `norm_last_layer`). Updates are to be added (`optax.apply_updates`). With `taken` false they are
    all 0 and the state stays as it is, whatever the gradient holds. Raises `UserError` for an
    unknown name or a negative number.
    """
    if name not in RULES:
        raise UserError(f"optim.name is {name!r}: expected one of {', '.join(RULES)}")
    if freeze_steps < 0:
        raise UserError(f"a last-layer freeze of {freeze_steps} steps: expected 0 or more")
    rule, clipping = RULES[name](), clip_per_tensor(clip)
    rate_at = learning_rate if callable(learning_rate) else constant(learning_rate)
    decay_at = weight_decay if callable(weight_decay) else constant(weight_decay)

    def init(params: Params) -> dict[str, Slots]:
        trained = matching(trainable, params)
        return {key: rule.init(p) for key, p in params.items() if trained[key]}

    def update(
        grads: Params,
        state: dict[str, Slots],
        params: Params | None = None,
        *,
        step: Int[Array, ""] | int,
        taken: Bool[Array, ""] | bool = True,
        **extra: Any,
    ) -> tuple[Params, dict[str, Slots]]:
        del extra
        if params is None:
            raise ValueError("build_optimiser: update needs the parameters")
        rate, decay = rate_at(step), decay_at(step)
        decays, held = decay_mask(params), matching(HELD_BY_FREEZE, params)
        grads, _ = clipping.update(grads, optax.EmptyState())
        updates, slots = {}, {}
        for key, p in params.items():
            if key not in state:
                updates[key] = jnp.zeros_like(p)
                continue
            moving = taken & (step >= freeze_steps) if freeze_steps and held[key] else taken
            gradient, own = _where(moving, grads[key], 0.0), decay if decays[key] else 0.0
            updates[key], slots[key] = rule.update(gradient, state[key], p, rate, own, moving)
        return updates, slots

    return optax.GradientTransformationExtraArgs(init, update)


def _one_minus_power(base: float, count: Int[Array, ""]) -> Float32[Array, ""]:
    """1 - base^count; as written it would lose five digits at the first steps in float32."""
    return -jnp.expm1(count.astype(jnp.float32) * math.log(base))


def _where(condition: Bool[Array, ""] | bool, value: Any, other: float) -> Any:
    return value if condition is True else jnp.where(condition, value, other)
