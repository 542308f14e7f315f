"""A run of seconds, as a config file: `--config=tests/e2e/recipe.py`."""

from dino_jax.config import Config


def get_config() -> Config:
    """Two blocks of width 16 on 32-pixel views, with everything that draws at random."""
    config = Config(batch_size=16, epochs=6, steps=12, log_every=1, eval_every=12)
    config.devices, config.checkpoint_every = 1, 3
    config.model.arch, config.model.patch_size = "vit_tiny", 8
    config.model.width, config.model.depth, config.model.heads = 16, 2, 2
    config.head.prototypes, config.head.hidden, config.head.bottleneck = 32, 32, 16
    config.crops.global_size, config.crops.local_size, config.crops.local_number = 32, 16, 2
    config.optim.learning_rate, config.optim.warmup_epochs = 0.01, 1
    config.teacher.momentum, config.teacher.temperature = 0.9, 0.06
    config.teacher.warmup_temperature_epochs = 3
    config.eval.retrieval_images = 8
    return config
