"""Weights by a spec: a run or checkpoint of ours, a file or folder of another library, a name.

    runs/first          runs/first:student       dino_vits16            dino_vits16:full
    checkpoint.pth      exports/vit/             model.safetensors      deit_small_16

Files and folders are told apart by what they hold, not by how they are called.
"""

import os
import pathlib
from collections.abc import Collection
from typing import Any

import jax.numpy as jnp

from dino_jax.config import Config, UserError, from_dict
from dino_jax.interop import hub
from dino_jax.interop.checkpoint import METADATA, newest_step
from dino_jax.interop.formats import dino, orbax, safetensors, timm, torchvision, transformers
from dino_jax.interop.infer import configs_of, family_of, model_of
from dino_jax.interop.network import Network, Weights
from dino_jax.interop.official import OFFICIAL, nearest, open_official
from dino_jax.interop.prefixes import is_full, state_dict
from dino_jax.interop.pth import read_pth
from dino_jax.interop.record import OURS, printable
from dino_jax.interop.strict import COUNTER, narrow
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
    # A path may be in no encoding, and what is written of it has to be.
    weights = weights._replace(facts=printable({**weights.facts, "source": name}))
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
    the run where there was one, or as a file says.

    Raises:
        UserError: as `open_weights`, or there is no such network.
    """
    weights = open_weights(spec, offline=offline)
    chosen = weights.network(network or "teacher")
    params = {name: jnp.asarray(value) for name, value in chosen.params.items()}
    stats = {name: jnp.asarray(value) for name, value in narrow(chosen.stats).items()}
    return model_of(chosen), params, stats, config_of(weights, chosen)


def config_of(weights: Weights, network: Network) -> Config:
    """How the images of one network of `weights` are read: by its run, or as its file says."""
    made_by = weights.facts.get("config")
    config = from_dict(made_by) if isinstance(made_by, dict) else Config()
    config.model, config.head = configs_of(network)
    config.crops.global_size = network.size[0]
    return hub.normalised(config, weights)


def _only(weights: Weights, network: str) -> Weights:
    """The one network, without what belongs to both; the centre is of the teacher's outputs."""
    chosen = weights.network(network)
    facts = {**weights.facts, "network": network}
    centre = weights.centre if network == "teacher" else None
    return Weights({"teacher": chosen}, centre=centre, epoch=weights.epoch, facts=facts)


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
    if path.is_dir():
        return _open_folder(path, optimiser)
    if not path.is_file():  # what would be waited for, or never ends
        raise UserError(f"{path} is neither a file nor a folder")
    return _open_file(path, optimiser)


def _open_folder(folder: pathlib.Path, optimiser: bool) -> Weights:
    """A run, its checkpoints or one of them; else the file that another library would read."""
    step = newest_step(folder)
    whole = step is not None and (folder / str(step) / METADATA).exists()
    if whole or newest_step(folder / "checkpoints") is not None:
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
    deeper = [each for each in sorted(folder.glob("*/*.safetensors")) if each.is_file()]
    if step is None and deeper:
        raise UserError(f"{folder} itself holds no weights: give {deeper[0]}, say")
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
    counted = any(name.endswith(COUNTER) for name in tensors)  # else it is of before there were
    if library is None and family_of(tensors) == "resnet" and not counted:
        library = torchvision
    return dino.weights_of(tree, file) if library is None else library.load(file, tensors=tensors)


def _library(names: Collection[str], file: pathlib.Path) -> Any:
    """transformers or timm where the names, or a `config.json` beside them, are theirs."""
    if any("embeddings.cls_token" in name for name in names):
        return transformers
    if "pos_embed.token_projection.weight" in names:
        return timm
    plain = not any(name.startswith(("module.", "backbone.")) for name in names)
    config = hub.config_of(file, files=timm.FILES) if plain else {}
    named = "architecture" in config if file.name in timm.FILES else timm.named_by(config)
    return timm if named else None


def _open_safetensors(file: pathlib.Path) -> Weights:
    if file.suffix != ".safetensors":
        raise UserError(f"{file} is a safetensors file: call it {file.stem}.safetensors")
    names = safetensors.read_header(file)
    metadata = names.pop("__metadata__", {})
    ours = isinstance(metadata, dict) and OURS in metadata
    if ours or any(name.startswith("backbone.") for name in names):
        return safetensors.load(file)
    return (_library(names, file) or timm).load(file)
