"""One training step of the original DINO from a user's own checkout, timed by `benchmarks.step`.

Its networks, loss, parameter groups, schedules, clip and freeze are imported from the checkout;
the order of a step is that of its `train_one_epoch`, without what wants a GPU. Float32.
"""

import importlib
import math
import pathlib
import sys
from functools import partial

import numpy as np
import torch

from benchmarks.original import MEAN, STD, alone
from benchmarks.workload import Workload

STEPS = 10_000


class OriginalStep:
    """Student, teacher, loss and optimiser of a checkout; `step` takes a synthetic batch."""

    def __init__(self, work: Workload, checkout: pathlib.Path) -> None:
        sys.path.insert(0, str(checkout))
        main_dino, self.utils, vision_transformer = (
            importlib.import_module(name) for name in ("main_dino", "utils", "vision_transformer")
        )
        alone()

        def network(drop_path: float) -> torch.nn.Module:
            backbone = vision_transformer.VisionTransformer(
                img_size=[work.image],
                patch_size=work.patch,
                embed_dim=work.width,
                depth=work.depth,
                num_heads=work.heads,
                mlp_ratio=4,
                qkv_bias=True,
                drop_path_rate=drop_path,
                norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            )
            head = vision_transformer.DINOHead(
                work.width,
                work.prototypes,
                hidden_dim=work.hidden,
                bottleneck_dim=work.bottleneck,
            )
            return self.utils.MultiCropWrapper(backbone, head)

        self.student, self.teacher = network(0.1), network(0.0)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(requires_grad=False)
        self.loss = main_dino.DINOLoss(work.prototypes, 2 + work.locals_, 0.04, 0.04, 0, 1)
        self.optimiser = torch.optim.AdamW(self.utils.get_params_groups(self.student))
        self.rates, self.decays, self.momenta = (
            self.utils.cosine_scheduler(start, end, 1, STEPS)
            for start, end in ((1e-4, 1e-6), (0.04, 0.4), (0.996, 1.0))
        )
        self.number = 0

    def step(self, batch: dict[str, np.ndarray]) -> float:
        """One step on uint8 crops (B, n, H, W, 3), which are only normalised; the loss."""
        crops = [crop for name in ("views", "locals") for crop in _normalised(batch[name])]
        for place, group in enumerate(self.optimiser.param_groups):
            group["lr"] = self.rates[self.number]
            if place == 0:
                group["weight_decay"] = self.decays[self.number]
        answer = self.teacher(crops[:2])
        loss = self.loss(self.student(crops), answer, 0)
        if not math.isfinite(loss.item()):
            raise FloatingPointError("the loss is not finite")
        self.optimiser.zero_grad()
        loss.backward()
        self.utils.clip_gradients(self.student, 3.0)
        self.utils.cancel_gradients_last_layer(0, self.student, 0)
        self.optimiser.step()
        with torch.no_grad():
            m = self.momenta[self.number]
            pairs = zip(self.student.parameters(), self.teacher.parameters(), strict=True)
            for leading, followed in pairs:
                followed.data.mul_(m).add_((1 - m) * leading.detach().data)
        self.number += 1
        return loss.item()


def _normalised(crops: np.ndarray) -> list[torch.Tensor]:
    """One tensor (B, 3, H, W) a crop."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return [
        (torch.from_numpy(crops[:, i]).permute(0, 3, 1, 2).float() / 255 - mean) / std
        for i in range(crops.shape[1])
    ]
