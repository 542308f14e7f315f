"""Weights by a spec: a run or checkpoint of ours, a file or folder of another library, a name.

    runs/first          runs/first:student       dino_vits16            dino_vits16:full
    checkpoint.pth      exports/vit/             model.safetensors      deit_small_16

Files and folders are told apart by what they hold, not by how they are called.
"""

import json
import os
import pathlib
from collections.abc import Collection
from typing import Any

import jax.numpy as jnp

from dino_jax.config import Config, UserError, from_dict
from dino_jax.interop import hub
from dino_jax.interop.checkpoint import newest_step
from dino_jax.interop.formats import dino, orbax, safetensors, timm, torchvision, transformers
from dino_jax.interop.infer import configs_of, family_of, model_of
from dino_jax.interop.network import Weights
from dino_jax.interop.official import OFFICIAL, nearest, open_official
from dino_jax.interop.prefixes import is_full, state_dict
from dino_jax.interop.pth import read_pth
from dino_jax.interop.strict import COUNTER
from dino_jax.models.build import Model
from dino_jax.types import Params, Stats

NETWORKS = ("student", "teacher")
SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".onnx", ".npz", ".ckpt", ".tar")


def open_weights(spec: str, *, offline: bool = False, optimiser: bool = False) -> Weights:
    """Read what `spec` names; the optimiser's state only where asked for.

    A spec is a path or a published name, and may end in `:student` or `:teacher`: the network so
    chosen is then the only one. What exists as a path is that; `./` before it makes sure.

    Raises:
        UserError: nothing of that name, or what cannot be read or does not match.
    """
    name, network = split_network(spec)
    path = pathlib.Path(os.path.expanduser(name))
    if name and _exists(path):
        weights = _open_path(path, optimiser=optimiser)
    else:
        found = open_official(name, offline=offline)
        if found is None:
            raise UserError(_unknown(name))
        weights = found
    weights = weights._replace(facts={**weights.facts, "source": name})
    return weights if network is None else _only(weights, network)


def split_network(spec: str) -> tuple[str, str | None]:
    """A spec without its `:student` or `:teacher`, and which of them it was."""
    name, _, network = spec.rpartition(":")
    if network in NETWORKS and name and not _exists(pathlib.Path(os.path.expanduser(spec))):
        return name, network
    return spec, None


def load_model(
    spec: str, network: str | None = None, *, offline: bool = False
) -> tuple[Model, Params, Stats, Config]:
    """Build and read one network of any spec, ready for `model.features({**params, **stats}, …)`.

    `network` is the teacher unless it, or the spec, says otherwise. The model computes in float32
    and drops no path; the configuration says how images are read and normalised, and is that of
    the run where there was one.

    Raises:
        UserError: as `open_weights`, or there is no such network.
    """
    weights = open_weights(spec, offline=offline)
    chosen = weights.network(network or "teacher")
    made_by = weights.facts.get("config")
    config = from_dict(made_by) if isinstance(made_by, dict) else Config()
    config.model, config.head = configs_of(chosen)
    config.crops.global_size = chosen.size[0]
    params = {name: jnp.asarray(value) for name, value in chosen.params.items()}
    stats = {name: _statistic(value) for name, value in chosen.stats.items()}
    return model_of(chosen), params, stats, config


def _statistic(value: Any) -> Any:
    """Counters are int32 in a model, since jax has no wider integers unless told to."""
    return jnp.asarray(value.astype("int32") if value.dtype.kind == "i" else value)


def _only(weights: Weights, network: str) -> Weights:
    """The one network, without what belongs to both."""
    chosen = weights.network(network)
    facts = {**weights.facts, "network": network}
    return Weights({"teacher": chosen}, epoch=weights.epoch, facts=facts)


def _exists(path: pathlib.Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or of no character
        return False


def _unknown(name: str) -> str:
    if not name:
        return "no weights are named: expected a path or a name such as dino_vits16"
    path_like = os.sep in name or name.startswith(("~", ".")) or name.endswith(SUFFIXES)
    near = None if path_like else nearest(name)
    if path_like:
        return f"there is no file or folder {name} to read weights from"
    hint = f"did you mean {near}? " if near else ""
    return (
        f"there is no file, folder or published name {name}: {hint}published are "
        f"{', '.join(OFFICIAL)}"
    )


def _open_path(path: pathlib.Path, *, optimiser: bool) -> Weights:
    return _open_folder(path, optimiser) if path.is_dir() else _open_file(path, optimiser)


def _open_folder(folder: pathlib.Path, optimiser: bool) -> Weights:
    """A run, its checkpoints or one of them; else the file that another library would read."""
    steps = [newest_step(folder), newest_step(folder / "checkpoints")]
    if any(step is not None for step in steps):
        return orbax.load(folder, optimiser=optimiser)
    for name in dict.fromkeys(
        (hub.MAIN, *transformers.FILES, *timm.FILES, dino.MAIN, torchvision.MAIN)
    ):
        if (folder / name).is_file():
            return _open_file(folder / name, optimiser)
    if (folder / hub.INDEX).is_file():
        return timm.load(folder)  # which says that it is in several files
    held = [file for file in folder.iterdir() if file.suffix in SUFFIXES[:4] and file.is_file()]
    if len(held) == 1:
        return _open_file(held[0], optimiser)
    if held:
        names = ", ".join(sorted(file.name for file in held)[:4])
        raise UserError(f"{folder} holds several files of weights ({names}): name one of them")
    return orbax.load(folder, optimiser=optimiser)  # which says what a folder may be


def _open_file(file: pathlib.Path, optimiser: bool) -> Weights:
    """A file by its first bytes, its `config.json` and the names of its tensors."""
    try:
        with open(file, "rb") as opened:
            start = opened.read(9)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    if start[8:] == b"{":
        return _open_safetensors(file)
    if b"ONNX" in start or file.suffix == ".onnx":
        raise UserError(f"{file} is an ONNX file, which is written and not read")
    tree = read_pth(file)
    if not isinstance(tree, dict) or is_full(tree):
        return dino.weights_of(tree, file, optimiser=optimiser)
    tensors = state_dict(tree, source=str(file))
    library = _library(tensors, file)
    if library is not None:
        return library.load(file)
    if family_of(tensors) == "resnet" and not any(name.endswith(COUNTER) for name in tensors):
        return torchvision.load(file)  # of before there were counters
    return dino.weights_of(tree, file)


def _library(names: Collection[str], file: pathlib.Path) -> Any:
    """transformers or timm where the names, or a `config.json` beside them, are theirs."""
    own = file.with_name(f"{file.stem}.{hub.CONFIG}")  # of a file that was written by itself
    config = hub.read_config(own if own.is_file() else file.parent / hub.CONFIG)
    if any("embeddings.cls_token" in name for name in names):
        return transformers
    if "pos_embed.token_projection.weight" in names:
        return timm
    plain = not any(name.startswith(("module.", "backbone.")) for name in names)
    return timm if plain and "architecture" in config else None


def _open_safetensors(file: pathlib.Path) -> Weights:
    if file.suffix != ".safetensors":
        raise UserError(f"{file} is a safetensors file: call it {file.stem}.safetensors")
    names, ours = _header(file)
    if ours or any(name.startswith("backbone.") for name in names):
        return safetensors.load(file)
    return (_library(names, file) or timm).load(file)


def _header(file: pathlib.Path) -> tuple[list[str], bool]:
    """The names in a safetensors file, and whether it is one of ours; its reader checks it."""
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        text = opened.read(length) if length < file.stat().st_size else b"{}"
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        return [], True
    metadata = header.pop("__metadata__", {}) if isinstance(header, dict) else {}
    return list(header), isinstance(metadata, dict) and safetensors.OURS in metadata
