"""ViT-B/16, 400 epochs of ImageNet: the released recipe.

Paper: Table 2, row "ViT-B/16, DINO". Values: the released run's arguments.
Hardware: 4 x 8 V100, 32 images each.
Command: python -m dino_jax.main --config=configs/vit_b16.py --workdir=runs/vit_b16
    [--config.data.train=folder:imagenet/train --config.data.val=folder:imagenet/val]
Expected: k-NN 76.1 %, linear 78.2 % (published; k-NN 75.1 % after 300 epochs; not yet run here).
"""

from dino_jax.config import Config


def get_config() -> Config:
    """Differences from the defaults of main_dino.py."""
    config = Config(batch_size=1024, epochs=400, precision="float32")
    config.model.arch = "vit_base"
    config.crops.global_scale = (0.25, 1.0)
    config.crops.local_scale = (0.05, 0.25)
    config.crops.local_number = 10
    config.optim.learning_rate = 0.00075
    config.optim.min_learning_rate = 2e-6
    config.optim.clip = 0.3
    config.optim.freeze_last_layer_epochs = 3
    config.teacher.temperature = 0.07
    config.teacher.warmup_temperature_epochs = 50
    config.data.train = "tfds:imagenet2012:train"
    config.data.val = "tfds:imagenet2012:validation"
    return config
