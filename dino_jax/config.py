"""The typed configuration tree: the only place that knows defaults.

Defaults are those of the released code (facebookresearch/dino, main_dino.py); the recipes under
`configs/` name what the released runs changed. Fields left `None` are resolved by the library.
"""

import dataclasses


class UserError(ValueError):
    """A mistake of the user's: one line that says what was wrong and what to do instead."""


@dataclasses.dataclass
class ModelConfig:
    """The backbone. `width`, `depth` and `heads` override what `arch` names."""

    arch: str = "vit_small"
    patch_size: int = 16
    width: int | None = None
    depth: int | None = None
    heads: int | None = None
    channels: int = 3
    drop_path: float = 0.1
    blocks: str = "auto"  # unrolled | scanned | auto: execution only, never the parameter tree


@dataclasses.dataclass
class HeadConfig:
    """The projection head (reference: `DINOHead`)."""

    prototypes: int = 65536
    hidden: int = 2048
    bottleneck: int = 256
    layers: int = 3
    norm_last_layer: bool = True
    batch_norm: bool = False


@dataclasses.dataclass
class CropsConfig:
    """Geometry of the crops: area scale, sizes in pixels, log-uniform aspect ratio."""

    global_size: int = 224
    global_scale: tuple[float, float] = (0.4, 1.0)
    local_size: int = 96
    local_scale: tuple[float, float] = (0.05, 0.4)
    local_number: int = 8
    ratio: tuple[float, float] = (0.75, 1.3333333333333333)
    flip_probability: float = 0.5


@dataclasses.dataclass
class AugmentConfig:
    """Photometric operations; triples are (first global view, second global view, local crops)."""

    where: str = "device"  # device | host
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
    """Where the images come from. `workers` 0 means threads in this process."""

    train: str = "embedded:photos"
    val: str | None = None
    workers: int = 0
    threads: int | None = None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


@dataclasses.dataclass
class OptimConfig:
    """The optimiser; `learning_rate` is per 256 images of the global batch, `min_` is not scaled."""

    name: str = "adamw"  # adamw | sgd | lars
    learning_rate: float = 0.0005
    min_learning_rate: float = 1e-6
    warmup_epochs: float = 10.0
    weight_decay: float = 0.04
    weight_decay_end: float = 0.4
    clip: float | None = 3.0  # per tensor; None or 0 disables
    freeze_last_layer_epochs: float = 1.0


@dataclasses.dataclass
class TeacherConfig:
    """The teacher's momentum and sharpening."""

    momentum: float = 0.996
    momentum_end: float = 1.0
    temperature: float = 0.04
    warmup_temperature: float = 0.04
    warmup_temperature_epochs: float = 0.0


@dataclasses.dataclass
class LossConfig:
    """Student temperature and the centre's momentum."""

    student_temperature: float = 0.1
    centre_momentum: float = 0.9


@dataclasses.dataclass
class EvalConfig:
    """What is measured while training, on held-out images."""

    resize: int | None = None  # short side before the centre crop; None: 256/224 of the global size
    knn_k: int = 20
    knn_temperature: float = 0.07
    knn_bank: int | None = 10000  # at most so many training images while training
    knn_queries: int | None = 2000
    retrieval_images: int = 500
    final_full: bool = True  # the last evaluation uses every image
    baselines: bool = False  # also chance, raw pixels, histogram, HOG, the untrained network


@dataclasses.dataclass
class Config:
    """One training run."""

    seed: int = 0
    batch_size: int = 512
    accumulate: int = 1
    epochs: float = 100.0
    steps: int | None = None
    precision: str = "auto"  # auto | float32 | bfloat16
    devices: int | None = None
    log_every: int = 10
    eval_every: int | None = None
    checkpoint_every: int | None = None
    keep_checkpoints: int = 2
    init_from: str | None = None
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    head: HeadConfig = dataclasses.field(default_factory=HeadConfig)
    crops: CropsConfig = dataclasses.field(default_factory=CropsConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    teacher: TeacherConfig = dataclasses.field(default_factory=TeacherConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)
