"""The part of the golden tensors that lies in the repository: which, why, and how it is written.

    python -m tests.parity.committed

copies it from the folder that `DINO_JAX_GOLDEN` names to `tests/parity/data`. Nothing is computed
or rounded: a file is either the whole golden file, byte for byte, or the named groups of its
arrays, bit for bit.
"""

import io
import pathlib
import shutil
import zipfile

import numpy as np

from tests import golden

LIMIT = 3_000_000
"""Bytes of all committed files together."""

WHOLE = (
    "meta.json",  # sizes of the networks below
    "a_init_stats.json",  # initialisation
    "a_posembed.npz",  # position interpolation, every size
    "a_vit_true.npz",  # the named architectures: features, blocks, attention
    "c_loss.npz",  # loss, centre, gradient, teacher temperature
    "checkpoint_keys.json",  # names and shapes of a checkpoint
    "e_clip.npz",  # clipping, freeze
    "e_param_groups.json",  # weight decay
    "e_schedules.npz",  # learning rate, weight decay, momentum
    "e_train_adamw_nll1.npz",  # five full steps
    "f_attention.npz",  # attention masks
    "f_copydet_ap.json",  # copy detection
    "f_knn.npz",  # the weighted vote
    "f_retrieval.json",  # retrieval
    "g_aug_stats.json",  # distributions of the augmentation, no pixels
)

GROUPS = {"b_head.npz": ("x", "g", "nll1_bn0_nl3", "nll0_bn1_nl3")}
"""Arrays whose key, up to the first slash, is named here."""


def belongs(name: str, key: str) -> bool:
    """Whether the committed form of a grouped file holds this array."""
    return key.split("/", 1)[0] in GROUPS[name]


def load(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Every array of one `.npz`."""
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file}


def pack(arrays: dict[str, np.ndarray]) -> bytes:
    """The arrays as an `.npz` whose bytes depend on the arrays alone."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for key, value in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, value, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return whole.getvalue()


def write(source: pathlib.Path, target: pathlib.Path) -> int:
    """Write the committed part of the golden folder `source` and return its size in bytes."""
    target.mkdir(parents=True, exist_ok=True)
    for name in WHOLE:
        shutil.copyfile(source / name, target / name)
    for name in GROUPS:
        chosen = {k: v for k, v in load(source / name).items() if belongs(name, k)}
        (target / name).write_bytes(pack(chosen))
    return sum((target / name).stat().st_size for name in (*WHOLE, *GROUPS))


if __name__ == "__main__":
    size = write(golden.FOLDER, golden.COMMITTED)
    if size > LIMIT:
        raise SystemExit(f"{size} bytes, more than {LIMIT}: choose less")
    print(f"{size} bytes")
