"""One checkpoint and the same images through the original's k-NN and ours: one JSON line.

    python -m benchmarks.knn_original --original=CHECKOUT --weights=SPEC --data=FOLDER [--out=FILE]

`--data` holds `train` and `val`, folders of class folders. The weights are exported to the
original's format by `dino_jax.convert`, then `eval_knn.py` of a checkout of facebookresearch/dino
does all from reading the images to the votes, and so does `dino_jax.evaluate knn`. Of the original
only what it fixes is replaced, while it runs: the GPU, the size of the images (`--size`, `--resize`
here as there) and, for networks that it has no name for, the shape. Told are the images of
another prediction and, of each, by how much its first class leads its second in either vote:
features differ by rounding, so a lead of that size may turn. Needs torch and torchvision.
"""

import argparse
import contextlib
import datetime as dt
import functools
import importlib
import io
import json
import pathlib
import sys
import tempfile
import types
from collections.abc import Iterator
from importlib import metadata
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.machine import commit, describe
from dino_jax.config.protocol_options import KnnOptions
from dino_jax.convert import main as convert
from dino_jax.evals.bank import open_sets
from dino_jax.evals.protocol import Request
from dino_jax.evals.protocols.knn import run
from dino_jax.evals.store import FeatureStore
from dino_jax.interop.encoder import Encoder, open_encoder
from dino_jax.ops.neighbours import knn_votes
from dino_jax.train.sharding import make_mesh

KS, TEMPERATURE, BATCH = (10, 20, 100, 200), 0.07, 64
Answers = dict[str, Any]
"""`bank` and `queries` (features), `votes` and `percent` (top-1, top-5) by k."""


@contextlib.contextmanager
def on_the_processor(module: Any, encoder: Encoder) -> Iterator[None]:
    """Let eval_knn.py run without a GPU, on our size of image and our shape of network."""
    size, resize = encoder.size, encoder.resize or round(encoder.size * 256 / 224)
    transforms = module.pth_transforms
    ours = types.SimpleNamespace(**vars(transforms))
    ours.Resize = lambda _, interpolation: transforms.Resize(resize, interpolation)
    ours.CenterCrop = lambda _: transforms.CenterCrop(size)
    shape = functools.partial(
        module.vits.VisionTransformer,
        img_size=[size],
        embed_dim=encoder.width,
        depth=encoder.depth,
        num_heads=encoder.heads,
        mlp_ratio=4,
        qkv_bias=True,
        norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(module, "pth_transforms", ours))
        stack.enter_context(mock.patch.dict(vars(module.vits), vit_ours=shape))
        for kind in (torch.nn.Module, torch.Tensor):
            stack.enter_context(mock.patch.object(kind, "cuda", lambda self, **_: self))
        yield


def theirs(original: str, weights: str, data: str, encoder: Encoder) -> Answers:
    """What eval_knn.py makes of the exported weights."""
    sys.path.insert(0, original)
    module = importlib.import_module("eval_knn")
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    arguments = argparse.Namespace(
        data_path=data, batch_size_per_gpu=BATCH, num_workers=0, arch="vit_ours",
        patch_size=encoder.patch_size, pretrained_weights=weights, checkpoint_key="teacher",
        use_cuda=False, dump_features=None,
    )  # fmt: skip
    with on_the_processor(module, encoder), contextlib.redirect_stdout(io.StringIO()) as said:
        bank, queries, *labels = module.extract_feature_pipeline(arguments)
    if "missing_keys=[]" not in said.getvalue():  # those of the head are left over
        raise RuntimeError("the original did not find all of its weights")
    votes, percent = {}, {}
    sort = torch.Tensor.sort
    for k in KS:
        heard: list[np.ndarray] = []

        def listening(votes: Any, *rest: Any, heard: list[np.ndarray] = heard) -> Any:
            heard.append(votes.numpy().copy())
            return sort(votes, *rest)

        with mock.patch.object(torch.Tensor, "sort", listening):
            percent[k] = module.knn_classifier(bank, labels[0], queries, labels[1], k, TEMPERATURE)
        votes[k] = np.concatenate(heard)
    return {
        "bank": bank.numpy(), "queries": queries.numpy(), "votes": votes, "percent": percent
    }  # fmt: skip


def ours(data: str, encoder: Encoder) -> Answers:
    """What `dino_jax.evaluate knn` makes of the weights, and the votes it is made of."""
    with tempfile.TemporaryDirectory() as folder:
        store, mesh = FeatureStore(pathlib.Path(folder)), make_mesh()
        train, val = (f"folder:{data}/{part}" for part in ("train", "val"))
        request = Request(encoder, train, val, None, store, mesh, BATCH, 0, KnnOptions(KS))
        report = run(request)
        sets = open_sets(train, val, encoder.channels)
        bank, queries = (  # from the store, as `run` left them
            store.features(
                encoder, source, what="cls", mesh=mesh, batch_size=BATCH,
                function=lambda params, images: encoder.features(params, images).cls,
            )[0]
            for source in (sets.bank, sets.queries)
        )  # fmt: skip
        classes = len(sets.bank.class_names)
        votes = knn_votes(
            queries, bank, sets.bank_labels, k=KS, temperature=TEMPERATURE, classes=classes
        )
        scaled = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (bank, queries)]
    percent = {k: [report.samples[f"knn{k}_{name}"].value for name in ("top1", "top5")] for k in KS}
    return {"bank": scaled[0], "queries": scaled[1], "votes": votes, "percent": percent}


def compared(first: Answers, second: Answers) -> dict[str, Any]:
    """How far two answers are apart: features in the norm, predictions one by one."""
    found: dict[str, Any] = {
        f"{part}_difference": float(
            np.linalg.norm(first[part] - second[part]) / np.linalg.norm(first[part])
        )
        for part in ("bank", "queries")
    }
    for k in KS:
        votes = [np.asarray(each["votes"][k], np.float64) for each in (first, second)]
        other = np.flatnonzero(votes[0].argmax(axis=1) != votes[1].argmax(axis=1))
        found[f"k{k}"] = {
            "queries": len(votes[0]),
            "other_predictions": len(other),
            "leads": [[float(lead(each[row])) for each in votes] for row in other],
            "original": [round(float(value), 4) for value in first["percent"][k]],
            "ours": [round(float(value), 4) for value in second["percent"][k]],
        }
    return found


def lead(votes: np.ndarray) -> float:
    """By what share of its votes the first class leads the second."""
    most = np.sort(votes)[::-1]
    return (most[0] - most[1]) / most[0]


def main() -> int:
    """Convert, run both, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for flag in ("original", "weights", "data"):
        parser.add_argument(f"--{flag}", required=True)
    parser.add_argument("--size", type=int)
    parser.add_argument("--resize", type=int)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    encoder = open_encoder(options.weights, size=options.size, resize=options.resize)
    with tempfile.TemporaryDirectory() as folder:
        exported = f"{folder}/exported.pth"
        if convert(["", f"--from={options.weights}", "--to=dino-pth", f"--out={exported}"]):
            raise RuntimeError("the weights could not be exported")
        first = theirs(options.original, exported, options.data, encoder)
    report = {
        "benchmark": "knn_original",
        "command": "python -m benchmarks.knn_original --original=CHECKOUT --weights=RUN "
        "--data=IMAGENETTE",
        "commit": commit(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": describe(),
        "versions": {name: metadata.version(name) for name in ("jax", "numpy", "torch")},
        "network": f"{encoder.width} x {encoder.depth}, patch {encoder.patch_size}",
        "size": encoder.size,
        "steps": encoder.facts.get("steps"),
        **compared(first, ours(options.data, encoder)),
    }
    print(json.dumps(report))
    if options.out:
        options.out.write_text(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
