"""ViT-S/16, 800 epochs of ImageNet: the released recipe.

Paper: Table 2, row "ViT-S, DINO". Values: the released run's arguments (three copies agree).
Hardware: 2 x 8 V100 of 16 GB, 64 images each.
Command: python -m dino_jax.main --config=configs/vit_s16.py --workdir=runs/vit_s16
    [--config.data.train=folder:imagenet/train --config.data.val=folder:imagenet/val]
Expected: k-NN 74.5 %, linear 77.0 % (published; not yet run here).
"""

from dino_jax.config import Config


def get_config() -> Config:
    """Differences from the defaults of main_dino.py."""
    config = Config(batch_size=1024, epochs=800, precision="float32")
    config.head.norm_last_layer = False
    config.crops.global_scale = (0.25, 1.0)
    config.crops.local_scale = (0.05, 0.25)
    config.crops.local_number = 10
    config.optim.min_learning_rate = 1e-5
    config.optim.clip = 0.0
    config.teacher.temperature = 0.07
    config.teacher.warmup_temperature_epochs = 30
    config.data.train = "tfds:imagenet2012:train"
    config.data.val = "tfds:imagenet2012:validation"
    return config
