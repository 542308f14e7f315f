"""ViT-S/16, 100 epochs of ImageNet: the vanilla run, every default of main_dino.py.

Paper: none of its rows (two global and eight local crops, constant temperature); the original's
README, "vanilla DINO training".
Hardware: 8 GPUs, 64 images each, 1.75 days.
Command: python -m dino_jax.main --config=configs/vit_s16_100ep.py --workdir=runs/vit_s16_100ep
    [--config.data.train=folder:imagenet/train --config.data.val=folder:imagenet/val]
Expected: k-NN 69.3 %, linear 74.0 % (published; another's run reached k-NN 68.4 %, with losses
2.868 and 2.759 at epochs 49 and 58; not yet run here).
"""

from dino_jax.config import Config


def get_config() -> Config:
    """The defaults, on ImageNet."""
    config = Config(batch_size=512, epochs=100)
    config.data.train = "tfds:imagenet2012:train"
    config.data.val = "tfds:imagenet2012:validation"
    return config
