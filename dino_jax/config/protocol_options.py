"""The options of the evaluation protocols, with the reference's defaults.

The fields are the flags of `python -m dino_jax.evaluate PROTOCOL`, with `-` for `_`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any


def option(default: Any, said: str, *, choices: Sequence[str] = ()) -> Any:
    """A field with what `--help` says of it, and the words it may be where it is one of some."""
    return dataclasses.field(default=default, metadata={"said": said, "choices": tuple(choices)})


@dataclasses.dataclass(frozen=True)
class KnnOptions:
    """Weighted nearest neighbours (eval_knn.py)."""

    k: tuple[int, ...] = option((10, 20, 100, 200), "neighbours that vote")
    temperature: float = option(0.07, "of the votes' weights")
    precision_form: str = option(
        "eleven",
        "average precision of several labels: VOC 2007's eleven points, the area of later VOCs, "
        "or scikit-learn's steps",
        choices=("eleven", "area", "step"),
    )


@dataclasses.dataclass(frozen=True)
class LinearOptions:
    """A linear classifier on frozen features (eval_linear.py)."""

    protocol: str = option(
        "grid",
        "train every --lrs at once and choose on a held-out part of --data; or the reference's: "
        "one --lr, and the best epoch on --val",
        choices=("grid", "reference"),
    )
    lr: float = option(0.001, "of --protocol=reference, for a batch of 256")
    lrs: tuple[float, ...] = option(
        (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0), "learning rates, for a batch of 256"
    )
    epochs: int = option(100, "over the training images")
    train_batch: int = option(1024, "images to a step, over all devices")
    augment: bool = option(
        True, "a random crop and flip of each image in each epoch; false: features taken once"
    )
    held_out: float = option(0.1, "share of --data that chooses the learning rate (10,000 at most)")
    n_last_blocks: int | None = option(
        None, "class tokens of so many last blocks, joined (default: 4; vit_base 1)"
    )
    avgpool: bool | None = option(
        None, "the mean patch token beside the class token (default: vit_base)"
    )
    head: str = option(
        "trained", "or the linear head released with the weights", choices=("trained", "released")
    )


@dataclasses.dataclass(frozen=True)
class LogisticOptions:
    """Logistic regression on frozen features (paper, tables 10 and 12)."""

    labels: tuple[float, ...] = option((1.0, 10.0, 100.0), "percent of the labels, class by class")
    subset: str | None = option(
        None, "a file that lists the labelled images, a name a line, in place of --labels"
    )
    l2: float | None = option(None, "weight of the penalty (default: chosen from --l2s)")
    l2s: tuple[float, ...] = option(
        (0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7), "penalties tried on a held-out part of --data"
    )
    held_out: float = option(0.2, "share of the labelled images that chooses the penalty")
    normalise: bool = option(True, "scale features to length one")
    iterations: int = option(1000, "of L-BFGS, at most")
    precision_form: str = option(
        "eleven",
        "average precision of several labels: VOC 2007's eleven points, the area of later VOCs, "
        "or scikit-learn's steps",
        choices=("eleven", "area", "step"),
    )


@dataclasses.dataclass(frozen=True)
class FinetuneOptions:
    """Training the whole network on labels (paper, table 6); None: as the recipe says."""

    recipe: str = option(
        "imagenet", "what the options below are set to",
        choices=("imagenet", "cifar10", "cifar100", "inat", "flowers", "cars", "small"),
    )  # fmt: skip
    epochs: float | None = option(None, "passes over as many images as there are")
    batch_size: int | None = option(None, "images to a step, over all devices")
    optimiser: str | None = option(None, "adamw, sgd or lars")
    learning_rate: float | None = option(None, "the highest, of --rate-of images to a step")
    rate_of: int | None = option(None, "the rate grows in proportion to the batch, from this one")
    warmup_epochs: float | None = option(None, "in which the rate rises to its highest")
    warmup_rate: float | None = option(None, "of the first step")
    final_rate: float | None = option(None, "at the end of the cosine")
    weight_decay: float | None = option(None, "not of biases, norms, positions and class token")
    clip: float | None = option(None, "the most that the whole gradient's norm may be; 0: any")
    layer_decay: float | None = option(None, "factor of the rate, a layer further down; 1: none")
    drop_path: float | None = option(None, "rate of the last block")
    head_scale: float | None = option(None, "factor of the classifier's first weights")
    smoothing: float | None = option(None, "of the labels")
    mixup: float | None = option(None, "parameter of the beta distribution; 0: none")
    cutmix: float | None = option(None, "the same, of cut images")
    mix_probability: float | None = option(None, "that a group is mixed or cut at all")
    switch: float | None = option(None, "probability of a cut, where there are both")
    mix_group: int | None = option(None, "images that are mixed by one draw; 0: the whole batch")
    randaugment: str | None = option(None, "rand-m9-mstd0.5-inc1, say, or none")
    jitter: float | None = option(None, "of brightness, contrast, saturation; 0: none")
    least_area: float | None = option(None, "smallest share of the image that a crop may be")
    flip: float | None = option(None, "probability of a mirrored image")
    erasing: float | None = option(None, "probability that a box is erased")
    fill: str | None = option(None, "of what is erased: pixel, colour or grey")
    repeats: int | None = option(None, "copies of an image in a batch, each augmented anew")
    ema: float | None = option(None, "of a moving average of the weights, scored beside; 0: none")
    accumulate: int = option(1, "parts of a batch worked off one after another, to save memory")
    eval_every: float = option(1.0, "epochs between scores")
    log_every: int = option(10, "steps between lines of figures")
    save_every: float = option(1.0, "epochs between checkpoints")
    threads: int | None = option(None, "that read images (as many as there are cores)")


@dataclasses.dataclass(frozen=True)
class SegmentOptions:
    """Linear and nearest-neighbour probes of patch tokens."""

    size: int = option(448, "short side of the images in pixels; the aspect is kept")
    probes: tuple[str, ...] = option(("linear", "knn"), "linear, knn or both")
    train_set: str = option("train", "the images learned from: CamVid's folder, VOC's list")
    val_set: str = option("val", "the images segmented: a folder, a list, or a file of names")
    classes: int | None = option(None, "labels before void (CamVid 11, VOC 21)")
    iterations: int = option(100, "of L-BFGS, for the linear probe")
    decay: float = option(1e-4, "of the linear probe's weights")
    k: int = option(20, "neighbours that vote")
    temperature: float = option(0.07, "of the votes' weights")
    bank: int = option(65536, "training patches to look among, drawn if there are more")


@dataclasses.dataclass(frozen=True)
class RetrievalOptions:
    """Oxford and Paris, revisited (eval_image_retrieval.py)."""

    longest: int = option(224, "longest side of the images in pixels (the paper's Paris: 512)")
    multiscale: bool = option(False, "mean feature over the scales 1, 1/√2, 1/2 (Paris: true)")
    crop_queries: bool = option(False, "cut queries to their boxes, as others do; DINO does not")
    ground_truth: str | None = option(None, "which gnd file, where the folder holds several")


@dataclasses.dataclass(frozen=True)
class CopyDetectionOptions:
    """Copydays (eval_copy_detection.py)."""

    side: int = option(320, "images are stretched to squares of so many pixels a side")
    top: int = option(20, "results of a query that are looked at")
    power: float = option(4.0, "of the generalised mean of patch tokens; 0: the class token alone")
    distractors: str | None = option(None, "images added to the database (paper: 10k of YFCC100M)")
    whiten: str | None = option(None, "images to learn whitening on (paper: 20k of YFCC100M)")
    whitening: str = option(
        "reference",
        "moment that whitening is learned from: about zero as the original's, or about the mean",
        choices=("reference", "centred"),
    )
    dimensions: int | None = option(None, "of a whitened feature (default: all)")


@dataclasses.dataclass(frozen=True)
class VideoOptions:
    """DAVIS-2017, label propagation (eval_video_segmentation.py)."""

    size: int = option(480, "short side of the frames in pixels; the longer is cut to 64s")
    context: int = option(7, "frames before that labels come from, beside the first")
    neighbourhood: int = option(12, "patches up, down and aside that are looked at; 0: all")
    top_k: int = option(5, "patches that give their labels, over all frames together")
    temperature: float = option(0.1, "of the weights of these")
    propagate: str = option(
        "patches",
        "by what masks follow: patches, or nothing (the first mask is repeated)",
        choices=("patches", "first"),
    )
    sequences: tuple[str, ...] = option((), "only these of ImageSets/2017/val.txt (default: all)")
    score: str | None = option(None, "a folder of predicted masks to score, without a network")

    @property
    def without_network(self) -> bool:
        """Whether no patches are asked for."""
        return self.score is not None or self.propagate == "first"


@dataclasses.dataclass(frozen=True)
class JaccardOptions:
    """Overlap of attention with objects (paper, figure 4)."""

    size: int = option(480, "images are stretched to squares of so many pixels a side")
    mass: tuple[float, ...] = option(
        (0.6, 0.8), "share of the attention kept; the paper says .6 and .8; the first makes masks"
    )
    val_set: str = option("val", "a list of ImageSets/Segmentation, or a file of names")
    ignore_void: bool = option(False, "leave void out of the union, where the authors count it")
    masks: bool = option(False, "write masks, boxes and JSON of every image; any images will do")
    lost: str = option("keys", "what object discovery reads of a ViT", choices=("keys", "patches"))
    expansion: int = option(100, "patches that may join the seed of a discovered object")


@dataclasses.dataclass(frozen=True)
class TsneOptions:
    """A map of classes or images by PCA and t-SNE (paper, appendix)."""

    of: str = option("classes", "what a point is", choices=("classes", "images"))
    components: int = option(
        30, "principal components that t-SNE sees; 0: the features as they are"
    )
    perplexity: float = option(20.0, "about how many neighbours count; lowered for few points")
    learning_rate: float = option(200.0, "of t-SNE")
    iterations: int = option(5000, "of t-SNE, at most")
    images: int | None = option(2000, "images on a map of images, evenly over the source")
    thumbnails: int = option(0, "photographs drawn into the map")


@dataclasses.dataclass(frozen=True)
class CorrespondOptions:
    """Patches of two images that match by the cosine of their features."""

    mutual: bool = option(True, "only patches that are each other's nearest; --nomutual for all")
    top: int | None = option(None, "so many matches of the highest similarity; None: all")
    foreground: float | None = option(
        None, "only patches within this share (0 to 1) of the CLS token's attention, in both images"
    )
    size: int = option(448, "short side of both images in pixels; the aspect is kept")
    drawn: int = option(60, "matches drawn as lines")
    homography: str | None = option(
        None, "a text file of 3 x 3 numbers that take pixels of the first image to the second"
    )


@dataclasses.dataclass(frozen=True)
class PcaOptions:
    """Patch features as colours: the foreground first, then three components of it."""

    size: int = option(448, "short side of the images in pixels; the aspect is kept")
    images: int = option(12, "images shown, evenly over the source; 0: all")
    across: bool = option(
        False, "one PCA of all images together, so that like parts take like colours"
    )
    foreground: str = option(
        "attention",
        "the side of the first component that is coloured: where CLS attends more (of a network "
        "without attention: border), where fewer patches lie at the image's border, or all",
        choices=("attention", "border", "all"),
    )
    tails: float = option(1.0, "percent of the patches at either end that take the end's colour")


@dataclasses.dataclass(frozen=True)
class NeighboursOptions:
    """Query images and their nearest in a bank, by the cosine of class tokens."""

    k: int = option(8, "neighbours of a query")
    queries: tuple[str, ...] = option(
        ("8",), "queries on the sheet: so many, evenly; or names of images, or of classes"
    )
