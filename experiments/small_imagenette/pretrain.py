"""Two thousand images of ten classes, at 96 pixels, on two CPU cores.

Paper: no row.
Hardware: two CPU cores.
Command: python -m dino_jax.main --config=experiments/small_imagenette/pretrain.py
    --workdir=runs/imagenette --config.data.train=folder:imagenette224/train
    --config.data.val=folder:imagenette224/val
Expected: README.md beside this file.
"""

from dino_jax.config import Config


def get_config() -> Config:
    """A small model, few prototypes, many small steps."""
    config = Config(batch_size=32, steps=7000, epochs=100, eval_every=1400)
    config.model.arch = "vit_tiny"
    config.model.width, config.model.depth, config.model.heads = 128, 6, 4
    config.model.patch_size = 16
    config.model.drop_path = 0.0
    config.head.hidden, config.head.prototypes = 512, 512
    config.crops.global_size, config.crops.local_size = 96, 48
    config.crops.global_scale = (0.3, 1.0)
    config.crops.local_scale = (0.08, 0.3)
    config.crops.local_number = 4
    config.optim.learning_rate = 0.003
    # In so short a run a teacher whose momentum goes to 1 would stay behind.
    config.teacher.momentum, config.teacher.momentum_end = 0.98, 0.99
    config.data.train = "folder:imagenette224/train"
    config.data.val = "folder:imagenette224/val"
    config.eval.baselines = True
    return config
