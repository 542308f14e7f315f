"""Linear heads that came with weights: which images they can be asked about, and their answers."""

import importlib.util
import pathlib

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from dino_jax.config import UserError
from dino_jax.data.source import Source
from dino_jax.evals.classes import labels_of
from dino_jax.evals.linear.features import Inputs, linear_inputs, one_feature
from dino_jax.interop.encoder import Encoder
from dino_jax.ops import heads

IMAGENET = 1000
_SYNSETS = ("datasets", "imagenet2012", "labels.txt")


def imagenet_synsets() -> tuple[str, ...]:
    """The 1000 WordNet ids of ImageNet-1k in the order of its classes, as tensorflow-datasets has.

    Empty where that package does not hold them.
    """
    package = importlib.util.find_spec("tensorflow_datasets")
    if package is None or not package.submodule_search_locations:
        return ()
    path = pathlib.Path(package.submodule_search_locations[0], *_SYNSETS)
    synsets = sorted(path.read_text().split()) if path.exists() else []
    return tuple(synsets) if len(synsets) == IMAGENET else ()


def labels_of_head(source: Source, classes: int) -> Int[np.ndarray, " n"]:
    """The labels of a source in the numbering of a released head of so many classes.

    A source of as many classes has them in the same order, folders by name. One with fewer is
    taken as a part of ImageNet if its classes are named by WordNet ids.

    Raises:
        UserError: neither is the case.
    """
    labels = labels_of(source)
    named = len(source.class_names) or int(labels.max()) + 1
    if named == classes:
        return labels
    number = {name: index for index, name in enumerate(imagenet_synsets())}
    if classes == IMAGENET and source.class_names and set(source.class_names) <= set(number):
        return np.array([number[name] for name in source.class_names], np.int64)[labels]
    raise UserError(
        f"{source.spec} has {named} classes and the released head {classes}: expected the same, "
        "or folders named by ImageNet's WordNet ids (n01440764)"
    )


def released_inputs(encoder: Encoder, n_last_blocks: int | None, avgpool: bool | None) -> Inputs:
    """What the released head reads: what is asked for, the one feature of its width, or the usual.

    Fine-tuned networks have a head of the former kind, the authors' heads are of the latter.
    """
    if n_last_blocks is None and avgpool is None:
        weight, _ = check_released(encoder)
        if weight.shape[1] == encoder.width:
            return one_feature(encoder)
    return linear_inputs(encoder, n_last_blocks=n_last_blocks, avgpool=avgpool)


def answers(
    encoder: Encoder, features: Float[np.ndarray, "n inputs"]
) -> Float[np.ndarray, "n classes"]:
    """Logits of the released head.

    Raises:
        UserError: it takes features of another width.
    """
    weight, bias = check_released(encoder)
    if weight.shape[1] != features.shape[1]:
        raise UserError(
            f"the linear head of {encoder.name} takes {weight.shape[1]} inputs and the features "
            f"have {features.shape[1]}: choose them by --n-last-blocks and --avgpool"
        )
    rows = [
        heads.logits(jnp.asarray(weight), jnp.asarray(bias), jnp.asarray(part))
        for part in np.array_split(features, max(1, len(features) // 8192))
    ]
    return np.concatenate([np.asarray(each) for each in rows])


def check_released(encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Weight (classes, inputs) and bias of the released head.

    Raises:
        UserError: these weights have none.
    """
    held = encoder.classifier
    if "weight" not in held:
        raise UserError(
            f"{encoder.name} has no linear head: name weights that have one "
            "(dino_vits16:linear), or leave --head away"
        )
    weight = np.asarray(held["weight"], np.float32)
    bias = np.asarray(held.get("bias", np.zeros(len(weight))), np.float32)
    return weight, bias
