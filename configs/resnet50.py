"""ResNet-50, 800 epochs of ImageNet: the released recipe.

Paper: Table 2, row "RN50, DINO". Values: those of a copy of the released run's arguments, which
its authors no longer serve; the batch is confirmed by them. Second-hand therefore, and
freeze_last_layer and momentum are the defaults because nothing says otherwise.
Hardware: 80 GPUs, 51 images each.
Command: python -m dino_jax.main --config=configs/resnet50.py --workdir=runs/resnet50
    [--config.data.train=folder:imagenet/train --config.data.val=folder:imagenet/val]
Expected: k-NN 67.5 %, linear 75.3 % (published; not yet run here).
"""

from dino_jax.config import Config


def get_config() -> Config:
    """Differences from the defaults of main_dino.py."""
    config = Config(batch_size=4080, epochs=800, precision="float32")
    config.model.arch = "resnet50"
    config.head.prototypes = 60000
    config.head.batch_norm = True
    config.crops.global_scale = (0.14, 1.0)
    config.crops.local_scale = (0.05, 0.14)
    config.crops.local_number = 6
    config.optim.name = "lars"
    config.optim.learning_rate = 0.2
    config.optim.min_learning_rate = 0.0048
    config.optim.weight_decay, config.optim.weight_decay_end = 1e-4, 1e-6
    config.optim.clip = 0.0
    config.teacher.temperature = 0.07
    config.teacher.warmup_temperature_epochs = 50
    config.data.train = "tfds:imagenet2012:train"
    config.data.val = "tfds:imagenet2012:validation"
    return config
