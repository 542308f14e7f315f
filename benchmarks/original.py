"""Run a user's own checkout of the original DINO at our small setting, and write its curve.

    python -m benchmarks.original --original=CHECKOUT --data=FOLDER --out=FILE [--blur]

Needs torch and torchvision (an environment of its own; jax is not imported) and a checkout of
facebookresearch/dino, whose modules are imported from that path: its networks, loss, schedules,
transform, clipping and freeze. Only the loop is ours, since the original's wants a GPU. One
thread: with two, PyTorch is slower on a busy machine. `--data` holds the CIFAR-10 archives.
"""

import argparse
import dataclasses
import datetime as dt
import importlib
import io
import json
import pathlib
import random
import sys
import tarfile
import time
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.curve_setting import Setting
from benchmarks.machine import describe

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def alone() -> None:
    """Be a process group of one: the original's loss wants a group."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)


def read(archive: pathlib.Path) -> tuple[list[Image.Image], np.ndarray]:
    """Every image of an archive in the order of its names, and its class by folder."""
    with tarfile.open(archive) as tar:
        files = {member.name: file.read() for member in tar if (file := tar.extractfile(member))}
    names = sorted(files)
    folders = [name.split("/")[-2] for name in names]
    images = [Image.open(io.BytesIO(files[name])).convert("RGB") for name in names]
    return images, np.unique(folders, return_inverse=True)[1]


class Run:
    """Student, teacher, loss, optimiser and schedules, from the checkout's own modules."""

    def __init__(self, checkout: pathlib.Path, setting: Setting, *, blur: bool) -> None:
        sys.path.insert(0, str(checkout))
        main_dino, utils, vision_transformer = (
            importlib.import_module(name) for name in ("main_dino", "utils", "vision_transformer")
        )
        self.setting, self.utils = setting, utils

        def network(**head: Any) -> torch.nn.Module:
            backbone = vision_transformer.VisionTransformer(
                img_size=[setting.image],
                patch_size=setting.patch,
                embed_dim=setting.width,
                depth=setting.depth,
                num_heads=setting.heads,
                mlp_ratio=4,
                qkv_bias=True,
                norm_layer=lambda width: torch.nn.LayerNorm(width, eps=1e-6),
            )
            projection = vision_transformer.DINOHead(
                setting.width, setting.prototypes, hidden_dim=setting.hidden, **head
            )
            return utils.MultiCropWrapper(backbone, projection)

        self.student, self.teacher = network(norm_last_layer=True), network()
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(requires_grad=False)
        self.loss = main_dino.DINOLoss(
            setting.prototypes,
            2 + setting.locals_,
            setting.temperature,
            setting.temperature,
            0,
            setting.epochs,
        )
        self.transform = main_dino.DataAugmentationDINO(
            setting.global_scale, setting.local_scale, setting.locals_
        )
        self._shrink(blur=blur)
        self.optimiser = torch.optim.AdamW(utils.get_params_groups(self.student))
        per_epoch = setting.steps // setting.epochs
        self.rates = utils.cosine_scheduler(
            setting.learning_rate,
            setting.min_learning_rate,
            setting.epochs,
            per_epoch,
            warmup_epochs=setting.warmup_epochs,
        )
        self.decays = utils.cosine_scheduler(
            setting.weight_decay, setting.weight_decay_end, setting.epochs, per_epoch
        )
        self.momenta = utils.cosine_scheduler(setting.momentum, 1, setting.epochs, per_epoch)

    def _shrink(self, *, blur: bool) -> None:
        """The transform's sizes are fixed in the original: set ours; take the blur out if asked."""
        sizes = (
            (self.transform.global_transfo1, self.setting.image),
            (self.transform.global_transfo2, self.setting.image),
            (self.transform.local_transfo, self.setting.local),
        )
        for chain, size in sizes:
            chain.transforms[0].size = (size, size)
            if not blur:
                kept = [t for t in chain.transforms if not isinstance(t, self.utils.GaussianBlur)]
                chain.transforms = kept

    def step(self, number: int, images: list[Image.Image]) -> dict[str, float]:
        """One step on a batch of pictures."""
        views = zip(*map(self.transform, images), strict=True)
        return self.step_on(number, [torch.stack(view) for view in views])

    def step_on(self, number: int, crops: list[torch.Tensor]) -> dict[str, float]:
        """One step on normalised crops (batch, 3, H, W), views first, in the original's order."""
        epoch = number // (self.setting.steps // self.setting.epochs)
        for place, group in enumerate(self.optimiser.param_groups):
            group["lr"] = self.rates[number]
            if place == 0:
                group["weight_decay"] = self.decays[number]
        answer = self.teacher(crops[:2])
        centre = self.loss.center.clone()
        loss = self.loss(self.student(crops), answer, epoch)
        self.optimiser.zero_grad()
        loss.backward()
        self.utils.clip_gradients(self.student, self.setting.clip)
        self.utils.cancel_gradients_last_layer(epoch, self.student, self.setting.freeze_epochs)
        self.optimiser.step()
        with torch.no_grad():
            m = self.momenta[number]
            pairs = zip(self.student.parameters(), self.teacher.parameters(), strict=True)
            for leading, followed in pairs:
                followed.mul_(m).add_((1 - m) * leading)
            targets = ((answer - centre) / self.setting.temperature).softmax(dim=-1)
            entropy = torch.special.entr(targets).sum(dim=-1).mean()
            marginal = torch.special.entr(targets.mean(dim=0)).sum()
        return {
            "loss": loss.item(),
            "teacher_entropy": entropy.item(),
            "teacher_marginal_entropy": marginal.item(),
        }


@torch.no_grad()
def knn_top1(backbone: torch.nn.Module, sets: list[tuple[Any, np.ndarray]], k: int) -> float:
    """Weighted k-NN of the second set among the first, temperature 0.07, in per cent."""
    found = []
    for images, _ in sets:
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).float() / 255
        pixels = (pixels - torch.tensor(MEAN)) / torch.tensor(STD)
        parts = pixels.permute(0, 3, 1, 2).split(500)
        features = torch.cat([backbone(part) for part in parts])
        found.append(torch.nn.functional.normalize(features))
    bank, queries = found
    similarity, index = (queries @ bank.T).topk(k)
    labels = torch.from_numpy(sets[0][1])[index]
    votes = torch.zeros(len(queries), int(labels.max()) + 1)
    votes.scatter_add_(1, labels, (similarity / 0.07).exp())
    return 100 * (votes.argmax(dim=1).numpy() == sets[1][1]).mean()


def main(arguments: list[str] | None = None) -> int:
    """Train, score, write."""
    options = parse(arguments)
    setting = dataclasses.replace(Setting(), **json.loads(options.setting))
    machine = describe()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    order = np.random.default_rng(options.seed)
    alone()
    train, test = (read(options.data / f"cifar10_{part}.tar.gz") for part in ("train", "test"))
    chosen = np.random.RandomState(0)  # numpy froze this stream; the stored run used it
    sets = []
    for (images, labels), size in ((train, setting.bank), (test, setting.queries)):
        some = chosen.permutation(len(images))[:size]
        sets.append(([images[i] for i in some], labels[some]))
    made = Run(options.original, setting, blur=options.blur)
    knn = {"start": knn_top1(made.teacher.backbone, sets, setting.neighbours)}
    steps, times = [], [time.perf_counter()]
    queue = np.concatenate([order.permutation(len(train[0])) for _ in range(4)])
    for number in range(setting.steps):
        rows = queue[number * setting.batch : (number + 1) * setting.batch]
        steps.append(made.step(number, [train[0][row] for row in rows]))
        times.append(time.perf_counter())
    for name, network in (("teacher", made.teacher), ("student", made.student)):
        knn[name] = knn_top1(network.backbone, sets, setting.neighbours)
    durations = np.diff(times)
    report = {
        "benchmark": "original",
        "command": "python -m benchmarks.original " + " ".join(arguments or sys.argv[1:]),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": {**machine, "threads": options.threads},
        "torch": torch.__version__,
        "blur": options.blur,
        "seed": options.seed,
        "setting": dataclasses.asdict(setting),
        "knn": {name: round(float(score), 2) for name, score in knn.items()},
        "train_s": round(float(durations.sum()), 1),
        "step_s": round(float(np.median(durations)), 4),
        **{name: [round(step[name], 6) for step in steps] for name in steps[0]},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report) + "\n")
    print(json.dumps({key: value for key, value in report.items() if key not in steps[0]}))
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--original", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--blur", action="store_true", help="the full augmentation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--setting", default="{}", help="JSON of fields that differ, for a trial")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
