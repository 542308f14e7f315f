"""Safetensors files: those of other libraries, and a network of ours with all that is known of it.

The only importer of the `safetensors` package.
"""

import dataclasses
import json
import pathlib
import stat
from collections.abc import Mapping
from typing import Any

import ml_dtypes  # noqa: F401  (bfloat16 is read where it is imported)
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dino_jax.config import UserError
from dino_jax.interop.infer import network_from
from dino_jax.interop.network import Arrays, Network, Weights
from dino_jax.interop.positions import at_size
from dino_jax.interop.record import OURS, Known, known_of
from dino_jax.interop.strict import check_network

MAIN = "model.safetensors"

FORMAT_VERSION = 1
"""Of what lies, as JSON, under the key `record.OURS` of the metadata: all that is no tensor."""
LONGEST = 100_000_000
"""Bytes of a header, as the library has it."""
CLASSIFIER = "classifier."
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""Raised of JSON that is no header, or of a type that numpy has not."""


def load(path: pathlib.Path) -> Weights:
    """Read a file of ours, or the folder that holds `model.safetensors`.

    A file without our metadata is read by its tensors alone, if they bear our names.

    Raises:
        UserError: no such file, a damaged or newer one, or tensors that do not match.
    """
    path = path / MAIN if path.is_dir() else path
    tensors, metadata = read_safetensors(path)
    told = _told(metadata, path)
    classifier = {
        name.removeprefix(CLASSIFIER): tensors.pop(name)
        for name in list(tensors)
        if name.startswith(CLASSIFIER)
    }
    network = network_from(
        tensors,
        source=str(path),
        model=told.model,
        head=told.head,
        size=told.size,
        classifier=classifier,
    )
    facts = {"source": str(path), **told.facts}
    return Weights({"teacher": network}, epoch=told.epoch, facts=facts)


def save(
    weights: Weights,
    folder: pathlib.Path,
    *,
    network: str = "teacher",
    size: tuple[int, int] | None = None,
) -> None:
    """Write `model.safetensors`: one network with its head and classifier under our names.

    With `size` its position table is that of images of these (height, width) pixels.

    Raises:
        UserError: no such network, or tensors that do not match it.
    """
    chosen = at_size(weights.network(network), size)
    check_network(chosen, source=f"the {network}")
    classifier = {CLASSIFIER + name: tensor for name, tensor in chosen.classifier.items()}
    told = {
        "format_version": FORMAT_VERSION,
        **described(chosen),
        "epoch": weights.epoch,
        "facts": dict(weights.facts),
    }
    write_safetensors(
        folder / MAIN,
        {**chosen.params, **chosen.stats, **classifier},
        {OURS: json.dumps(told, default=str, sort_keys=True)},
    )


def described(network: Network) -> dict[str, Any]:
    """The configuration of a network as JSON holds it."""
    return {
        "model": dataclasses.asdict(network.model),
        "head": None if network.head is None else dataclasses.asdict(network.head),
        "size": list(network.size),
    }


def read_safetensors(path: pathlib.Path) -> tuple[Arrays, dict[str, str]]:
    """The tensors and the metadata of a file; the arrays are writable copies.

    Raises:
        UserError: no such file, or a damaged one.
    """
    read_header(path)
    try:
        with safe_open(path, "np") as file:
            metadata = dict(file.metadata() or {})
            # `keys` is a method of what is no mapping
            return {name: file.get_tensor(name) for name in list(file.keys())}, metadata
    except (SafetensorError, OSError, *_MALFORMED) as error:
        raise _damaged(path, error) from error


def write_safetensors(
    path: pathlib.Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write a file; the library would write other numbers for what is not contiguous."""
    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)  # as the umask says; the library's is the owner's
    save_file(contiguous, path, metadata=dict(metadata))
    if len(metadata) > 1:
        _sort_metadata(path)
    path.chmod(mode)


def _sort_metadata(path: pathlib.Path) -> None:
    """Write the keys in one order: the library's is not, and no file would be the same twice."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > length:
            raise ValueError(f"{path}: its header is longer in another order")
        file.seek(8)
        file.write(text.ljust(length))


def read_header(path: pathlib.Path) -> dict[str, Any]:
    """The header of a file: its tensors by name, and `__metadata__`.

    A name that occurs twice is refused: the library takes the last, other readers the first.

    Raises:
        UserError: no such file, or a damaged one.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(path.stat().st_size, LONGEST):
                raise ValueError("its header is longer than the file, or than any")
            header = json.loads(file.read(length), object_pairs_hook=_unique)
        if not isinstance(header, dict):
            raise TypeError("its header is no object")
        return header
    except (OSError, *_MALFORMED) as error:
        raise _damaged(path, error) from error


def _damaged(path: pathlib.Path, error: Exception) -> UserError:
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return UserError(f"{path} cannot be read as safetensors: {reason[:200]}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in its header")
    return found


def _told(metadata: Mapping[str, str], path: pathlib.Path) -> Known:
    """What our metadata say, nothing where there are none."""
    if OURS not in metadata:
        return Known()
    try:
        told = json.loads(metadata[OURS])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: its metadata {OURS!r} are no JSON") from error
    if not isinstance(told, dict):
        raise UserError(f"{path}: its metadata {OURS!r} are not as we write them")
    version = told.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} is of format {str(version)[:40]}: this version of dino_jax reads "
            f"{FORMAT_VERSION}"
        )
    return known_of(told, source=str(path))
