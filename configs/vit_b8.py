"""ViT-B/8, 300 epochs of ImageNet: the released recipe.

Paper: Table 2, row "ViT-B/8, DINO". Values: one copy of the released run's arguments.
Hardware: 176 V100, 6 images each.
Command: python -m dino_jax.main --config=configs/vit_b8.py --workdir=runs/vit_b8
    [--config.data.train=folder:imagenet/train --config.data.val=folder:imagenet/val]
    (1056 images do not share among 64 devices: there --config.batch_size=1024)
Expected: k-NN 77.4 %, linear 80.1 % (published; not yet run here).
"""

from dino_jax.config import Config


def get_config() -> Config:
    """Differences from the defaults of main_dino.py."""
    config = Config(batch_size=1056, epochs=300, precision="float32")
    config.model.arch = "vit_base"
    config.model.patch_size = 8
    config.crops.global_scale = (0.25, 1.0)
    config.crops.local_scale = (0.05, 0.25)
    config.crops.local_number = 10
    config.optim.min_learning_rate = 2e-6
    config.optim.freeze_last_layer_epochs = 3
    config.teacher.temperature = 0.07
    config.teacher.warmup_temperature = 0.03
    config.teacher.warmup_temperature_epochs = 50
    config.data.train = "tfds:imagenet2012:train"
    config.data.val = "tfds:imagenet2012:validation"
    return config
