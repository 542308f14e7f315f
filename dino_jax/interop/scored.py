"""The scores of a card: whose each is, of what images, and what it means."""

from collections.abc import Iterator, Mapping
from typing import Any

from dino_jax.config import Config, from_dict

TRAINED = {"": "teacher", "student_": "student"}
OTHERS = {
    "start_": "the network that it began from",
    "untrained_": "the untrained network",
    "pixels_": "raw pixels",
    "equalised_histogram_": "grey histogram, equalised",
    "stretched_histogram_": "grey histogram, stretched",
    "colour_histogram_": "colour histogram",
    "hog_": "HOG",
    "chance_": "chance",
}
"""Prefixes of the names in a run's `summary.json`, in the order of a card's rows."""

KNN = (
    "k-NN: the class of an image by the weighted vote of its {k} nearest training images, by "
    "cosine of the class features; top-5: it is among the five of most weight."
)
SCENE = (
    "Scenes, textures and grey photographs: which photograph a crop is from, by the weighted vote "
    "of its 20 nearest, by kinds of photograph."
)
LINEAR = "Linear: a linear classifier on the frozen features."
VIEWS = (
    "View retrieval: the nearest of all views is the other view of the same image, under the "
    "augmentation of training; it says how far the network was trained to that, not how good its "
    "features are for anything else."
)
MEASURES = {
    "knn_top1": ("k-NN top-1", KNN),
    "knn_top5": ("k-NN top-5", KNN),
    "scene_top1": ("scenes", SCENE),
    "scene_textures_top1": ("textures", SCENE),
    "scene_grey_top1": ("grey photographs", SCENE),
    "linear_top1": ("linear top-1", LINEAR),
    "top1": ("top-1", "Top-1 of its own classifier."),
    "view_retrieval_top1": ("view retrieval", VIEWS),
}
"""Title of each column and what it means."""
VIEW_RETRIEVAL = "view_retrieval_top1"
_FULL = 99.95

Scores = dict[str, dict[str, float]]
"""Percent by prefix, then by measure."""


def score_lines(facts: Mapping[str, Any], network: str) -> Iterator[str]:
    """The section's Markdown; the row of `network`, the student or the teacher, is the first."""
    scores = _parted(facts.get("scores"))
    measures = _telling(scores)
    if not measures:
        yield "Not known."
        return
    made_by = facts.get("config")
    config = from_dict(made_by) if isinstance(made_by, Mapping) else None
    yield _of_what(facts, config)
    own = next(prefix for prefix, name in TRAINED.items() if name == network)
    if not scores.get(own):
        yield f"None of this network, the {network}, is known."
    titles = {own: f"**this network, the {network}**"}
    titles |= {prefix: f"the {name} of the same run" for prefix, name in TRAINED.items()} | titles
    yield "\n| | " + " | ".join(_measure(name, config)[0] for name in measures) + " |"
    yield "|---|" + "---:|" * len(measures)
    for prefix, title in (titles | OTHERS).items():
        row = scores.get(prefix, {})
        if any(name in row for name in measures):
            cells = (_shown(row.get(name), published="address" in facts) for name in measures)
            yield f"| {title} | " + " | ".join(cells) + " |"
    yield ""
    for said in dict.fromkeys(_measure(name, config)[1] for name in measures):
        if said:
            yield f"- {said}"


def _parted(found: Any) -> Scores:
    """Each score by whose it is and what it measures."""
    scores: Scores = {}
    for name, value in found.items() if isinstance(found, Mapping) else ():
        prefix = next((p for p in (*TRAINED, *OTHERS) if p and name.startswith(p)), "")
        if isinstance(value, int | float):
            scores.setdefault(prefix, {})[name.removeprefix(prefix)] = float(value)
    return scores


def _telling(scores: Scores) -> list[str]:
    """The measures that say something, in the order of columns.

    View retrieval, and a top-5 of few classes, that all networks master says nothing. Beside
    another measure view retrieval says something only where others are there to compare it with.
    """
    found = dict.fromkeys(name for row in scores.values() for name in row)
    ordered = [name for name in MEASURES if name in found]
    ordered += [name for name in found if name not in MEASURES]
    told = []
    for name in ordered:
        values = [row[name] for prefix, row in scores.items() if name in row and prefix in TRAINED]
        easy = name == VIEW_RETRIEVAL or name.endswith("_top5")
        mastered = easy and bool(values) and min(values) >= _FULL
        compared = any(name in row for prefix, row in scores.items() if prefix in OTHERS)
        alone = name == VIEW_RETRIEVAL and len(ordered) > 1 and not compared
        if not mastered and not alone:
            told.append(name)
    return told


def _shown(value: float | None, *, published: bool) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if published else f"{value:.1f}"


def _measure(name: str, config: Config | None) -> tuple[str, str]:
    title, said = MEASURES.get(name, (name, ""))
    return title, said.format(k=config.eval.knn_k if config else 20)


def _of_what(facts: Mapping[str, Any], config: Config | None) -> str:
    if "address" in facts:
        return (
            "In percent of ImageNet-1k's validation images, as the publisher says; they were not "
            "measured here."
        )
    if config is None:
        return "In percent."
    data = config.data
    held_out = f"the held-out images of `{data.val}`"
    if not data.val:
        held_out = f"images held out of `{data.train}`"
    return f"In percent of {held_out}, when the run ended."
