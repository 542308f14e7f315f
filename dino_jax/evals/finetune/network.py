"""From weights to what is trained, and from what was trained to weights again."""

import pathlib
from collections.abc import Mapping

import jax
import numpy as np

from dino_jax.config import UserError
from dino_jax.interop.encoder import Encoder, check_patches
from dino_jax.interop.formats import safetensors
from dino_jax.interop.network import Network, Weights
from dino_jax.interop.positions import at_size
from dino_jax.interop.record import NORMALISATION


def network_of(encoder: Encoder) -> Network:
    """The backbone at the size of the images, its position table interpolated where it has one.

    Raises:
        UserError: what is no network, or a size that is no multiple of the patch.
    """
    if encoder.network is None:
        raise UserError(f"{encoder.name} is no network to train: name weights, or random:SPEC")
    check_patches(encoder, encoder.size)
    size = (encoder.size, encoder.size)
    network = encoder.network
    network = network if network.size == size else at_size(network, size)
    inside = {k: v for k, v in network.params.items() if k.startswith("backbone.")}
    stats = {k: v for k, v in network.stats.items() if k.startswith("backbone.")}
    return network._replace(params=inside, stats=stats, head=None, classifier={})


def classified(network: Network, leaves: dict[str, jax.Array]) -> Network:
    """The network with these weights, and its classifier, as every export takes it."""
    held = {name: np.asarray(leaf) for name, leaf in leaves.items()}
    return network._replace(
        params={name: held[name] for name in network.params},
        stats={name: held[name].astype(old.dtype) for name, old in network.stats.items()},
        classifier={name: held[f"classifier.{name}"] for name in ("weight", "bias")},
    )


def save(
    network: Network, encoder: Encoder, folder: pathlib.Path, *, scores: Mapping[str, float]
) -> pathlib.Path:
    """Write `model.safetensors`, which every command opens, with the classifier; gives its path.

    It says how its images are normalised, and what it scores in percent.
    """
    facts = {
        "source": encoder.spec,
        NORMALISATION: [list(encoder.mean), list(encoder.std)],
        "scores": dict(scores),
    }
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.save(Weights({"teacher": network}, facts=facts), folder)
    return folder / safetensors.MAIN
