"""The original's `.pth`: backbones, full checkpoints, and the files of its kin, both ways.

A full checkpoint holds student, teacher, optimiser, epoch, arguments and centre; a bare file one
backbone, with a supervised classifier where it has one (DeiT wraps that in `model`). What the
original's scripts ask of a file is in docs/development/formats.md, section 4.
"""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dino_jax.config import HeadConfig, ModelConfig, UserError, from_dict, get
from dino_jax.config.architectures import ARCHITECTURES, architecture_of
from dino_jax.config.original import ORIGINAL_FLAGS
from dino_jax.interop.hub import config_of
from dino_jax.interop.network import Arrays, Network, Weights
from dino_jax.interop.optimiser import in_order, read_optimiser, write_optimiser
from dino_jax.interop.prefixes import is_full, network_of, state_dict
from dino_jax.interop.pth import read_pth, write_pth
from dino_jax.interop.record import OURS, Known, facts_of, known_of, whole
from dino_jax.interop.strict import check_network, exact, listed

MAIN = "checkpoint.pth"
"""What main_dino.py looks for in its `--output_dir`."""

_LINEAR = {"linear.weight", "linear.bias"}
_UNTOLD = ("data_path", "output_dir", "saveckp_freq", "dist_url", "local_rank")
"""Flags of the original that would say where files lay, or count in another unit."""


def load(path: pathlib.Path, *, model: ModelConfig | None = None) -> Weights:
    """Read a `.pth` of the original's, of DeiT's, or a bare state dict of its names.

    `path` is the file, or a folder that holds `checkpoint.pth`; `model` says what network it has
    to be (None: told by its tensors, and by the card that an export has beside it).

    Raises:
        UserError: what cannot be read or is none of these, and tensors that do not match.
    """
    path = path / MAIN if path.is_dir() else path
    return weights_of(read_pth(path), path, model=model)


def weights_of(
    tree: Any, path: pathlib.Path, *, model: ModelConfig | None = None, optimiser: bool = True
) -> Weights:
    """The weights in what the `.pth` at `path` held; without the optimiser's state if not asked."""
    source = str(path)
    if not isinstance(tree, dict):
        raise UserError(f"{source} holds a {type(tree).__name__}, not a checkpoint or a state dict")
    if is_full(tree):
        return _full(tree, source, model, optimiser)
    tensors = state_dict(tree, source=source)
    if {name.removeprefix("module.") for name in tensors} >= _LINEAR:
        raise UserError(
            f"{source} holds a linear classifier without a backbone: name a backbone; published "
            "ones with their linear head are called dino_vits16:linear and so on"
        )
    known = _beside(path)
    network = network_of(tensors, source, known._replace(model=model or known.model, head=None))
    return Weights({"teacher": network}, facts={"source": source, **known.facts})


def _beside(path: pathlib.Path) -> Known:
    """What the card of an export of ours says, which a bare state dict has no place for."""
    if path.name != MAIN and not path.with_name(f"{path.stem}.config.json").is_file():
        return Known()  # the folder's card is of another file
    ours = config_of(path, files=(), known=(OURS,)).get(OURS)
    return known_of(ours, source=f"the card beside {path}") if isinstance(ours, dict) else Known()


def load_linear(path: pathlib.Path) -> Arrays:
    """The `weight` (classes, inputs) and `bias` of a linear head of the original's.

    Raises:
        UserError: the file holds something else.
    """
    tensors = state_dict(read_pth(path), source=str(path))
    named = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    if set(named) != _LINEAR:
        raise UserError(f"{path} holds {listed(named)}: expected linear.weight and linear.bias")
    return {name.removeprefix("linear."): named[name] for name in in_order(named)}


def save(
    weights: Weights,
    folder: pathlib.Path,
    *,
    network: str = "teacher",
    size: tuple[int, int] | None = None,
    part: str | None = None,
) -> None:
    """Write `folder/checkpoint.pth` as the original's own scripts load it.

    `part` is "full" (student, teacher, centre, epoch, optimiser) or "backbone" (one network's,
    bare; with its classifier where it has one); None: all that the weights hold, one network's
    backbone where they hold one. Positions stay those of the network's own size, since the
    original interpolates them itself.

    Raises:
        UserError: a size, a part that the weights do not have, or tensors that do not match.
    """
    if size is not None:
        raise UserError("--size: the original interpolates positions itself; leave it away")
    whole = {"student", "teacher"} <= set(weights.networks) and network == "teacher"
    part = part or ("full" if whole else "backbone")
    if part == "full" and not whole:
        raise UserError(
            f"--part=full needs student and teacher; there is {' and '.join(weights.networks)}"
            + (f" and --network={network} chooses one" if network != "teacher" else "")
        )
    chosen = weights.network(network)
    if part == "backbone" and chosen.head is not None:
        logging.getLogger("dino_jax").info(
            "the %s's backbone alone is written, without its projection head", network
        )
    tree = _full_tree(weights) if part == "full" else _bare_tree(chosen, network)
    write_pth(folder / MAIN, tree)


def _full(tree: dict[str, Any], source: str, model: ModelConfig | None, optimiser: bool) -> Weights:
    ours, arguments = tree.get(OURS), tree.get("args")
    if isinstance(ours, dict):
        known = known_of(ours, source=source)
    else:
        told = {"arguments": arguments} if isinstance(arguments, dict) else None
        known = Known(facts=facts_of(told, source=source))
    known = known._replace(model=model or known.model)
    networks = {
        name: network_of(tree[name], f"{source} ({name})", known)
        for name in ("student", "teacher")
        if isinstance(tree.get(name), dict)
    }
    epoch, loss = tree.get("epoch"), tree.get("dino_loss")
    centre = loss.get("center") if isinstance(loss, dict) else None
    prototypes = next((one.head.prototypes for one in networks.values() if one.head), None)
    if centre is not None and np.shape(centre) != (1, prototypes):
        raise UserError(
            f"{source} has a centre of shape {np.shape(centre)} and a head of {prototypes} "
            f"prototypes: expected (1, {prototypes})"
        )
    return Weights(
        networks=networks,
        centre=None if centre is None else exact("dino_loss.center", centre, source),
        epoch=whole(epoch),
        optimiser=_optimiser(tree, networks, source) if optimiser else None,
        facts={"source": source, **known.facts},
    )


def _optimiser(tree: dict[str, Any], networks: Mapping[str, Network], source: str) -> Any:
    """The optimiser's state; what is not kept is said, since the networks are of use without."""
    log = logging.getLogger("dino_jax")
    if "fp16_scaler" in tree:
        log.info("%s: the scale of its float16 loss is not kept; nothing here needs it", source)
    if "optimizer" not in tree or "student" not in networks:
        return None
    try:
        return read_optimiser(tree["optimizer"], networks["student"].params)
    except UserError as error:
        log.warning("%s: its optimiser's state is left out: %s", source, error)
        return None


def _bare_tree(network: Network, name: str) -> dict[str, np.ndarray]:
    check_network(network, source=name)
    held = {**network.params, **network.stats}
    bare = {
        key.removeprefix("backbone."): held[key]
        for key in in_order(held)
        if key.startswith("backbone.")
    }
    found = architecture_of(network.model)
    if found.heads != ARCHITECTURES[network.model.arch].heads or (
        found.family == "vit" and network.size[0] != network.size[1]
    ):
        logging.getLogger("dino_jax").warning(
            "a bare file does not say that this network has %d heads and images of %dx%d: keep the "
            "config.json that lies beside it, and tell who builds it otherwise",
            found.heads,
            *network.size,
        )
    module = "fc" if network.model.arch.startswith("resnet") else "head"
    return bare | {f"{module}.{key}": network.classifier[key] for key in network.classifier}


def _full_tree(weights: Weights) -> dict[str, Any]:
    student, teacher = weights.network("student"), weights.network("teacher")
    for name, network in weights.networks.items():
        check_network(network, source=name)
        if network.classifier:
            raise UserError(
                f"the {name} has a classifier, for which a full checkpoint has no place"
            )
    if student.head is None or teacher.head is None:
        raise UserError("--part=full needs the projection head of student and teacher")
    # With any batch norm the original wraps its teacher too (main_dino.py).
    prefix = "module." if student.stats else ""
    tree: dict[str, Any] = {
        "student": _named(student, "module."),
        "teacher": _named(teacher, prefix),
    }
    if weights.optimiser is not None:
        tree["optimizer"] = write_optimiser(
            weights.optimiser, student.params, scale_is_fixed=student.head.norm_last_layer
        )
    if weights.epoch is not None:
        tree["epoch"] = weights.epoch
    facts = {name: value for name, value in weights.facts.items() if name != "source"}
    tree["args"] = facts.get("arguments") or _arguments(facts.get("config"), student)
    if weights.centre is not None:
        tree["dino_loss"] = {"center": weights.centre}
    tree[OURS] = {
        "model": dataclasses.asdict(teacher.model),
        "head": dataclasses.asdict(teacher.head),
        "size": list(teacher.size),
        "facts": json.loads(json.dumps(facts, default=str)),
    }
    return tree


def _named(network: Network, prefix: str) -> dict[str, np.ndarray]:
    held = {**network.params, **network.stats}
    return {prefix + name: held[name] for name in in_order(held)}


def _arguments(made_by: Any, network: Network) -> dict[str, Any]:
    """The original's arguments for a run of ours; a plain dict, which every PyTorch opens."""
    model, head = network.model, network.head or HeadConfig()
    arguments: dict[str, Any] = {}
    if isinstance(made_by, Mapping):
        config = from_dict(dict(made_by))
        for flag, field in ORIGINAL_FLAGS.items():
            if field is not None and flag not in _UNTOLD:
                value = get(config, field)
                whole = isinstance(value, float) and value.is_integer() and "epochs" in flag
                arguments[flag] = int(value) if whole else value
        arguments["use_fp16"] = False
    xcit = model.arch.startswith("xcit")
    arguments |= {
        "arch": f"{model.arch}_p{model.patch_size}" if xcit else model.arch,
        "patch_size": model.patch_size,
        "out_dim": head.prototypes,
        "norm_last_layer": head.norm_last_layer,
        "use_bn_in_head": head.batch_norm,
    }
    return arguments
