"""Names of the original's state dicts, under any of the prefixes that its files carry.

`module.` comes from DistributedDataParallel, `backbone.` and `head.` from MultiCropWrapper; a bare
file has neither (docs/development/formats.md 4.2).
"""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from dino_jax.config import UserError
from dino_jax.interop.infer import network_from
from dino_jax.interop.network import Arrays, Network
from dino_jax.interop.record import Known
from dino_jax.interop.strict import listed

WRAPPERS = ("model", "state_dict")
AVERAGES = ("state_dict_ema", "model_ema")
_CLASSIFIER = {"head.weight", "head.bias", "fc.weight", "fc.bias"}


def is_full(tree: Mapping[Any, Any]) -> bool:
    """Whether it is a full checkpoint: student or teacher under their names."""
    return any(isinstance(tree.get(name), dict) for name in ("student", "teacher"))


def state_dict(tree: Any, *, source: str) -> Arrays:
    """The tensors by name of what a `.pth` held, out of `model` or `state_dict` if in one.

    Raises:
        UserError: there is none, or entries that are no tensors.
    """
    held = tree if isinstance(tree, dict) else {}
    others = [name for name in (*WRAPPERS, *AVERAGES) if isinstance(held.get(name), dict)]
    wrapper = next((name for name in others if name in WRAPPERS), None)
    if wrapper is not None:
        held = held[wrapper]
        if len(others) > 1:
            logging.getLogger("dino_jax").warning(
                "%s holds %s: %s is read", source, " and ".join(others), wrapper
            )
    else:
        for average in AVERAGES:
            if average in held:
                raise UserError(
                    f"{source} holds only averaged weights ({average}): save that entry by itself, "
                    "as a state dict"
                )
    others = [str(name) for name, value in held.items() if not _is_tensor(name, value)]
    if others or not held:
        raise UserError(
            f"{source} holds no state dict: {listed(others) or 'it is empty'}; expected tensors by "
            f"name, or an entry {' or '.join(('student', 'teacher', *WRAPPERS))} of such"
        )
    return held


def network_of(held: dict[str, Any], source: str, known: Known) -> Network:
    """One network of tensors under any of the original's prefixes."""
    bare = {name.removeprefix("module."): name for name in held}
    if any(name.startswith("projection_head") for name in bare):
        raise UserError(
            f"{source} is a full checkpoint as published before 8 June 2021, with other names: "
            "download it again (github.com/facebookresearch/dino/issues/65)"
        )
    if len(bare) < len(held):
        raise UserError(f"{source} holds tensors both with and without the prefix module.")
    wrapped = any(name.startswith("backbone.") for name in bare)
    kinds = {name.split(".")[0] for name in bare if name in _CLASSIFIER}
    if len(kinds) > 1 and not wrapped:
        raise UserError(f"{source} holds two classifiers, head and fc: leave one of them out")
    ours: dict[str, str] = {}
    classifier: dict[str, str] = {}
    for name, theirs in bare.items():
        if not wrapped and name in _CLASSIFIER:
            classifier[name.split(".")[1]] = theirs
        elif wrapped or name.startswith(("head.mlp.", "head.last_layer.")):
            ours[name] = theirs
        else:
            ours[f"backbone.{name}"] = theirs
    network = network_from(
        {name: held[theirs] for name, theirs in ours.items()},
        source=source,
        model=known.model,
        head=known.head,
        size=known.size,
        classifier={name: held[theirs] for name, theirs in classifier.items()},
        called=lambda name: ours.get(name, name if wrapped else name.removeprefix("backbone.")),
    )
    fixed = (known.facts.get("arguments") or {}).get("norm_last_layer")
    if network.head is not None and known.head is None and isinstance(fixed, bool):
        head = dataclasses.replace(network.head, norm_last_layer=fixed)
        return network._replace(head=head)
    return network


def _is_tensor(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, np.ndarray)
