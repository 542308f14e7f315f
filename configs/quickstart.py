"""Five minutes on two CPU cores, on photographs that come with two Python packages.

Paper: no row.
Hardware: two CPU cores, no network.
Command: make quickstart
Expected: four minutes on two cores of an AMD EPYC. Held-out crops, three seeds (docs/results.md):
    view retrieval 4.9-5.1 % untrained, 8.5-8.9 % teacher (HOG 20.3 %); scene identity 22.5-25.3 %
    untrained, 33.1-35.6 % teacher (HOG 41.9 %).
"""

from dino_jax.config import Config


def get_config() -> Config:
    """A very small model on 32-pixel views."""
    config = Config(batch_size=32, steps=1200, epochs=100, eval_every=400)
    config.model.arch = "vit_tiny"
    config.model.width, config.model.depth, config.model.heads = 128, 4, 4
    config.model.patch_size = 8
    config.model.drop_path = 0.0
    config.head.hidden, config.head.prototypes = 512, 256
    config.crops.global_size, config.crops.local_size = 32, 16
    config.crops.global_scale = (0.25, 1.0)
    config.crops.local_scale = (0.05, 0.25)
    config.crops.local_number = 4
    config.optim.learning_rate = 0.003
    # In so short a run a teacher whose momentum goes to 1 would stay behind.
    config.teacher.momentum, config.teacher.momentum_end = 0.98, 0.99
    config.data.train = "embedded:photos:train"
    config.data.val = "embedded:photos:val"
    config.eval.baselines = True
    return config
