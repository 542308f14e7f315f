"""Golden tensors of ResNet and XCiT under DINO, made by the originals' own code on a CPU.

    python -m tests.parity.backbones.generate --dino=DINO --xcit=XCIT --out=FOLDER [--all]

run at the root of the repository (about 15 s; only torch, torchvision and numpy are needed). DINO
is a checkout of facebookresearch/dino at 7c446df, XCIT one of facebookresearch/xcit at 82f5291.
README.md says what the files hold; `--all` also writes those that are not committed.

One process and no process group: `nn.SyncBatchNorm` then falls back to `F.batch_norm`, so that
nothing has to be replaced but the two calls of `torch.distributed` in `DINOLoss.update_center`.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torchvision
from torch import nn

from tests.parity.backbones import networks as net
from tests.parity.backbones.networks import Arrays, Originals, exact, inputs, plain

SIZES = [(48, 48), (24, 24), (33, 47), (50, 70)]
MOMENTUM = 0.9
PRECISIONS = ((torch.float32, ""), (torch.float64, "_f64"))
LARGEST = 400_000


class Run(NamedTuple):
    """One run of five steps."""

    kind: str
    optimiser: str
    batch_norm: bool
    norm_last_layer: bool
    lr: float
    wd: float
    wd_end: float
    clip: float


RUNS = {
    "resnet_train_sgd_bn0": Run("resnet", "sgd", False, True, 0.03, 0.01, 0.01, 0.3),
    "resnet_train_lars_bn1": Run("resnet", "lars", True, True, 1.0, 0.05, 0.005, 0.01),
    "xcit_train_adamw_bn0": Run("xcit", "adamw", False, False, 0.002, 0.04, 0.4, 0.3),
    "xcit_train_sgd_bn1": Run("xcit", "sgd", True, True, 0.1, 0.01, 0.01, 0.3),
}
STAGES = {
    "resnet": ["maxpool", "layer1", "layer2", "layer3", "layer4"],
    "xcit": [
        *("patch_embed", "pos_embeder", "norm"),
        *(f"blocks.{i}" for i in range(net.XCIT["depth"])),
        *(f"cls_attn_blocks.{i}" for i in range(2)),
        *("blocks.0.attn", "blocks.0.local_mp", "blocks.0.mlp", "cls_attn_blocks.0.attn"),
    ],
}


def first(result: Any) -> torch.Tensor:
    return result[0] if isinstance(result, tuple) else result


def forward_cases(originals: Originals, kind: str, **variant: Any) -> Arrays:
    """Evaluation mode with used statistics at several sizes, and every stage at one of them."""

    def made() -> nn.Module:
        return net.fill(net.tiny(originals, kind, **variant)[0], "backbone.", used_stats=True)

    out = {}
    backbone, double = made().eval(), net.of_type(made(), torch.float64).eval()
    for height, width in SIZES:
        case = f"{height}x{width}"
        x = inputs(f"{net.TAG[kind]}_{case}", (2, 3, height, width))
        out[f"eval/{case}/features"] = plain(backbone(x))
        out[f"eval/{case}/features_f64"] = exact(double(x.double()))

    def keep(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, result: Any) -> None:
            out[f"stage/{name}"] = plain(first(result))

        return hook

    for name in STAGES[kind]:
        backbone.get_submodule(name).register_forward_hook(keep(name))
    backbone(inputs(f"{net.TAG[kind]}_33x47", (2, 3, 33, 47)))
    return out


def train_case(originals: Originals, kind: str) -> Arrays:
    """Training mode once: features, statistics after, the gradient of sum(features * g)."""
    out = {}
    for dtype, tail in PRECISIONS:
        backbone, width = net.tiny(originals, kind)
        net.of_type(net.fill(backbone, "backbone."), dtype).train()
        x = inputs(f"{net.TAG[kind]}_train", (4, 3, net.GLOBAL, net.GLOBAL)).to(dtype)
        x.requires_grad_()
        features = first(backbone(x))
        (features * inputs(f"{net.TAG[kind]}_train_g", (4, width)).to(dtype)).sum().backward()
        out[f"train/features{tail}"] = exact(features)
        if not tail:
            named = backbone.named_buffers()
            out |= {f"train/stats/backbone.{name}": plain(v) for name, v in named}
    # Gradients of the float64 run, rounded: half the error for whoever compares.
    grads = {f"backbone.{name}": plain(p.grad) for name, p in backbone.named_parameters()}
    out |= {"names": np.array(list(grads)), "train/input_grad": plain(x.grad)}
    return out | {f"train/grad/{name}": value for name, value in grads.items()}


def multicrop(originals: Originals, kind: str, *, batch_norm: bool) -> Arrays:
    """One whole pass: outputs, loss, centre, every gradient, both networks' statistics after."""
    out = {}
    for dtype, tail in PRECISIONS:
        student, teacher, criterion = net.networks(
            originals, kind, dtype, batch_norm=batch_norm, norm_last_layer=True
        )
        seen: list[torch.Tensor] = []
        for network in (student, teacher):
            network.head.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        images = net.crops(kind, 0, dtype)
        answer, output = teacher(images[: net.VIEWS]), student(images)
        loss = criterion(output, answer, 0)
        loss.backward()
        named = dict(zip(("teacher_features", "student_features"), seen, strict=True))
        named |= {"teacher": answer, "student": output, "loss": loss, "center": criterion.center}
        out |= {f"{name}{tail}": exact(value) for name, value in named.items()}
        if not tail:
            for role, network in (("student", student), ("teacher", teacher)):
                buffers = network.named_buffers()
                out |= {f"{role}_stats/{name}": plain(value) for name, value in buffers}
    grads = {n: plain(p.grad) for n, p in student.named_parameters() if p.grad is not None}
    out["grad_names"] = np.array(list(grads))
    return out | {f"grad/{name}": value for name, value in grads.items()}


def optimiser(originals: Originals, name: str, student: nn.Module) -> torch.optim.Optimizer:
    groups = originals.utils.get_params_groups(student)
    if name == "adamw":
        return torch.optim.AdamW(groups)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=0, momentum=0.9)
    return originals.utils.LARS(groups)


def schedules(originals: Originals, run: Run) -> Arrays:
    cosine, steps = originals.utils.cosine_scheduler, (net.EPOCHS, net.PER_EPOCH)
    warm_up = {"warmup_epochs": 1, "start_warmup_value": run.lr / 2}
    return {
        "lr": cosine(run.lr, 1e-6, *steps, **warm_up),
        "wd": cosine(run.wd, run.wd_end, *steps),
        "mom": cosine(MOMENTUM, 1, *steps),
    }


def record(student: nn.Module, teacher: nn.Module) -> dict[str, Any]:
    """Norms, statistics and counters of both networks."""
    out: dict[str, Any] = {}
    for role, network in (("student", student), ("teacher", teacher)):
        norms = [float(p.detach().double().norm()) for p in network.parameters()]
        values, counts = net.statistics(network)
        out |= {role: np.array(norms), f"{role}_stats": values, f"{role}_tracked": counts}
    return out


def five_steps(
    originals: Originals, run: Run, dtype: torch.dtype
) -> tuple[dict[str, nn.Module], nn.Module, list[dict[str, Any]]]:
    """What main_dino.py:306-350 does without mixed precision, on crops of the formula."""
    utils, table = originals.utils, schedules(originals, run)
    switches = {"batch_norm": run.batch_norm, "norm_last_layer": run.norm_last_layer}
    student, teacher, criterion = net.networks(originals, run.kind, dtype, **switches)
    optim = optimiser(originals, run.optimiser, student)
    log = []
    for step in range(net.STEPS):
        epoch = step // net.PER_EPOCH
        for group in optim.param_groups:
            group["lr"] = table["lr"][step]
        optim.param_groups[0]["weight_decay"] = table["wd"][step]
        images = net.crops(run.kind, step, dtype)
        answer = teacher(images[: net.VIEWS])
        loss = criterion(student(images), answer, epoch)
        optim.zero_grad()
        loss.backward()
        trained = {n: p for n, p in student.named_parameters() if p.grad is not None}
        gradient = {name: float(p.grad.norm()) for name, p in trained.items()}
        utils.clip_gradients(student, run.clip)
        utils.cancel_gradients_last_layer(epoch, student, 1)
        optim.step()
        keep = table["mom"][step]
        with torch.no_grad():
            for ours, theirs in zip(student.parameters(), teacher.parameters(), strict=True):
                theirs.mul_(keep).add_((1 - keep) * ours)
        kept = {"loss": loss.item(), "gradient": gradient, "center": criterion.center.clone()}
        log.append(kept | record(student, teacher))
    return {"student": student, "teacher": teacher}, criterion, log


def step_arrays(one: dict[str, Any], two: dict[str, Any]) -> Arrays:
    """What a file holds of one step of the float32 run and of the float64 run."""
    out = {
        "loss": np.float32(one["loss"]),
        "loss_f64": np.float64(two["loss"]),
        "center": plain(one["center"]),
        "center_norm_f64": np.float64(two["center"].norm()),
        "grad_norms": np.array(list(one["gradient"].values())),
        "grad_norms_f64": np.array(list(two["gradient"].values())),
    }
    for role in ("student", "teacher"):
        out[f"{role}_norms"], out[f"{role}_norms_f64"] = one[role], two[role]
        out[f"{role}_stats"] = np.concatenate(list(one[f"{role}_stats"].values()))
        out[f"{role}_tracked"] = np.array(list(one[f"{role}_tracked"].values()))
    return out


def floors(ours: nn.Module, double: nn.Module) -> dict[str, float]:
    """How far the original's own float32 ends from its float64, relatively, by name."""
    out = {}
    for (name, p), q in zip(ours.named_parameters(), double.parameters(), strict=True):
        out[name] = float(((p.double() - q).norm() / q.norm().clamp_min(1e-30)).detach())
    exact_values = net.statistics(double)[0]
    for name, value in net.statistics(ours)[0].items():
        norm = max(np.linalg.norm(exact_values[name]), 1e-30)
        out[name] = float(np.linalg.norm(value - exact_values[name]) / norm)
    return out


def train_file(originals: Originals, run: Run) -> Arrays:
    """Five steps in both precisions: every step's record, the final parameters, the floors."""
    pair, criterion, log = five_steps(originals, run, torch.float32)
    double, _, log64 = five_steps(originals, run, torch.float64)
    values, counts = log[0]["student_stats"], log[0]["student_tracked"]
    out = {
        "names": np.array([name for name, _ in pair["student"].named_parameters()]),
        "clip": np.array(run.clip),
        **schedules(originals, run),
        "stats_names": np.array(list(values)),
        "stats_sizes": np.array([value.size for value in values.values()]),
        "tracked_names": np.array(list(counts)),
        "grad_names": np.array(list(log[0]["gradient"])),
    }
    for i, (one, two) in enumerate(zip(log, log64, strict=True)):
        out |= {f"{i}/{key}": value for key, value in step_arrays(one, two).items()}
    floor = {}
    for role, network in pair.items():
        named = network.named_parameters()
        out |= {f"final_{role}/{name}": plain(value) for name, value in named}
        floor |= {f"{role}/{name}": x for name, x in floors(network, double[role]).items()}
    out["final_center"] = plain(criterion.center)
    out["floor_names"], out["floor"] = np.array(list(floor)), np.array(list(floor.values()))
    gradient = log64[0]["gradient"]
    zero = [name for name, g in gradient.items() if g < 1e-10 * max(gradient.values())]
    return out | {"zero_gradient": np.array(zero, dtype=str)}


def true_network(name: str, make: Callable[[], nn.Module]) -> Arrays:
    """One named network by the formula: evaluation, and, unless it is large, a training pass."""
    network = net.without_values(make).to_empty(device="cpu")
    x, oblong = inputs(f"{name}_64x64", (2, 3, 64, 64)), inputs(f"{name}_48x80", (1, 3, 48, 80))
    out = {}
    net.fill(network, "backbone.", used_stats=True).eval()
    out["eval/64x64"], out["eval/48x80"] = plain(network(x)), plain(network(oblong))
    if "medium" not in name:
        out["train/64x64"] = plain(first(net.fill(network, "backbone.").train()(x)))
        values = {f"backbone.{key}": v for key, v in net.statistics(network)[0].items()}
        norms = [np.linalg.norm(value.astype(np.float64)) for value in values.values()]
        out |= {"stats_names": np.array(list(values)), "stats_norms": np.array(norms)}
        net.fill(network, "backbone.", used_stats=True)
    out["eval/64x64_f64"] = exact(net.of_type(network, torch.float64).eval()(x.double()))
    return {f"{name}/{key}": value for key, value in out.items()}


def names_of(name: str, network: nn.Module) -> dict[str, Any]:
    """Names and shapes in the order of the state dict, and the number of parameters."""
    order = [key for key, _ in network.named_parameters()] if name == "resnet50" else None
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "state_dict": {key: list(value.shape) for key, value in network.state_dict().items()},
        "parameter_order": order,
    }


def meta() -> dict[str, Any]:
    """Every size and hyper-parameter of the tiny runs."""
    return {
        "key_prefix": "",
        "batch": net.BATCH,
        "views": net.VIEWS,
        "locals": net.LOCALS,
        "global_size": net.GLOBAL,
        "local_size": net.LOCAL,
        "prototypes": net.PROTOTYPES,
        "head": net.HEAD,
        "resnet": net.RESNET,
        "xcit": net.XCIT,
        "runs": RUNS,
        "momentum": MOMENTUM,
        "epochs": net.EPOCHS,
        "steps_per_epoch": net.PER_EPOCH,
        "steps": net.STEPS,
        "sizes": SIZES,
        "input_tag": net.TAG,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }


def save(folder: pathlib.Path, name: str, arrays: Arrays) -> None:
    path = folder / f"{name}.npz"
    np.savez_compressed(path, **arrays)
    size = path.stat().st_size
    print(f"{path.name}: {size / 1000:.0f} kB, {len(arrays)} arrays, {time.process_time():.0f} s")
    if size > LARGEST:
        raise SystemExit(f"{path.name} is larger than {LARGEST} bytes")


def write(originals: Originals, folder: pathlib.Path, *, everything: bool) -> None:
    """Write the committed files, or all of them."""
    builders = net.true_builders(originals)
    table = {name: names_of(name, net.without_values(make)) for name, make in builders.items()}
    (folder / "names.json").write_text(json.dumps(table, separators=(",", ":")))
    (folder / "meta.json").write_text(json.dumps(meta(), indent=1))
    for kind, name in (("resnet", "resnet_forward"), ("xcit", "xcit_forward_p8")):
        save(folder, name, forward_cases(originals, kind) | train_case(originals, kind))
        for bn in (False, True):
            arrays = multicrop(originals, kind, batch_norm=bn)
            save(folder, f"{kind}_multicrop_bn{int(bn)}", arrays)
    save(folder, "xcit_forward_p16", forward_cases(originals, "xcit", patch_size=16))
    save(folder, "xcit_forward_p8_cls_norm", forward_cases(originals, "xcit", tokens_norm=False))
    for name, run in RUNS.items():
        arrays = train_file(originals, run)
        teacher = {key: arrays.pop(key) for key in list(arrays) if key.startswith("final_teacher/")}
        save(folder, name, arrays)
        if everything:
            save(folder, f"{name}_teacher", teacher)
    if everything:
        arrays = {}
        for name, make in builders.items():
            with torch.no_grad():
                arrays |= true_network(name, make)
        save(folder, "true_networks", arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dino", type=pathlib.Path, required=True, help="checkout of DINO")
    parser.add_argument("--xcit", type=pathlib.Path, required=True, help="checkout of XCiT")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder to write to")
    parser.add_argument("--all", action="store_true", help="also the files not committed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    args.out.mkdir(parents=True, exist_ok=True)
    write(net.load_originals(args.dino, args.xcit), args.out, everything=args.all)


if __name__ == "__main__":
    main()
