"""The tree of fields: the only place that knows defaults.

Defaults are those of the released code (facebookresearch/dino, main_dino.py); the recipes under
`configs/` name what the released runs changed.

A field of a type `Auto…` may hold `AUTO` (`None`; on the command line `None`) until `resolve`
picks its value from the number and size of the images. An explicit value always wins.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias

AUTO: Any = None
"""Left to be picked by `resolve`."""

if TYPE_CHECKING:  # after `resolve`, which is all that most readers see, the value is there
    AutoInt: TypeAlias = int
    AutoFloat: TypeAlias = float
    AutoStr: TypeAlias = str
else:
    AutoInt = int | None
    AutoFloat = float | None
    AutoStr = str | None


class UserError(ValueError):
    """A mistake of the user's: one line that says what was wrong and what to do instead."""


@dataclasses.dataclass
class ModelConfig:
    """The backbone. `width`, `depth` and `heads` override what `arch` names."""

    arch: AutoStr = "vit_small"  # a name of config/architectures.py
    patch_size: AutoInt = 16  # pixels; a ResNet does not read it
    width: int | None = None
    depth: int | None = None
    heads: int | None = None
    channels: int = 3
    drop_path: float = 0.1  # ViT: of the last block, linear from 0; XCiT: of all; student only
    blocks: str = "auto"  # unrolled | scanned | auto: execution only, never the parameter tree
    attention: str = "auto"  # xla | cudnn | auto: execution only
    remat: str = "none"  # none | dots | blocks: what the backward pass computes again


@dataclasses.dataclass
class HeadConfig:
    """The projection head (reference: `DINOHead`)."""

    prototypes: AutoInt = 65536
    hidden: int = 2048
    bottleneck: int = 256
    layers: int = 3
    norm_last_layer: bool = True
    batch_norm: bool = False


@dataclasses.dataclass
class CropsConfig:
    """Geometry of the crops: area scale, sizes in pixels, log-uniform aspect ratio."""

    global_size: AutoInt = 224
    global_scale: tuple[float, float] = (0.4, 1.0)
    local_size: AutoInt = 96
    local_scale: tuple[float, float] = (0.05, 0.4)
    local_number: int = 8
    ratio: tuple[float, float] = (0.75, 1.3333333333333333)
    flip_probability: float = 0.5


@dataclasses.dataclass
class AugmentConfig:
    """Photometric operations; triples are (first global view, second global view, local crops)."""

    where: str = "device"  # device | host (Pillow)
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    jitter_probability: float = 0.8
    grayscale_probability: float = 0.2
    blur_probability: tuple[float, float, float] = (1.0, 0.1, 0.5)
    blur_radius: tuple[float, float] = (0.1, 2.0)
    solarize_probability: tuple[float, float, float] = (0.0, 0.2, 0.0)
    solarize_threshold: int = 128


@dataclasses.dataclass
class DataConfig:
    """Where the images come from."""

    # embedded:photos[:SPLIT] | folder:PATH | tar:PATH | tfds:NAME[:SPLIT] | arrayrecord:PATTERN
    train: str = "embedded:photos"
    val: str | None = None  # the same; None: held out of data.train
    workers: int = 0  # processes; 0: threads in this process
    threads: int | None = None  # of each process; None: as many as there are cores
    decode: str = "exact"  # exact | fast: crops from a smaller decoded image where they shrink
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)  # one a channel
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


@dataclasses.dataclass
class OptimConfig:
    """The optimiser; schedules are the reference's."""

    name: str = "adamw"  # adamw | sgd | lars
    learning_rate: float = 0.0005  # per 256 images of the global batch
    min_learning_rate: float = 1e-6  # not scaled
    warmup_epochs: AutoFloat = 10.0
    weight_decay: float = 0.04
    weight_decay_end: float = 0.4
    clip: float | None = 3.0  # norm of each tensor's gradient; None or 0 disables
    freeze_last_layer_epochs: AutoFloat = 1.0


@dataclasses.dataclass
class TeacherConfig:
    """The teacher's momentum and sharpening."""

    momentum: AutoFloat = 0.996  # at the first step
    momentum_end: float = 1.0
    temperature: AutoFloat = 0.04  # after the warm-up
    warmup_temperature: AutoFloat = 0.04  # at the first epoch
    warmup_temperature_epochs: AutoFloat = 0.0


@dataclasses.dataclass
class LossConfig:
    """Student temperature and the centre's momentum."""

    student_temperature: float = 0.1
    centre_momentum: float = 0.9
    chunk: int | None = None  # prototypes of the student's logits at a time; None: by their number


@dataclasses.dataclass
class EvalConfig:
    """What is measured while training, on held-out images."""

    resize: int | None = None  # short side before the centre crop; None: 256/224 of the global size
    knn_k: int = 20
    knn_temperature: float = 0.07
    knn_bank: int | None = 10000  # at most so many training images while training; None: all
    knn_queries: int | None = 2000  # at most so many held-out images while training; None: all
    retrieval_images: int = 500
    final_full: bool = True  # the last evaluation uses every image
    baselines: bool = False  # also chance, raw pixels, histogram, HOG, the untrained network


@dataclasses.dataclass
class Config:
    """One training run."""

    seed: int = 0
    batch_size: AutoInt = 512  # images of an optimiser step, over all devices and micro-batches
    accumulate: int = 1  # micro-batches of an optimiser step
    epochs: AutoFloat = 100.0
    steps: int | None = None  # optimiser steps in all; every field in epochs keeps its share
    precision: str = "auto"  # auto | float32 | bfloat16; auto: float32 on CPU, else bfloat16
    devices: int | None = None  # None: all
    fsdp: int | None = None  # devices that share one copy of the state; None: 1 up to 64 devices
    log_every: int = 10  # steps
    eval_every: int | None = None  # steps; None: an epoch, or a twentieth of the run if longer
    checkpoint_every: int | None = None  # steps; None: an epoch, or a hundredth if longer
    keep_checkpoints: int = 2
    report: bool = True  # report.html in the working directory, kept up to date
    init_from: str | None = None  # weights to start from: a run, a file, a name (docs/weights.md)
    init_head: bool = True  # with their head and centre
    init_optimiser: bool = False  # with their optimiser's moments
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    head: HeadConfig = dataclasses.field(default_factory=HeadConfig)
    crops: CropsConfig = dataclasses.field(default_factory=CropsConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    teacher: TeacherConfig = dataclasses.field(default_factory=TeacherConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)
