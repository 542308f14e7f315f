"""Your own images: what is left `AUTO` is picked from their number and size, and the log says why.

Paper: no row. The prototypes, temperatures, momentum and warm-ups by the size of the data set are
lightly-train's published defaults; image size, patch, model, batch and epochs are ours.
Hardware: any; on a CPU the model and the images are small.
Command: python -m dino_jax.main --config=configs/auto.py --workdir=runs/mine
    --config.data.train=folder:PHOTOS
Expected: depends on the images.
"""

from dino_jax.config import AUTO, Config


def get_config() -> Config:
    """Everything that depends on the images is left to be picked; an override wins."""
    config = Config(batch_size=AUTO, epochs=AUTO)
    config.model.arch = AUTO
    config.model.patch_size = AUTO
    config.head.prototypes = AUTO
    config.crops.global_size = AUTO
    config.crops.local_size = AUTO
    config.crops.global_scale = (0.25, 1.0)
    config.crops.local_scale = (0.05, 0.25)
    config.optim.warmup_epochs = AUTO
    config.optim.freeze_last_layer_epochs = AUTO
    config.teacher.momentum = AUTO
    config.teacher.temperature = AUTO
    config.teacher.warmup_temperature = AUTO
    config.teacher.warmup_temperature_epochs = AUTO
    return config
