"""The flags of the original's main_dino.py and the fields that stand for them.

Serves the hint given for a field that does not exist; `docs/from_the_original.md` says the rest.
"""

ORIGINAL_FLAGS: dict[str, str | None] = {
    "arch": "model.arch",
    "patch_size": "model.patch_size",
    "out_dim": "head.prototypes",
    "norm_last_layer": "head.norm_last_layer",
    "momentum_teacher": "teacher.momentum",
    "use_bn_in_head": "head.batch_norm",
    "warmup_teacher_temp": "teacher.warmup_temperature",
    "teacher_temp": "teacher.temperature",
    "warmup_teacher_temp_epochs": "teacher.warmup_temperature_epochs",
    "use_fp16": "precision",
    "weight_decay": "optim.weight_decay",
    "weight_decay_end": "optim.weight_decay_end",
    "clip_grad": "optim.clip",
    "batch_size_per_gpu": "batch_size",
    "epochs": "epochs",
    "freeze_last_layer": "optim.freeze_last_layer_epochs",
    "lr": "optim.learning_rate",
    "warmup_epochs": "optim.warmup_epochs",
    "min_lr": "optim.min_learning_rate",
    "optimizer": "optim.name",
    "drop_path_rate": "model.drop_path",
    "global_crops_scale": "crops.global_scale",
    "local_crops_number": "crops.local_number",
    "local_crops_scale": "crops.local_scale",
    "data_path": "data.train",
    "output_dir": None,  # --workdir
    "saveckp_freq": "checkpoint_every",
    "seed": "seed",
    "num_workers": "data.workers",
    "dist_url": None,  # a run is one process
    "local_rank": None,
}
"""Every flag; `None` where there is no field for it."""
