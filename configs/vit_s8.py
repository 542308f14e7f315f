"""ViT-S/8, 800 epochs of ImageNet: the released recipe.

Paper: Table 2, row "ViT-S/8, DINO". Values: batch and precision from the authors; the others are
taken to be those of ViT-S/16 (unconfirmed: no copy of the run's arguments is known).
Hardware: 64 V100 of 32 GB, 16 images each.
Command: python -m dino_jax.main --config=configs/vit_s8.py --workdir=runs/vit_s8
    [--config.data.train=folder:imagenet/train --config.data.val=folder:imagenet/val]
Expected: k-NN 78.3 %, linear 79.7 % (published; not yet run here).
"""

from dino_jax.config import Config


def get_config() -> Config:
    """Differences from the defaults of main_dino.py."""
    config = Config(batch_size=1024, epochs=800, precision="float32")
    config.model.patch_size = 8
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
