"""The optimiser's state of the original: numbers of parameters there, names here.

PyTorch numbers the parameters group by group. The original makes two groups of those it trains, in
the order in which the student registers them: first what decays, then biases and whatever has one
axis (main_dino.py: `get_params_groups`; docs/development/formats.md 4.5).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dino_jax.config import UserError
from dino_jax.interop.network import MOMENTS, Arrays, Optimiser
from dino_jax.interop.strict import exact

SCALE = "head.last_layer.weight_g"
"""Not trained where the last layer's norm is fixed, and then in no group."""

# Parts of names as the originals' modules register them: their own tensors before their modules.
_REGISTERED = {
    part: rank
    for rank, part in enumerate(
        (
            *("backbone", "head", "cls_token", "pos_embed", "gamma1", "gamma2", "gamma3"),
            *("temperature", "weight_g", "weight_v", "weight", "bias"),
            *("running_mean", "running_var", "num_batches_tracked"),
            *("patch_embed", "conv1", "bn", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample"),
            *("layer1", "layer2", "layer3", "layer4", "blocks", "cls_attn_blocks", "norm1"),
            *("attn", "qkv", "proj", "norm2", "mlp", "fc1", "fc2", "norm3", "local_mp"),
            *("norm", "pos_embeder", "token_projection", "last_layer"),
        )
    )
}

_GROUPS: Mapping[str, Mapping[str, Any]] = {  # vision transformers; then the convolutional ones
    "adamw": {"betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False},
    "sgd": {"momentum": 0.9, "dampening": 0, "nesterov": False},
    "lars": {
        "momentum": 0.9,
        "eta": 0.001,
        "weight_decay_filter": None,
        "lars_adaptation_filter": None,
    },
}
"""What PyTorch and the original ask of a group, besides its parameters, rate and decay."""


def in_order(names: Iterable[str]) -> list[str]:
    """These names in the order of the original's state dict and of its parameters."""

    def place(name: str) -> list[tuple[int, int, str]]:
        return [
            (-1, int(part), "")
            if part.isdigit()
            else (_REGISTERED.get(part, len(_REGISTERED)), 0, part)
            for part in name.split(".")
        ]

    return sorted(names, key=place)


def read_optimiser(state: Any, params: Arrays) -> Optimiser:
    """The optimiser of a full checkpoint, by the student's parameters.

    `state` is the checkpoint's `optimizer`, `params` the parameters in our names. Rates and decays
    are not kept: the original sets both before every step.

    Raises:
        UserError: a state that is not that of such a network's AdamW, SGD or LARS.
    """
    groups, slots = _parts(state)
    kind, names = _kind(groups[0]), _names_by_number(groups, params)
    steps: dict[str, int] = {}
    moments: dict[str, Arrays] = {slot: {} for slot in MOMENTS[kind].values()}
    for number, slot in sorted(slots.items()):
        if number not in names:
            raise UserError(f"it has a state of parameter {number}, which is in no group")
        name = names[number]
        held = {key: value for key, value in slot.items() if value is not None}
        if kind == "adamw":
            steps[name] = _count(held.pop("step", None), name)
        if not held and kind == "sgd":  # a tensor that got no gradient yet
            continue
        if set(held) != set(moments):
            raise UserError(f"of {name} it holds {', '.join(map(str, held)) or 'nothing'}")
        for key, moment in held.items():
            if getattr(moment, "shape", None) != params[name].shape:
                raise UserError(f"its {key} of {name} has another shape than the parameter")
            moments[key][name] = exact(name, moment, f"its {key}")
    return Optimiser(kind, steps, moments)


def write_optimiser(optimiser: Optimiser, params: Arrays, *, scale_is_fixed: bool) -> dict:
    """The inverse of `read_optimiser`; the rate is 0 until the original sets it."""
    trained = in_order(params)
    if scale_is_fixed:
        trained = [name for name in trained if name != SCALE]
    split = _split({name: params[name] for name in trained})
    numbers = {name: number for number, name in enumerate([*split[0], *split[1]])}
    held = {name for moment in optimiser.moments.values() for name in moment}
    strangers = in_order((held | set(optimiser.steps)) - set(numbers))
    if strangers:
        raise UserError(f"the optimiser holds {strangers[0]}, which is not trained")
    state: dict[int, dict[str, Any]] = {}
    for name in sorted(held, key=numbers.__getitem__):
        slots: dict[str, Any] = {}
        if name in optimiser.steps:
            slots["step"] = np.asarray(optimiser.steps[name], np.float32)
        slots |= {key: moment[name] for key, moment in optimiser.moments.items() if name in moment}
        state[numbers[name]] = slots
    groups = [
        {
            "lr": 0.0,
            **_GROUPS[optimiser.name],
            "weight_decay": 0.0,
            "params": [numbers[name] for name in group],
        }
        for group in split
    ]
    return {"state": state, "param_groups": groups}


def _names_by_number(groups: list[dict], params: Arrays) -> dict[int, str]:
    numbers = [group["params"] for group in groups]
    trained = in_order(params)
    if sum(map(len, numbers)) < len(trained):
        trained = [name for name in trained if name != SCALE]
    split = _split({name: params[name] for name in trained})
    if [len(group) for group in numbers] != [len(group) for group in split]:
        raise UserError(
            f"it has groups of {' and '.join(str(len(group)) for group in numbers)} parameters, "
            f"this network of {' and '.join(str(len(group)) for group in split)}"
        )
    names = {
        number: name
        for group, named in zip(numbers, split, strict=True)
        for number, name in zip(group, named, strict=True)
    }
    if len(names) < len(trained):
        raise UserError("it has a parameter in two groups")
    return names


def _split(params: Mapping[str, np.ndarray]) -> list[list[str]]:
    """Those that decay, and those that do not."""
    plain = [name for name, value in params.items() if name.endswith(".bias") or value.ndim == 1]
    apart = set(plain)
    return [[name for name in params if name not in apart], plain]


def _parts(state: Any) -> tuple[list[dict], dict[int, dict]]:
    groups = state.get("param_groups") if isinstance(state, dict) else None
    slots = state.get("state") if isinstance(state, dict) else None
    well_formed = (
        isinstance(groups, list)
        and bool(groups)
        and all(isinstance(group, dict) for group in groups)
        and all(isinstance(group.get("params"), list) for group in groups)
        and all(isinstance(number, int) for group in groups for number in group["params"])
        and isinstance(slots, dict)
        and all(isinstance(number, int) for number in slots)
        and all(isinstance(slot, dict) for slot in slots.values())
    )
    if not well_formed or groups is None or slots is None:
        raise UserError("it is not the state of an optimiser of PyTorch's")
    return groups, slots


def _kind(group: Mapping[str, Any]) -> str:
    if "betas" in group and not group.get("amsgrad"):
        return "adamw"
    if "eta" in group:
        return "lars"
    if "momentum" in group:
        return "sgd"
    raise UserError("it is none of AdamW, SGD and LARS")


def _count(step: Any, name: str) -> int:
    count = float(np.asarray(step)) if np.ndim(step) == 0 and step is not None else -1.0
    if not (0 <= count < 2**31 and count == int(count)):
        raise UserError(f"its step of {name} is no number of steps")
    return int(count)
