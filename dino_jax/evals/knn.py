"""Weighted k-NN on a held-out set, for the training loop and for a trained network."""

import functools
from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Int

from dino_jax.config import EvalConfig
from dino_jax.data.evaluation import EvalBatch, eval_batches
from dino_jax.data.source import Source
from dino_jax.evals.classes import matched
from dino_jax.evals.descriptors import Descriptor
from dino_jax.evals.features import Extractor
from dino_jax.evals.images import HeldOut, split
from dino_jax.evals.table import best
from dino_jax.ops import neighbours, scores
from dino_jax.types import Params

Pair = tuple[HeldOut, HeldOut]


class KnnEvaluator:
    """Top-1 and top-5 of the weighted k-NN vote of a bank over queries (reference, 1.10).

    `knn_top1` and `knn_top5` are percentages. Features are those of the CLS token after the final
    norm, scaled to length one; bank and queries are resized and cut, never augmented.
    """

    columns = {"knn_top1": "k-NN top-1", "knn_top5": "k-NN top-5"}  # noqa: RUF012

    def __init__(
        self,
        extractor: Extractor,
        bank: Source,
        queries: Source,
        *,
        size: int,
        config: EvalConfig,
    ) -> None:
        """Evaluate at `size` pixels; raises UserError where `matched` does, but for one class."""
        self._extractor, self._config = extractor, config
        self.labelled = matched(bank, queries, fewest=1)

        def opened(source: Source, wanted: Int[np.ndarray, " n"]) -> HeldOut:
            return HeldOut(_opener(source, wanted, size, config.resize, extractor.batch_size))

        some = split(bank, queries, bank_size=config.knn_bank, query_size=config.knn_queries)
        every = split(bank, queries, bank_size=None, query_size=None)
        self._some: Pair = (opened(bank, some[0]), opened(queries, some[1]))
        self._every: Pair = (opened(bank, every[0]), opened(queries, every[1]))
        if [len(part) for part in some] == [len(part) for part in every]:
            self._every = self._some

    def note(self) -> str:
        """Which images are bank and queries in the final evaluation, and classes of one alone."""
        bank, queries = self._every if self._config.final_full else self._some
        said = (
            f"k-NN: weighted {self._config.knn_k}-NN of {len(queries.index)} held-out images among "
            f"{len(bank.index)} training images."
        )
        return " ".join((said, *self.labelled.notes))

    def __call__(self, params: Params, *, final: bool) -> dict[str, float]:
        """Score one network; the final evaluation uses every image if the config says so."""
        return self._scored(lambda images: self._extractor(params, images), final=final)

    def of_network(self, params: Params) -> dict[str, float]:
        """Score a network as the final evaluation does."""
        return self(params, final=True)

    def of_descriptor(self, descriptor: Descriptor) -> dict[str, float]:
        """Score a description without weights on the same split: its best variant."""
        return best(
            self._scored(functools.partial(_described, describe), final=True)
            for describe in descriptor.variants
        )

    def chance(self) -> dict[str, float]:
        """What guessing scores."""
        classes = len(np.unique(self.labelled.val_labels))
        return {"knn_top1": 100 / classes, "knn_top5": min(100.0, 500 / classes)}

    def _scored(self, extract: Callable[[HeldOut], np.ndarray], *, final: bool) -> dict[str, float]:
        bank, queries = self._every if final and self._config.final_full else self._some
        features = extract(bank), extract(queries)
        votes = neighbours.knn_votes(
            features[1],
            features[0],
            self.labelled.train_labels[bank.index],
            k=(self._config.knn_k,),
            temperature=self._config.knn_temperature,
            classes=len(self.labelled.classes),
        )[self._config.knn_k]
        hits = scores.hits(votes, self.labelled.val_labels[queries.index], few=True)
        return {f"knn_{name}": float(np.mean(100.0 * each)) for name, each in hits.items()}


def _described(describe: Callable[[np.ndarray], np.ndarray], images: HeldOut) -> np.ndarray:
    return np.concatenate([describe(batch["images"]) for batch in images])


def _opener(
    source: Source, wanted: np.ndarray, size: int, resize: int | None, batch_size: int
) -> Callable[[], Iterable[EvalBatch]]:
    return lambda: eval_batches(source, wanted, size=size, resize=resize, batch_size=batch_size)
