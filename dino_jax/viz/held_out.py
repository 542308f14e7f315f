"""What a trained network attends to on photographs that it has not seen."""

import logging
import pathlib

import jax
import numpy as np
from jaxtyping import Float, UInt8

from dino_jax.config import DataConfig
from dino_jax.data.evaluation import eval_image
from dino_jax.data.source import Source
from dino_jax.models.build import Model
from dino_jax.ops import photometric
from dino_jax.types import Params
from dino_jax.viz.attention import cls_attention, write_attention_picture
from dino_jax.viz.report.looks import NUMBER, PATCHES, chosen

log = logging.getLogger(__name__)


def write_held_out_attention(
    path: str | pathlib.Path,
    model: Model,
    params: Params,
    source: Source,
    *,
    data: DataConfig,
    before: Params | None = None,
    network: str = "teacher",
    number: int = NUMBER,
    patches: int = PATCHES,
) -> bool:
    """Write the last block's CLS attention on `number` held-out images, one of a class if labelled.

    Returns whether it did: without attention, or an image to show, there is a line in the log
    instead.
    `params`, those of the `network`, and `before` hold the batch statistics too. Images are resized
    to `patches` x `patches` patches, and positions are interpolated. Which are shown depends on the
    images alone, never on what the network makes of them: those of the report (`looks.chosen`).
    """
    if not model.heads:
        log.info("no picture of attention: the model has none")
        return False
    picked = chosen(source, number)
    if not picked:
        log.info("no picture of attention: no held-out image can be shown")
        return False
    size = patches * model.patch_size
    images = np.stack([eval_image(source.load(i), size=size, resize=size) for i in picked])
    names = [source.name(i).rsplit("/", 1)[-1].split("@")[0][:24] for i in picked]
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


def _maps(
    model: Model, params: Params, images: UInt8[np.ndarray, "n h w c"], data: DataConfig
) -> Float[np.ndarray, "n heads rows columns"]:
    @jax.jit
    def attention(params: Params, images: jax.Array) -> jax.Array | None:
        normal = photometric.normalise(images, data.mean, data.std)
        return model.features(params, normal, attention=True).attention

    rows, columns = (side // model.patch_size for side in images.shape[1:3])
    return cls_attention(np.asarray(attention(params, images)), rows, columns)
