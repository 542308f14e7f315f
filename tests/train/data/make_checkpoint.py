"""Makes `checkpoint_v1/`, a checkpoint that every later version must load.

Run once for a format version, from the root of the repository, and never again for the same:

    python tests/train/data/make_checkpoint.py

It runs the command for three steps of the recipe below and keeps the last checkpoint, without the
folder of the run around it, and the values that `tests/train/test_committed.py` pins.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np

from dino_jax import main
from dino_jax.config import Config
from dino_jax.interop.checkpoint import FORMAT_VERSION, load_network

HERE = pathlib.Path(__file__).parent


def get_config() -> Config:
    """The smallest network of ours that has every kind of tensor: batch statistics too."""
    config = Config(batch_size=8, steps=3, epochs=3, eval_every=3)
    config.devices = 1
    config.model.arch, config.model.patch_size = "vit_tiny", 8
    config.model.width, config.model.depth, config.model.heads = 8, 1, 1
    config.head.prototypes, config.head.hidden, config.head.bottleneck = 8, 8, 8
    config.head.batch_norm, config.head.norm_last_layer = True, False
    config.crops.global_size, config.crops.local_size, config.crops.local_number = 16, 8, 1
    config.optim.learning_rate, config.optim.warmup_epochs = 0.1, 1
    config.augment.where = "host"
    config.eval.retrieval_images = config.eval.knn_bank = config.eval.knn_queries = 8
    return config


if __name__ == "__main__":
    target = HERE / f"checkpoint_v{FORMAT_VERSION}"
    if target.exists():
        sys.exit(f"{target} exists: it has to stay as it is")
    with tempfile.TemporaryDirectory() as folder:
        code = main.main(["dino_jax", f"--config={__file__}", f"--workdir={folder}"])
        if code:
            sys.exit(code)
        shutil.copytree(pathlib.Path(folder, "checkpoints", "3"), target / "3")
    for mark in target.rglob("commit_success.txt"):
        mark.write_text("committed\n")  # that it is there counts; it named this machine's folder
    pinned = {}
    for network in ("teacher", "student"):
        params, stats, _ = load_network(target, network)
        for name, value in (params | stats).items():
            first = [float(x) for x in np.ravel(value)[:3]]
            pinned[f"{network}.{name}"] = {
                "shape": value.shape,
                "first": first,
                "sum": float(np.sum(np.asarray(value, np.float64))),
            }
    (target / "pinned.json").write_text(json.dumps(pinned, indent=1) + "\n")
