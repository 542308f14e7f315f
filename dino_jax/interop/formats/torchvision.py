"""torchvision: the state dict of its ResNet-50 as a `.pth` file.

Names: docs/development/formats.md, section 3.
"""

import logging
import pathlib

import numpy as np

from dino_jax.config import UserError
from dino_jax.config.architectures import architecture_of
from dino_jax.interop import hub
from dino_jax.interop.infer import family_of, network_from
from dino_jax.interop.names import TABLES, called, inward, outward
from dino_jax.interop.network import Arrays, Weights
from dino_jax.interop.positions import at_size
from dino_jax.interop.prefixes import state_dict
from dino_jax.interop.pth import read_pth, write_pth
from dino_jax.interop.strict import COUNTER, check_network, listed
from dino_jax.models.naming import BACKBONE, prefixed, under

MAIN = "resnet50.pth"

CLASSIFIER = "fc."
TABLE = TABLES["torchvision", "resnet"]


def load(path: pathlib.Path, *, tensors: Arrays | None = None) -> Weights:
    """Read the state dict of a ResNet-50, with its classifier `fc` or without.

    `tensors` are those of a file that has been read already.

    Raises:
        UserError: what cannot be read, another network, or tensors that do not match.
    """
    path = path / MAIN if path.is_dir() else path
    source = str(path)
    if tensors is None:
        tensors = state_dict(read_pth(path), source=source)
    if family_of(tensors) != "resnet":
        raise UserError(f"{source} holds no ResNet-50, found {listed(tensors)}")
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(CLASSIFIER)}
    network = network_from(
        inward(TABLE, _counted(rest, source), source=source),
        source=source,
        classifier=under(CLASSIFIER, tensors),
        called=lambda name: called(TABLE, name),
    )
    return Weights({"teacher": network}, facts={"source": source})


def save(
    weights: Weights,
    folder: pathlib.Path,
    *,
    network: str = "teacher",
    size: tuple[int, int] | None = None,
) -> None:
    """Write `resnet50.pth`, with `fc` where there is a classifier; any size is its own.

    Raises:
        UserError: no such network, another one than a ResNet-50, or tensors that do not match it.
    """
    chosen = at_size(weights.network(network), size)
    if architecture_of(chosen.model).family != "resnet":
        raise UserError(
            f"torchvision is written of ResNet-50 alone, and this is {chosen.model.arch}: timm "
            "takes it"
        )
    hub.check_resnet(chosen, "torchvision")
    check_network(chosen, source=f"the {network}")
    held = prefixed(BACKBONE, under(BACKBONE, {**chosen.params, **chosen.stats}))
    tensors = outward(TABLE, held, source=f"the {network}")
    classifier = prefixed(CLASSIFIER, hub.classifier_of(chosen, "torchvision"))
    write_pth(folder / MAIN, tensors | classifier)


def _counted(tensors: Arrays, source: str) -> Arrays:
    """With the counters that files of before 2018 lack, as PyTorch does on loading those."""
    if any(name.endswith(COUNTER) for name in tensors):
        return tensors
    norms = [name.removesuffix("running_mean") for name in tensors if name.endswith("running_mean")]
    logging.getLogger("dino_jax").info(
        "%s is of before the counters of batch statistics (%s): they begin at 0", source, COUNTER
    )
    return tensors | {norm + COUNTER: np.asarray(0, np.int64) for norm in norms}
