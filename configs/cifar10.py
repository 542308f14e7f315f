"""CIFAR-10 at 32 pixels on two CPU cores, within the hour.

Paper: no row.
Hardware: two CPU cores.
Command: python -m dino_jax.main --config=configs/cifar10.py --workdir=runs/cifar10
    [--config.data.train=tar:cifar10_train.tar.gz --config.data.val=tar:cifar10_test.tar.gz]
Expected: 41 minutes on two cores of an AMD EPYC. 20-NN, 8,000 test images among 40,000 training
    images (docs/results.md): 29.1 % untrained, 48.0 % teacher, 46.6 % raw pixels at their best.
"""

from dino_jax.config import Config


def get_config() -> Config:
    """A small model, few prototypes, a short warm-up, no blur."""
    config = Config(batch_size=64, steps=9000, epochs=10, eval_every=1500)
    config.model.arch = "vit_tiny"
    config.model.width, config.model.depth, config.model.heads = 128, 4, 4
    config.model.patch_size = 8
    config.model.drop_path = 0.0
    config.head.hidden, config.head.prototypes = 512, 512
    config.crops.global_size, config.crops.local_size = 32, 16
    config.crops.global_scale = (0.4, 1.0)
    config.crops.local_scale = (0.1, 0.4)
    config.crops.local_number = 4
    config.augment.blur_probability = (0.0, 0.0, 0.0)
    config.optim.learning_rate = 0.003
    config.optim.warmup_epochs = 0.8
    config.optim.freeze_last_layer_epochs = 0.17
    # In so short a run a teacher whose momentum goes to 1 would stay behind.
    config.teacher.momentum, config.teacher.momentum_end = 0.98, 0.99
    config.data.train = "tfds:cifar10:train"
    config.data.val = "tfds:cifar10:test"
    config.eval.resize = 32
    config.eval.baselines = True
    return config
