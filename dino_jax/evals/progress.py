"""Two figures of progress that need no labels: view retrieval and effective rank.

Neither proves that features are useful, and neither detects a collapse: an untrained network has
a fair effective rank, and retrieval falls late. They say whether training moves.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from dino_jax.config import AugmentConfig, CropsConfig
from dino_jax.data.evaluation import eval_batches, view_batches
from dino_jax.data.source import Source
from dino_jax.evals.features import Extractor, FeatureFunction
from dino_jax.evals.images import HeldOut
from dino_jax.ops import photometric, scores
from dino_jax.types import Params

VIEW_SEED = 20210429
"""The views are the same in every run, whatever its seed, so that figures can be compared."""


def chosen(source: Source, number: int) -> Int[np.ndarray, " chosen"]:
    """Indices of `number` examples (all, if there are fewer), evenly over the source."""
    number = min(number, len(source))
    return np.linspace(0, len(source) - 1, number).round().astype(np.int64)


@dataclasses.dataclass(frozen=True)
class Views:
    """Two augmented views of each of some held-out images, fixed for every run.

    Iterating gives uint8 crops; `prepare` makes of a batch of them, on the device, the normalised
    float32 views (b, 2, H, W, C) by the augmentation of training.
    """

    crops: HeldOut
    augment: AugmentConfig
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def prepare(self, batch: dict[str, Array]) -> Float[Array, "b 2 h w c"]:
        """Augment and normalise; every view by a key of its example and view number."""

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

    def pixels(self) -> Float[np.ndarray, "n 2 h w c"]:
        """The views as a viewer would see them, 0 to 1: the input of methods without weights."""
        plain = dataclasses.replace(self, mean=(0.0,) * len(self.mean), std=(1.0,) * len(self.std))
        prepare = jax.jit(plain.prepare)
        return np.concatenate([np.asarray(prepare(_on_device(batch))) for batch in self.crops])


def _on_device(batch: dict[str, np.ndarray]) -> dict[str, Array]:
    return {name: jnp.asarray(value) for name, value in batch.items()}


def held_out_views(
    source: Source,
    *,
    number: int,
    crops: CropsConfig,
    augment: AugmentConfig,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Views:
    """Two views of `number` images of a held-out source, cut and augmented as in training."""
    wanted = chosen(source, number)
    cut = HeldOut(
        lambda: view_batches(source, wanted, crops, seed=VIEW_SEED, batch_size=256),
    )
    return Views(cut, augment, mean, std)


class ProgressEvaluator:
    """`view_retrieval_top1` (percent), `effective_rank` and `effective_rank_centred`.

    View retrieval: how often the nearest neighbour (cosine) of one view, among the other views of
    all images, is that of its own image. Ranks are those of the features of the same images
    without augmentation.
    """

    def __init__(
        self,
        features: FeatureFunction,
        views: Views,
        plain: HeldOut,
        extractor: Extractor,
        *,
        mesh: Mesh | None = None,
    ) -> None:
        """`extractor` reads `plain` images; the views get one of their own."""
        self._views, self._plain, self._extractor = views, plain, extractor
        self._of_views = Extractor(
            features, views.prepare, batch_size=extractor.batch_size // 2, mesh=mesh
        )

    def __call__(self, params: Params, *, final: bool) -> dict[str, float]:
        """Score one network; the images are the same in every evaluation, the final one too."""
        pairs = self._of_views(params, self._views.crops)
        features = self._extractor(params, self._plain)
        return {
            "view_retrieval_top1": scores.retrieval_top1(pairs[:, 0], pairs[:, 1]),
            "effective_rank": scores.effective_rank(features),
            "effective_rank_centred": scores.effective_rank(features, centred=True),
        }


def plain_images(source: Source, *, number: int, size: int, resize: int | None) -> HeldOut:
    """The images whose views are retrieved, resized and cut but not augmented."""
    wanted = chosen(source, number)
    return HeldOut(lambda: eval_batches(source, wanted, size=size, resize=resize, batch_size=256))
