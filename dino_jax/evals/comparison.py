"""The table that ends a run: methods without weights, the untrained network, the trained ones."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from jax.sharding import Mesh

from dino_jax.config import Config
from dino_jax.data.embedded import EmbeddedSource
from dino_jax.data.source import Source
from dino_jax.evals.descriptors import DESCRIPTORS, RAW_PIXELS, Descriptor
from dino_jax.evals.features import Extractor, FeatureFunction, normaliser
from dino_jax.evals.knn import KnnEvaluator
from dino_jax.evals.retrieval import ViewRetrieval, held_out_views
from dino_jax.evals.scenes import SceneIdentity
from dino_jax.evals.table import Row, Table
from dino_jax.types import Params


@runtime_checkable
class Measure(Protocol):
    """One protocol that any method can be scored by; figures are percentages by name."""

    columns: dict[str, str]

    def note(self) -> str:
        """What a reader of the table must know of it."""

    def of_network(self, params: Params) -> dict[str, float]:
        """Score a network."""

    def of_descriptor(self, descriptor: Descriptor) -> dict[str, float]:
        """Score a method without weights."""

    def chance(self) -> dict[str, float]:
        """What guessing scores."""


NETWORKS = {
    "untrained": ("untrained network", "untrained_"),
    "start": ("network it started from", "start_"),
    "student": ("trained student", "student_"),
    "teacher": ("trained teacher", ""),
}
"""Titles of the networks' rows and the prefixes of their names: the teacher's have none."""


def _note(descriptors: Sequence[Descriptor]) -> str:
    varied = ", ".join(f"{each.title} {each.said}" for each in descriptors if each.said)
    return (
        f"Methods without weights show the best of their variants, measure by measure: {varied}. "
        "Networks: cosine of their features."
    )


def compare(
    measures: Sequence[Measure],
    descriptors: Sequence[Descriptor],
    networks: Mapping[str, Params],
    *,
    title: str,
) -> Table:
    """Score chance, every descriptor and every network (keys of `NETWORKS`) by every measure."""
    rows = [Row("chance", "chance_", _merged([each.chance() for each in measures]))]
    rows += [
        Row(each.title, each.prefix, _merged([m.of_descriptor(each) for m in measures]))
        for each in descriptors
    ]
    rows += [
        Row(*NETWORKS[name], _merged([measure.of_network(params) for measure in measures]))
        for name, params in networks.items()
    ]
    columns = {name: shown for each in measures for name, shown in each.columns.items()}
    notes = _note(descriptors), *(each.note() for each in measures)
    return Table(title, columns, tuple(rows), notes)


def baselines(
    features: FeatureFunction,
    config: Config,
    train: Source,
    held_out: Source,
    networks: Mapping[str, Params],
    *,
    mesh: Mesh | None = None,
) -> Table:
    """The comparison that suits the images: what `eval.baselines` asks for at the end of a run.

    Always view retrieval, by the crops and the augmentation of the config; on the embedded
    photographs scene identity; on other labelled images k-NN on every image, where the only
    description without weights is raw pixels. `networks` has the keys of `NETWORKS`.
    """
    normalise = normaliser(config.data.mean, config.data.std)
    extractor = Extractor(features, normalise, mesh=mesh)
    size, resize = config.crops.global_size, config.eval.resize
    views = held_out_views(held_out, config)
    measures: list[Measure] = [ViewRetrieval(features, views, mesh=mesh)]
    descriptors: Sequence[Descriptor] = DESCRIPTORS
    if isinstance(train, EmbeddedSource) and isinstance(held_out, EmbeddedSource):
        measures.append(SceneIdentity(extractor, train, held_out, size=size, resize=resize))
    elif train.labels is not None and held_out.labels is not None:
        measures.insert(0, KnnEvaluator(extractor, train, held_out, size=size, config=config.eval))
        descriptors = RAW_PIXELS
    title = f"Held-out images of {held_out.spec}: percent correct"
    return compare(measures, descriptors, networks, title=title)


def _merged(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: value for each in figures for name, value in each.items()}
