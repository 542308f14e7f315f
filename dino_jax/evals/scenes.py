"""Scene identity on the embedded photographs: which photograph is this crop from?

Bank and queries are grey, and the queries' brightness and contrast are jittered, since a colour
histogram alone nearly solves the task in plain colour. The bank holds the training windows, the
queries the held-out ones; no pixel is in both.
"""

import functools

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from dino_jax.data.embedded import EmbeddedSource
from dino_jax.data.evaluation import eval_batches
from dino_jax.data.randomness import Purpose, generator
from dino_jax.evals.descriptors import LUMA, Descriptor
from dino_jax.evals.features import Extractor, image_batches
from dino_jax.evals.images import HeldOut
from dino_jax.evals.table import best
from dino_jax.ops import neighbours, scores
from dino_jax.types import Params

QUERY_SEED = 20210429
JITTER = 0.4
"""Brightness and contrast factors of the queries lie within 1 -+ this, as in training."""
K, TEMPERATURE = 20, 0.07
_BATCH = 256


class SceneIdentity:
    """Weighted 20-NN accuracy in percent, averaged over photographs so that each counts the same.

    Three figures, by the kind of photograph that the query is from: scenes in colour, textures,
    and scenes that are grey by nature. The bank always holds all photographs, equally many windows
    of each.
    """

    columns = {  # noqa: RUF012
        "scene_top1": "scenes",
        "scene_textures_top1": "textures",
        "scene_grey_top1": "grey photographs",
    }

    def __init__(
        self,
        extractor: Extractor,
        bank: EmbeddedSource,
        queries: EmbeddedSource,
        *,
        size: int,
        resize: int | None = None,
    ) -> None:
        """Evaluate at `size` pixels on two splits of the embedded photographs."""
        self._extractor, self._sources = extractor, (bank, queries)
        self._size, self._resize = size, resize
        self._labels = bank.labels, queries.labels
        scenes = ~bank.texture & ~bank.grey
        self._kinds: dict[str, Bool[np.ndarray, " classes"]] = {
            "scene_top1": scenes,
            "scene_textures_top1": bank.texture,
            "scene_grey_top1": bank.grey & ~bank.texture,
        }

    def note(self) -> str:
        """What is in the bank and in the queries."""
        bank, queries = (len(source) for source in self._sources)
        return (
            f"Scenes, textures, grey photographs: which of {len(self._sources[0].class_names)} "
            f"photographs a held-out crop ({queries}) is from, by weighted {K}-NN among {bank} "
            "training crops. Both are grey, the query's brightness and contrast jittered; the mean "
            "over photographs. Methods without weights: also less the bank's mean, if better."
        )

    def of_network(self, params: Params) -> dict[str, float]:
        """Score a network's features."""
        bank, queries = (self._extractor(params, image_batches(each)) for each in self._images)
        return self._scored(bank, queries)

    def of_descriptor(self, descriptor: Descriptor) -> dict[str, float]:
        """Score a description without weights: its best variant, as is or less the bank's mean."""
        figures = []
        for describe in descriptor.variants:
            bank, queries = (describe(each) for each in self._images)
            mean = bank.mean(axis=0, keepdims=True)
            figures += [
                self._scored(bank - offset, queries - offset)
                for offset in (np.zeros_like(mean), mean)
            ]
        return best(figures)

    def chance(self) -> dict[str, float]:
        """What guessing scores."""
        return dict.fromkeys(self.columns, 100 / len(self._sources[0].class_names))

    @functools.cached_property
    def _images(self) -> tuple[UInt8[np.ndarray, "n h w c"], UInt8[np.ndarray, "m h w c"]]:
        bank, queries = (
            HeldOut(
                functools.partial(
                    eval_batches,
                    source,
                    np.arange(len(source)),
                    size=self._size,
                    resize=self._resize,
                    batch_size=_BATCH,
                )
            ).images()
            for source in self._sources
        )
        return grey(bank), jittered(grey(queries))

    def _scored(
        self, bank: Float[np.ndarray, "n d"], queries: Float[np.ndarray, "m d"]
    ) -> dict[str, float]:
        votes = neighbours.knn_votes(
            queries, bank, self._labels[0], k=(K,), temperature=TEMPERATURE
        )[K]
        return {
            name: _balanced(np.asarray(votes), self._labels[1], kind)
            for name, kind in self._kinds.items()
        }


def _balanced(
    votes: Float[np.ndarray, "m classes"],
    labels: Int[np.ndarray, " m"],
    kind: Bool[np.ndarray, " classes"],
) -> float:
    of_kind = kind[labels]
    return scores.balanced_accuracy(votes[of_kind], labels[of_kind])


def grey(images: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h w c"]:
    """Grey levels of colour images, in all three channels; images of one channel as they are."""
    if images.shape[-1] != len(LUMA):
        return images
    levels = np.round(images.astype(np.float32) @ LUMA).astype(np.uint8)
    return np.repeat(levels[..., None], len(LUMA), axis=-1)


def jittered(images: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h w c"]:
    """Scale each image's brightness, then its contrast about its mean, by factors of its own.

    Image i is always changed in the same way, whatever the others.
    """
    changed = np.empty_like(images)
    for number, image in enumerate(images):
        draws = generator(QUERY_SEED, 0, number, 0, Purpose.EVALUATION).random(2)
        brightness, contrast = 1 - JITTER + 2 * JITTER * draws
        bright = np.clip(image * brightness, 0, 255)
        level = bright.mean()
        changed[number] = np.round(np.clip(level + contrast * (bright - level), 0, 255))
    return changed
