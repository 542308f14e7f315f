"""The evaluation protocols: what each is, what it is given, and its options."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import NamedTuple

from dino_jax.config.fields import Leaf, without_none
from dino_jax.config.protocol_options import (
    CopyDetectionOptions,
    CorrespondOptions,
    FinetuneOptions,
    JaccardOptions,
    KnnOptions,
    LinearOptions,
    LogisticOptions,
    NeighboursOptions,
    PcaOptions,
    RetrievalOptions,
    SegmentOptions,
    TsneOptions,
    VideoOptions,
)


class Protocol(NamedTuple):
    """One protocol: its options, what it is in a line, and what its images are."""

    options: type
    said: str
    data: str
    val: str = ""
    """What `--val` is; empty: it takes none."""
    crops: bool = False
    """Whether images are resized and their centres cut out, as --size and --resize say."""
    needs_val: bool = False
    needs_out: bool = False
    without_weights: str = ""
    """The option, or what the options tell, that makes weights needless."""


_LABELLED = "labelled images: folder:, tar:, tfds:, arrayrecord:"
_SEVERAL = f"{_LABELLED}; or several labels each: voc:"

PROTOCOLS: Mapping[str, Protocol] = {
    "knn": Protocol(
        KnnOptions, "weighted k-NN classification", _SEVERAL, "the queries (a part of --data)",
        crops=True,
    ),
    "linear": Protocol(
        LinearOptions, "linear classification of frozen features", _LABELLED, "held-out images",
        crops=True, needs_val=True,
    ),
    "logistic": Protocol(
        LogisticOptions, "logistic regression at 1, 10, 100 % of labels", _SEVERAL,
        "held-out images", crops=True, needs_val=True,
    ),
    "finetune": Protocol(
        FinetuneOptions, "training of the whole network on labels", _LABELLED, "held-out images",
        crops=True, needs_val=True, needs_out=True,
    ),
    "segment": Protocol(
        SegmentOptions, "segmentation by patch tokens", "a folder laid out as CamVid or VOC"
    ),
    "retrieval": Protocol(
        RetrievalOptions, "landmark retrieval", "a folder with jpg/ and gnd_*.pkl or .json"
    ),
    "copy-detection": Protocol(
        CopyDetectionOptions, "copy detection", "a folder laid out as Copydays"
    ),
    "video": Protocol(
        VideoOptions, "propagation of masks through video", "a folder laid out as DAVIS-2017",
        without_weights="without_network",
    ),
    "jaccard": Protocol(
        JaccardOptions, "overlap of attention with objects", "a folder laid out as VOC"
    ),
    "tsne": Protocol(
        TsneOptions, "a map of classes or images", "images", crops=True, needs_out=True
    ),
    "correspond": Protocol(
        CorrespondOptions, "matching patches of two images", "an image file",
        "the other image file", needs_val=True, needs_out=True,
    ),
    "pca": Protocol(
        PcaOptions, "patch features as colours", "images, or one image file", needs_out=True
    ),
    "neighbours": Protocol(
        NeighboursOptions, "the nearest images of images",
        "the images among which they are looked for",
        "the queries: images, or one image file (those of --data, each without itself)",
        crops=True, needs_out=True,
    ),
}  # fmt: skip


def options_of(kind: type) -> dict[str, Leaf]:
    """The options of a protocol by name, with their types and defaults."""
    found = {}
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        wanted, optional = without_none(hints[field.name])
        found[field.name] = Leaf(field.name, wanted, optional, field.default)
    return found
