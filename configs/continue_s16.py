"""ViT-S/16, the published weights trained further on your own images.

Paper: no row.
Hardware: one GPU of 24 GB (not yet run there).
Command: python -m dino_jax.main --config=configs/continue_s16.py --workdir=runs/continued
    --config.data.train=folder:PATH [--config.init_from=SPEC]
    [--config.init_from=dino_vits16 --config.init_head=false
     --config.optim.freeze_last_layer_epochs=1: the backbone alone, under a new head]
Expected: k-NN on your images not below that of the start: the first evaluation is the start's.
    Measured with these changes on a small network (docs/results.md).
"""

from dino_jax.config import Config


def get_config() -> Config:
    """What keeps features: no phase of the schedule begins anew.

    A tenth of the learning rate, and the temperature, weight decay and crops that the weights
    were trained with in the end; a slow teacher; head and centre taken over.
    """
    config = Config(batch_size=64, epochs=10)
    config.init_from = "dino_vits16:full"
    config.head.norm_last_layer = False
    config.crops.global_scale = (0.25, 1.0)
    config.crops.local_scale = (0.05, 0.25)
    config.crops.local_number = 10
    config.optim.learning_rate = 5e-5
    config.optim.warmup_epochs = 1
    config.optim.weight_decay = config.optim.weight_decay_end = 0.4
    config.optim.freeze_last_layer_epochs = 0
    config.teacher.momentum = 0.9995
    config.teacher.temperature = config.teacher.warmup_temperature = 0.07
    config.data.train = "folder:images"
    return config
