"""Checkpoints of ours as one more format: networks, centre and optimiser of a run, or of a file."""

import json
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dino_jax.config import Config, UserError, from_dict, load_record, to_dict
from dino_jax.interop import hub
from dino_jax.interop.checkpoint import read_tree, write_tree
from dino_jax.interop.infer import configs_of, network_from
from dino_jax.interop.network import MOMENTS, Arrays, Network, Optimiser, Weights
from dino_jax.interop.record import facts_of, pair, printable, whole
from dino_jax.interop.strict import check_network, narrow

MAIN = "checkpoints"

NETWORKS = ("student", "teacher")
SCORES = ("_top1", "_top5")
"""How the names of a run's scores end (percent)."""

REST = ("classifier", "student_stats", "teacher_stats", "target_state", "step")


def load(path: pathlib.Path, *, optimiser: bool = False) -> Weights:
    """Read a run's working directory, its `checkpoints/` or one step's folder.

    The optimiser's state, twice the networks in size, is read where asked for.

    Raises:
        UserError: no checkpoint of ours, a damaged one, or one of other tensors than its
            configuration says.
    """
    moments = ("opt_state",) if optimiser else ()
    tree, beside = read_tree(path, (), (*NETWORKS, *REST, *moments))
    if not beside.get("config"):
        raise UserError(
            f"the checkpoint at {path} holds no configuration to build its network from: read its "
            "tensors by interop.checkpoint.load_network"
        )
    config = from_dict(beside["config"])
    size = beside.get("size") or config.crops.global_size
    tree = jax.tree.map(np.asarray, tree)
    networks = {
        name: network_from(
            {**tree[name], **tree.get(f"{name}_stats", {})},
            source=f"the {name} of {path}",
            model=config.model,
            head=config.head if any(key.startswith("head.") for key in tree[name]) else None,
            size=pair(size, name="size", source=path),
            classifier=tree.get("classifier"),
        )
        for name in NETWORKS
        if name in tree
    }
    facts = facts_of(beside.get("facts"), source=str(path)) or _facts(path, config, tree)
    facts = {"source": str(path), **facts}
    return Weights(
        networks,
        centre=tree.get("target_state"),
        epoch=_epoch(beside, config, facts),
        optimiser=_optimiser(config.optim.name, tree["opt_state"]) if "opt_state" in tree else None,
        facts=facts,
    )


def save(
    weights: Weights,
    folder: pathlib.Path,
    *,
    network: str = "teacher",
    size: tuple[int, int] | None = None,
) -> None:
    """Write `folder/checkpoints/STEP`, which everything that takes weights opens.

    All that the weights hold is written; with `network="student"` the student alone, as the one
    network. Sizes are interpolated at use, so `size` is refused.

    Raises:
        UserError: no such network, a size, a path that is not in UTF-8, or tensors that do not
            match the network.
    """
    if size is not None:
        raise UserError("--size: a checkpoint of ours takes images of any size; leave it away")
    if str(folder) != printable(str(folder)):
        raise UserError(f"{folder}: a checkpoint's path has to be in UTF-8; name another")
    chosen = weights.networks if network == "teacher" else {"teacher": weights.network(network)}
    main = weights.network(network)
    tree: dict[str, Any] = {"step": np.asarray(whole(weights.facts.get("steps")) or 0, np.int32)}
    for name, one in chosen.items():
        check_network(one, source=name)
        tree[name] = one.params
        if one.classifier:
            tree["classifier"] = dict(one.classifier)
        tree[f"{name}_stats"] = narrow(one.stats)
    if weights.centre is not None and network == "teacher":
        tree["target_state"] = weights.centre
    if weights.optimiser is not None and network == "teacher":
        tree["opt_state"] = _slots(weights.optimiser)
    write_tree(
        folder / MAIN,
        tree,
        step=int(tree["step"]),
        config=to_dict(hub.normalised(_config(weights, main), weights)),
        size=list(main.size),
        epoch=weights.epoch,
        facts=json.loads(json.dumps(dict(weights.facts), default=str)),
    )


def _config(weights: Weights, network: Network) -> Config:
    """The configuration the networks were made by, or one that says what they are."""
    made_by = weights.facts.get("config")
    config = from_dict(made_by) if isinstance(made_by, Mapping) else Config()
    config.model, config.head = configs_of(network)
    config.crops.global_size = network.size[0]
    if weights.optimiser is not None:
        config.optim.name = weights.optimiser.name
    return config


def _epoch(beside: Mapping[str, Any], config: Config, facts: Mapping[str, Any]) -> int | None:
    """Completed epochs of the images; of the schedule where their number is not known."""
    if "facts" in beside:  # written by `save`
        return whole(beside.get("epoch"))
    if facts.get("images"):
        return facts["steps"] * config.batch_size // facts["images"]
    return int(facts["steps"] * config.epochs / config.steps) if config.steps else None


def _facts(path: pathlib.Path, config: Config, tree: Mapping[str, Any]) -> dict[str, Any]:
    """What the folder of a run says of it, as far as it is one."""
    facts: dict[str, Any] = {"config": to_dict(config), "steps": int(tree.get("step", 0))}
    for folder in (path, path.parent, path.parent.parent):
        if not {"requested", "resolved"} <= hub.read_beside(folder / hub.CONFIG).keys():
            continue  # of something else
        try:
            record = load_record(folder)
        except UserError as error:
            logging.getLogger("dino_jax").info("%s: it is not used", error)
            continue
        if record is not None:
            facts["images"] = record.examples
        figures = hub.read_beside(folder / "summary.json")
        if figures.get("step") == facts["steps"]:  # those that the run ended with
            facts["scores"] = {
                name: figures[name]
                for name in figures
                if name.endswith(SCORES) and isinstance(figures[name], int | float)
            }
        break
    return facts_of(facts, source=str(path))


def _optimiser(name: str, slots: Mapping[str, Arrays]) -> Optimiser:
    """Our slots of each parameter, as the original's moments; counts where there are counts."""
    moments = {
        original: {key: np.asarray(own[slot], order="C") for key, own in slots.items()}
        for slot, original in MOMENTS[name].items()
    }
    steps = {key: int(own["count"]) for key, own in slots.items() if "count" in own}
    return Optimiser(name, steps, moments)


def _slots(optimiser: Optimiser) -> dict[str, dict[str, Any]]:
    """The inverse of `_optimiser`."""
    names = MOMENTS[optimiser.name]
    slots: dict[str, dict[str, Any]] = {}
    for slot, original in names.items():
        for key, moment in optimiser.moments[original].items():
            slots.setdefault(key, {})[slot] = moment
    for key, count in optimiser.steps.items():
        slots[key]["count"] = np.asarray(count, np.int32)
    return slots
