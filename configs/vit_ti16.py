"""ViT-Ti/16, 100 epochs of ImageNet: the smallest model the original names.

Paper: no row; the vanilla run's values with the tiny backbone (5.5 million parameters).
Hardware: 8 GPUs, 64 images each; less memory and time than ViT-S/16.
Command: python -m dino_jax.main --config=configs/vit_ti16.py --workdir=runs/vit_ti16
    [--config.data.train=folder:imagenet/train --config.data.val=folder:imagenet/val]
Expected: not published, not yet run here.
"""

from dino_jax.config import Config


def get_config() -> Config:
    """Differences from the defaults of main_dino.py."""
    config = Config(batch_size=512, epochs=100)
    config.model.arch = "vit_tiny"
    config.data.train = "tfds:imagenet2012:train"
    config.data.val = "tfds:imagenet2012:validation"
    return config
