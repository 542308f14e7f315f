"""Train our step at the setting of a stored run of the original, and compare the curves.

    python -m benchmarks.curve --data=FOLDER --golden=FOLDER [--init=FILE] [--seeds=0,1,2]
        [--out=FILE]
    python -m benchmarks.curve --data=FOLDER --blur --seeds=0 --out=FILE
    python -m benchmarks.curve --runs=FILE --against=FILE [--out=FILE]

`--data` holds `cifar10_train.tar.gz` and `cifar10_test.tar.gz`; `--golden` `curve_fast.json`;
`--against` is a curve that `benchmarks.original` wrote, instead of the stored one. Each seed
draws its own order, augmentation and initial weights, or all begin with those of `--init`, an npz
such as the stored run's `curve_fast_init.npz`; float32 at the highest matmul precision whatever the
device. Prints a JSON line with `ratio`, seconds a step of the original's run over
ours (a comparison only where both ran on one machine), and writes the curves.
"""

import argparse
import dataclasses
import datetime as dt
import json
import pathlib
import sys
import time
from typing import Any

import jax
import numpy as np

from benchmarks.curve_setting import Setting, verdict
from benchmarks.machine import commit, describe
from benchmarks.ours import device_batch, trainer
from dino_jax.config import Config
from dino_jax.data.pipeline import train_iterator
from dino_jax.data.source import Source
from dino_jax.data.sources import open_source
from dino_jax.evals.features import Extractor, normaliser
from dino_jax.evals.knn import KnnEvaluator

KEPT = ("loss", "teacher_entropy", "teacher_marginal_entropy", "kl")


def config_of(setting: Setting, *, seed: int, blur: bool) -> Config:
    """Our configuration of the setting."""
    config = Config(
        seed=seed,
        batch_size=setting.batch,
        epochs=setting.epochs,
        steps=setting.steps,
        precision="float32",
    )
    config.model.arch, config.model.patch_size = "vit_tiny", setting.patch
    config.model.width, config.model.depth = setting.width, setting.depth
    config.model.heads, config.model.drop_path = setting.heads, 0.0
    config.head.prototypes, config.head.hidden = setting.prototypes, setting.hidden
    config.crops.global_size, config.crops.local_size = setting.image, setting.local
    config.crops.global_scale, config.crops.local_scale = setting.global_scale, setting.local_scale
    config.crops.local_number = setting.locals_
    if not blur:
        config.augment.blur_probability = (0.0, 0.0, 0.0)
    config.optim.learning_rate = setting.learning_rate * 256 / setting.batch
    config.optim.min_learning_rate = setting.min_learning_rate
    config.optim.warmup_epochs = setting.warmup_epochs
    config.optim.weight_decay = setting.weight_decay
    config.optim.weight_decay_end = setting.weight_decay_end
    config.optim.clip = setting.clip
    config.optim.freeze_last_layer_epochs = setting.freeze_epochs
    config.teacher.momentum = setting.momentum
    config.teacher.temperature = setting.temperature
    config.teacher.warmup_temperature = setting.temperature
    config.eval.resize, config.eval.knn_k = setting.image, setting.neighbours
    config.eval.knn_bank, config.eval.knn_queries = setting.bank, setting.queries
    config.eval.final_full = False
    return config


def run(
    setting: Setting,
    train: Source,
    test: Source,
    *,
    seed: int,
    blur: bool,
    init: pathlib.Path | None = None,
) -> dict[str, Any]:
    """One seed: the figures of every step, k-NN at both ends, and the times."""
    built = trainer(config_of(setting, seed=seed, blur=blur), examples=len(train))
    config = built.resolved.config
    state = built.start() if init is None else built.start(dict(np.load(init)))
    evaluate = KnnEvaluator(
        Extractor(
            lambda params, images: built.method.teacher.features(params, images).cls,
            normaliser(config.data.mean, config.data.std),
        ),
        train,
        test,
        size=setting.image,
        config=config.eval,
    )
    knn = {"start": evaluate(state.teacher, final=False)["knn_top1"]}
    batches = train_iterator(
        train,
        config.crops,
        config.data,
        seed=seed,
        batch_size=setting.batch,
        start_step=0,
        stop_step=setting.steps,
    )
    metrics, times = [], [time.perf_counter()]
    try:
        for batch in batches:
            state, found = built.step(state, device_batch(batch))
            metrics.append({name: found[name] for name in KEPT})
            if len(metrics) % 20 == 1:
                jax.block_until_ready(found)
                times.append(time.perf_counter())
    finally:
        batches.close()
    fetched = jax.device_get(metrics)
    train_s = time.perf_counter() - times[1]  # from the end of the first step: compiled by then
    knn["teacher"] = evaluate(state.teacher, final=True)["knn_top1"]
    knn["student"] = evaluate(state.student, final=True)["knn_top1"]
    return {
        "seed": seed,
        "knn": {name: round(score, 2) for name, score in knn.items()},
        "first_step_s": round(times[1] - times[0], 2),
        "train_s": round(train_s, 2),
        "step_s": round(train_s / max(setting.steps - 1, 1), 5),
        **{name: [round(float(each[name]), 6) for each in fetched] for name in KEPT},
    }


def reference_of(options: argparse.Namespace) -> dict[str, Any]:
    """The original's losses, final k-NN of its teacher, seconds a step, and where it ran."""
    if options.against:
        stored = json.loads(options.against.read_text())
        return {key: stored[key] for key in ("loss", "knn", "step_s", "train_s", "machine")}
    stored = json.loads((options.golden / "curve_fast.json").read_text())
    teacher = [found for found in stored["evals"] if found["net"] == "teacher"]
    return {
        "loss": [step["loss"] for step in stored["steps"]],
        "knn": {"start": teacher[0]["knn20_top1"], "teacher": teacher[-1]["knn20_top1"]},
        "step_s": stored["median_step_s"],
        "train_s": stored["train_s"],
        "machine": None,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run every seed, compare, print and write; 1 if a bound is broken."""
    options = parse(arguments)
    report = json.loads(options.runs.read_text()) if options.runs else trained(options, arguments)
    found = None
    if options.golden or options.against:
        reference = reference_of(options)
        losses = reference.pop("loss")[: report["setting"]["steps"]]
        found = verdict(report["runs"], losses, reference["knn"]["teacher"])
        fastest = min(each["step_s"] for each in report["runs"])
        report |= {
            "original": reference,
            "ratio": round(reference["step_s"] / fastest, 3),
            "holds": found.holds,
            **dataclasses.asdict(found),
        }
    shown = {name: value for name, value in report.items() if name not in ("runs", "setting")}
    print(json.dumps(shown), flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report) + "\n")
    return int(found is not None and not found.holds)


def trained(options: argparse.Namespace, arguments: list[str] | None) -> dict[str, Any]:
    """Run every seed; the report without a comparison."""
    jax.config.update("jax_default_matmul_precision", "highest")
    setting = dataclasses.replace(Setting(), **json.loads(options.setting))
    machine = describe()
    train, test = (
        open_source(f"tar:{options.data / f'cifar10_{part}.tar.gz'}") for part in ("train", "test")
    )
    runs = []
    for seed in map(int, options.seeds.split(",")):
        found = run(setting, train, test, seed=seed, blur=options.blur, init=options.init)
        runs.append(found)
        brief = {name: value for name, value in found.items() if name not in KEPT}
        print(json.dumps({"benchmark": "curve", **brief}), file=sys.stderr, flush=True)
    return {
        "benchmark": "curve",
        "command": "python -m benchmarks.curve " + " ".join(arguments or sys.argv[1:]),
        "commit": options.commit or commit(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "device": jax.devices()[0].device_kind,
        "machine": machine,
        "jax": jax.__version__,
        "blur": options.blur,
        "setting": dataclasses.asdict(setting),
        "runs": runs,
    }


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    work = parser.add_mutually_exclusive_group(required=True)
    work.add_argument("--data", type=pathlib.Path)
    work.add_argument("--runs", type=pathlib.Path, help="judge what an earlier run wrote")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--golden", type=pathlib.Path)
    source.add_argument("--against", type=pathlib.Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--init", type=pathlib.Path, help="initial weights of all seeds (npz)")
    parser.add_argument("--blur", action="store_true", help="the full augmentation")
    parser.add_argument("--setting", default="{}", help="JSON of fields that differ, for a trial")
    parser.add_argument("--commit", help="where the checkout has no history")
    parser.add_argument("--out", type=pathlib.Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
