"""What a trained network attends to on photographs that it has not seen."""

import logging
import pathlib

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from dino_jax.config import DataConfig
from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.evaluation import eval_image
from dino_jax.data.source import Source
from dino_jax.models.build import Model
from dino_jax.ops import photometric
from dino_jax.types import Params
from dino_jax.viz.attention import cls_attention, write_attention_picture

log = logging.getLogger(__name__)

PATCHES = 16
"""Patches along a side: more than in training, so that the maps show shapes."""


def write_held_out_attention(
    path: str | pathlib.Path,
    model: Model,
    params: Params,
    source: Source,
    *,
    data: DataConfig,
    before: Params | None = None,
    network: str = "teacher",
    number: int = 6,
    patches: int = PATCHES,
) -> bool:
    """Write the last block's CLS attention on `number` held-out images, one of a class if labelled.

    Returns whether it did: a model without attention leaves a line in the log and no picture.
    `params`, those of the `network`, and `before` hold the batch statistics too. Images are resized
    to `patches` x `patches` patches, and positions are interpolated. Which are shown depends on the
    images alone (`striking`), never on what the network makes of them.
    """
    if not model.heads:
        log.info("no picture of attention: the model has none")
        return False
    chosen = striking(source, number)
    size = patches * model.patch_size
    images = np.stack([eval_image(source.load(int(i)), size=size, resize=size) for i in chosen])
    names = [source.name(int(i)).rsplit("/", 1)[-1].split("@")[0][:24] for i in chosen]
    write_attention_picture(
        path,
        list(images),
        list(_maps(model, params, images, data)),
        before=None if before is None else list(_maps(model, before, images, data)),
        names=names,
        title=(
            f"Held-out images: attention of the {network}'s CLS token, last block · "
            f"{size} × {size} pixels, {patches} × {patches} patches of {model.patch_size}"
        ),
    )
    return True


def striking(source: Source, number: int) -> Int[np.ndarray, " chosen"]:
    """Indices of the images with the highest contrast: of each class if labelled, else overall.

    Classes are taken evenly over all of them; 64 images a class, evenly spaced, are looked at.
    Unreadable ones are passed over, and a class of nothing else.
    """
    if source.labels is None:
        groups = np.array_split(np.arange(len(source)), min(number, len(source)))
    else:
        present = np.unique(source.labels)
        wanted = np.linspace(0, len(present) - 1, min(number, len(present))).round().astype(int)
        groups = [np.flatnonzero(source.labels == label) for label in present[wanted]]
    found = [index for group in groups if (index := _most_contrast(source, group)) is not None]
    return np.array(found, np.int64)


def _most_contrast(source: Source, group: Int[np.ndarray, " n"]) -> int | None:
    looked_at = group[np.linspace(0, len(group) - 1, min(64, len(group))).round().astype(int)]
    contrast: dict[int, float] = {}
    for index in map(int, looked_at):
        try:
            small = Image.fromarray(source.load(index)[..., 0]).resize((32, 32))
        except UnreadableImageError:  # named when the evaluations came upon it
            continue
        contrast[index] = float(np.std(np.asarray(small)))
    return max(contrast, key=contrast.__getitem__, default=None)


def _maps(
    model: Model, params: Params, images: UInt8[np.ndarray, "n h w c"], data: DataConfig
) -> Float[np.ndarray, "n heads rows columns"]:
    @jax.jit
    def attention(params: Params, images: jax.Array) -> jax.Array | None:
        normal = photometric.normalise(images, data.mean, data.std)
        return model.features(params, normal, attention=True).attention

    rows, columns = (side // model.patch_size for side in images.shape[1:3])
    return cls_attention(np.asarray(attention(params, images)), rows, columns)
