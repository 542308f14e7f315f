"""Two figures of progress that need no labels: view retrieval and effective rank.

Neither proves that features are useful, and neither detects a collapse: an untrained network has
a fair effective rank, and retrieval falls late. They say whether training moves.
"""

from jax.sharding import Mesh

from dino_jax.data.evaluation import eval_batches
from dino_jax.data.source import Source
from dino_jax.evals.features import Extractor, FeatureFunction
from dino_jax.evals.images import HeldOut
from dino_jax.evals.retrieval import ViewRetrieval, Views, chosen
from dino_jax.ops import scores
from dino_jax.types import Params

_BATCH = 256


class ProgressEvaluator:
    """`view_retrieval_top1` (percent), `effective_rank` and `effective_rank_centred`.

    The ranks (RankMe) are those of the features of the same held-out images without augmentation;
    they lie between 1 and the smaller of the number of images and the width.
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
        """`plain` gives the images without augmentation, which `extractor` reads.

        Half its batch of pairs is read at once.
        """
        pairs = -(-extractor.batch_size // 2)
        self._retrieval = ViewRetrieval(features, views, batch_size=pairs, mesh=mesh)
        self._plain, self._extractor = plain, extractor

    def __call__(self, params: Params, *, final: bool) -> dict[str, float]:
        """Score one network; the images are the same in every evaluation, the final one too."""
        del final
        features = self._extractor(params, self._plain)
        return self._retrieval.of_network(params) | {
            "effective_rank": scores.effective_rank(features),
            "effective_rank_centred": scores.effective_rank(features, centred=True),
        }


def plain_images(source: Source, *, number: int, size: int, resize: int | None) -> HeldOut:
    """The images whose views are retrieved, resized and cut but not augmented."""
    wanted = chosen(source, number)
    return HeldOut(
        lambda: eval_batches(source, wanted, size=size, resize=resize, batch_size=_BATCH)
    )
