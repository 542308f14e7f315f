"""Imagenette, ten classes of ImageNet (9,469 images): a first run on one GPU.

Paper: no row.
Hardware: one GPU.
Command: python -m dino_jax.main --config=configs/imagenette.py --workdir=runs/imagenette
    [--config.data.train=folder:imagenette2/train --config.data.val=folder:imagenette2/val]
Expected: not yet measured.
"""

from dino_jax.config import Config


def get_config() -> Config:
    """A small image, few prototypes, the temperature and momentum of small data."""
    config = Config(batch_size=256, epochs=200)
    config.head.prototypes = 4096
    config.crops.global_size, config.crops.local_size = 128, 64
    config.crops.global_scale = (0.25, 1.0)
    config.crops.local_scale = (0.05, 0.25)
    config.crops.local_number = 6
    config.teacher.momentum = 0.99
    config.teacher.warmup_temperature, config.teacher.temperature = 0.02, 0.04
    config.teacher.warmup_temperature_epochs = 30
    config.data.train = "tfds:imagenette/320px-v2:train"
    config.data.val = "tfds:imagenette/320px-v2:validation"
    return config
