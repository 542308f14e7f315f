"""The part of the golden tensors that lies in the repository: which, why, and how it is written.

    python -m tests.parity.committed

copies it from the folder that `DINO_JAX_GOLDEN` names to `tests/parity/data`. Nothing is computed
or rounded. Files are copied byte for byte, except those of `REDUCED`: there the weights and crops
that the formula gives bit for bit are left to it (`golden.arrays` puts them back), and, to keep
the limit, the last parameters of all five-step runs but one; `LEFT_OUT` in such a file says which.
"""

import json
import pathlib
import re
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests import golden

LIMIT = 3_000_000
"""Bytes of all committed files together."""
LEFT_OUT = "left_out"

COPIED = (
    "meta.json",  # sizes of the networks below
    "a_init_stats.json",  # initialisation
    "a_posembed.npz",  # position interpolation, every size
    "a_vit_true.npz",  # the named architectures: features, blocks, attention
    "c_loss.npz",  # loss, centre, gradient, teacher temperature
    "checkpoint_keys.json",  # names and shapes of a checkpoint
    "e_clip.npz",  # clipping, freeze
    "e_param_groups.json",  # weight decay
    "e_schedules.npz",  # learning rate, weight decay, momentum
    "f_knn.npz",  # the weighted vote
    "g_aug_stats.json",  # distributions of the augmentation, no pixels
)
# File -> pattern of the keys that are left out.
REDUCED = {
    "b_head.npz": None,  # the head, every variant: outputs, gradients, batch statistics
    "d_multicrop_nll0.npz": None,  # the whole step: outputs, loss, centre, every gradient
    "e_train_adamw_nll0.npz": "final_(student|teacher)/",  # five full steps
    "e_train_adamw_nll1.npz": "final_teacher/",
    "e_train_lars_nll0.npz": "final_(student|teacher)/",
    "e_train_lars_nll1.npz": "final_(student|teacher)/",
    "e_train_sgd_nll0.npz": "final_(student|teacher)/",
    "e_train_sgd_nll1.npz": "final_(student|teacher)/",
}
FILES = (*COPIED, *REDUCED)
CROPS = ("mc_g0", "mc_g1", "mc_l0", "mc_l1", "mc_l2", "mc_l3")
"""The formula's names of `crop0` … `crop5`."""


def write(source: pathlib.Path, target: pathlib.Path) -> int:
    """Write the committed part of the golden folder `source` and return its size in bytes."""
    target.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        shutil.copyfile(source / name, target / name)
    for name, left_out in REDUCED.items():
        with np.load(source / name, allow_pickle=False) as file:
            np.savez_compressed(target / name, **reduced(dict(file), name, left_out))
    return sum((target / name).stat().st_size for name in FILES)


def reduced(arrays: dict[str, np.ndarray], name: str, left_out: str | None) -> dict[str, Any]:
    """Leave out what matches the pattern, and what the formula gives bit for bit."""
    kept = {key: x for key, x in arrays.items() if not left_out or not re.match(left_out, key)}
    formula = {}
    for key, value in list(kept.items()):
        for call in calls(key, value, name):
            again = golden.from_formula(call)
            if again.dtype == value.dtype and np.array_equal(again, value):
                formula[key] = call
                del kept[key]
                break
    if formula:
        kept[golden.FORMULA] = np.array(json.dumps(formula))
    if left_out:
        kept[LEFT_OUT] = np.array(left_out)
    return kept


def calls(key: str, value: np.ndarray, name: str) -> Iterator[dict[str, Any]]:
    """What the formula may call the array `key` of a file."""
    shape = list(value.shape)
    if found := re.match(r"(?:.*/)?w/(.+)", key):
        norm = "nll1" in f"{name}/{key}"
        for prefix in ("head.", ""):
            weight = prefix + found[1]
            yield {"weight": weight, "shape": shape, "norm_last_layer": norm}
    if found := re.fullmatch(r"crop(\d)", key):
        yield {"input": CROPS[int(found[1])], "shape": shape}


if __name__ == "__main__":
    size = write(golden.FOLDER, golden.COMMITTED)
    if size > LIMIT:
        raise SystemExit(f"{size} bytes, more than {LIMIT}: choose less")
    print(f"{size} bytes")
