"""View retrieval: is the nearest neighbour of one augmented view the other view of its image?"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, UInt8

from dino_jax.config import AugmentConfig, Config
from dino_jax.data.evaluation import view_batches
from dino_jax.data.source import Source
from dino_jax.evals.descriptors import Descriptor
from dino_jax.evals.features import Extractor, FeatureFunction
from dino_jax.evals.images import HeldOut
from dino_jax.evals.table import best
from dino_jax.ops import photometric, scores
from dino_jax.types import Params

VIEW_SEED = 20210429
"""The views are the same in every run, whatever its seed, so that figures can be compared."""
_BATCH = 256


def chosen(source: Source, number: int) -> Int[np.ndarray, " chosen"]:
    """Indices of `number` examples (all, if there are fewer), evenly over the source."""
    number = min(number, len(source))
    return np.linspace(0, len(source) - 1, number).round().astype(np.int64)


@dataclasses.dataclass(frozen=True)
class Views:
    """Two augmented views of each of some held-out images, fixed for every run.

    `crops` gives uint8 crops (b, 2, H, W, C), cut but with their own colours; `prepare` makes of a
    batch of them, on the device, the normalised float32 views by the augmentation of training.
    """

    crops: HeldOut
    augment: AugmentConfig
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def prepare(self, batch: dict[str, Array]) -> Float[Array, "b 2 h w c"]:
        """Augment and normalise, each view by a key of its example and its number."""

        def key(example: Array, view: Array) -> Array:
            root = jax.random.fold_in(jax.random.key(VIEW_SEED), example)
            return jax.random.fold_in(root, view)

        keys = jax.vmap(jax.vmap(key, (None, 0)), (0, None))(batch["index"], jnp.arange(2))
        return photometric.augment(
            batch["images"],
            keys,
            first_view=0,
            config=self.augment,
            mean=self.mean,
            std=self.std,
        )

    def pixels(self) -> UInt8[np.ndarray, "n 2 h w c"]:
        """The augmented views as pictures: the input of methods without weights."""
        channels = len(self.mean)
        levels = dataclasses.replace(self, mean=(0.0,) * channels, std=(1 / 255,) * channels)
        prepare = jax.jit(lambda batch: jnp.round(levels.prepare(batch)).astype(jnp.uint8))
        return np.concatenate([np.asarray(prepare(dict(batch))) for batch in self.crops])


def held_out_views(source: Source, config: Config) -> Views:
    """Two views of `eval.retrieval_images` held-out images, cut and augmented as in training."""
    wanted = chosen(source, config.eval.retrieval_images)
    cut = HeldOut(
        lambda: view_batches(source, wanted, config.crops, seed=VIEW_SEED, batch_size=_BATCH)
    )
    return Views(cut, config.augment, config.data.mean, config.data.std)


class ViewRetrieval:
    """`view_retrieval_top1`, in percent, of networks and of methods without weights.

    Each view is looked for by cosine among the other views of all images; the figure is the mean
    over first and second views, and chance is one in the number of images.
    """

    columns = {"view_retrieval_top1": "view retrieval"}  # noqa: RUF012

    def __init__(
        self,
        features: FeatureFunction,
        views: Views,
        *,
        batch_size: int = 128,
        mesh: Mesh | None = None,
    ) -> None:
        """Retrieve `views` by the features of a network, `batch_size` pairs at a time."""
        self._views = views
        self._extract = Extractor(features, views.prepare, batch_size=batch_size, mesh=mesh)

    def note(self) -> str:
        """Among how many images."""
        number = len(self._views.crops.index)
        return (
            f"View retrieval: is the nearest of {number} views the other view of the same "
            "held-out image, under the augmentation of training, with fixed draws. "
            "Methods without weights: also less their mean, if better."
        )

    def of_network(self, params: Params) -> dict[str, float]:
        """Score a network's features."""
        pairs = self._extract(params, self._views.crops)
        return {"view_retrieval_top1": scores.retrieval_top1(pairs[:, 0], pairs[:, 1])}

    def of_descriptor(self, descriptor: Descriptor) -> dict[str, float]:
        """Score a description without weights: its best variant, as is or less its mean."""
        figures = []
        for describe in descriptor.variants:
            first, second = describe(self._pixels[:, 0]), describe(self._pixels[:, 1])
            mean = np.concatenate([first, second]).mean(axis=0, keepdims=True)
            figures += [
                scores.retrieval_top1(first - offset, second - offset)
                for offset in (np.zeros_like(mean), mean)
            ]
        return best({"view_retrieval_top1": figure} for figure in figures)

    def chance(self) -> dict[str, float]:
        """What guessing scores."""
        return {"view_retrieval_top1": 100 / len(self._views.crops.index)}

    @functools.cached_property
    def _pixels(self) -> UInt8[np.ndarray, "n 2 h w c"]:
        return self._views.pixels()
