"""What the committed files of torch hold, in plain data; `data/make.py` makes torch's of it."""

from typing import Any

import ml_dtypes
import numpy as np


def checkpoint() -> dict[str, Any]:
    """The shape of the original's full checkpoint, with tiny tensors."""
    weights = {
        "backbone.cls_token": ramp((1, 1, 4)),
        "backbone.blocks.0.attn.qkv.weight": ramp((12, 4)),
        "backbone.blocks.0.attn.qkv.bias": ramp((12,)),
        "backbone.bn.num_batches_tracked": np.array(7, np.int64),
        "head.last_layer.weight_g": ramp((5, 1)),
    }
    moments = {
        index: {
            "step": np.array(3.0, np.float32),
            "exp_avg": ramp((2, 3)),
            "exp_avg_sq": ramp((2, 3)),
        }
        for index in range(2)
    }
    betas = (0.9, 0.999)
    groups = [
        {"lr": 0.0005, "betas": betas, "weight_decay": 0.04, "amsgrad": False, "params": [0, 1]},
        {"lr": 0.0005, "betas": betas, "weight_decay": 0.0, "amsgrad": False, "params": [2]},
    ]
    return {
        "student": {f"module.{key}": value for key, value in weights.items()},
        "teacher": weights,
        "optimizer": {"state": moments, "param_groups": groups},
        "epoch": 3,
        "args": {"arch": "vit_small", "lr": 0.0005, "local_crops_scale": (0.05, 0.4), "name": None},
        "dino_loss": {"center": ramp((1, 5))},
        "fp16_scaler": {"scale": 65536.0, "growth_interval": 2000, "_growth_tracker": 0},
        "numbers": {
            "f8": 0.5,
            "f4": 0.25,
            "i8": -3,
            "b1": True,
            "array": ramp((2, 2)).astype("f8"),
        },
    }


def tensors() -> dict[str, np.ndarray]:
    """Dtypes, shapes and views."""
    base = ramp((4, 6))
    return {
        "half": ramp((3,)).astype(np.float16),
        "bfloat16": ramp((2, 2)).astype(ml_dtypes.bfloat16),
        "double": ramp((2,)).astype(np.float64),
        "bool": np.array([True, False, True]),
        "int8": np.arange(-2, 2, dtype=np.int8),
        "uint8": np.arange(4, dtype=np.uint8),
        "int16": np.arange(4, dtype=np.int16),
        "int32": np.arange(4, dtype=np.int32),
        "uint16": np.arange(4, dtype=np.uint16),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "base": base,
        "tied": base,
        "transposed": base.T.copy(),
        "columns": base[:, 1:3].copy(),
        "strided": base[::2, ::3].copy(),
        "tail": base[2:].copy(),
        "parameter": ramp((3, 1)),
    }


def ramp(shape: tuple[int, ...]) -> np.ndarray:
    """Different small numbers, exact in every float."""
    return (np.arange(int(np.prod(shape)), dtype=np.float32) / 4 - 1).reshape(shape)
