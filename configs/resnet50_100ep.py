"""ResNet-50, 100 epochs of ImageNet on eight GPUs, by the command in the original's README.

Paper: no row. Values: facebookresearch/dino, README.md:207; what it does not give is the default.
Hardware: 8 GPUs, 64 images each.
Command: python -m dino_jax.main --config=configs/resnet50_100ep.py --workdir=runs/resnet50_100ep
    [--config.data.train=folder:imagenet/train --config.data.val=folder:imagenet/val]
Expected: no score is published. Mean loss of the first epochs in a log that a user of the original
    posted: 11.02, 10.48, 9.88, 9.06, 8.46, 7.88, 7.28 (second-hand; not yet run here).
"""

from dino_jax.config import Config


def get_config() -> Config:
    """Differences from the defaults of main_dino.py."""
    config = Config(batch_size=512, epochs=100)
    config.model.arch = "resnet50"
    config.crops.global_scale = (0.14, 1.0)
    config.crops.local_scale = (0.05, 0.14)
    config.optim.name = "sgd"
    config.optim.learning_rate = 0.03
    config.optim.weight_decay, config.optim.weight_decay_end = 1e-4, 1e-4
    config.data.train = "tfds:imagenet2012:train"
    config.data.val = "tfds:imagenet2012:validation"
    return config
