"""The part of the golden tensors that lies in the repository: which, why, and how it is written.

    python -m tests.parity.committed

copies it from the folder that `DINO_JAX_GOLDEN` names to `tests/parity/data`. Nothing is computed
or rounded: each file is the whole golden file, byte for byte, so that a test finds either all of it
or none.
"""

import pathlib
import shutil

from tests import golden

LIMIT = 3_000_000
"""Bytes of all committed files together."""

FILES = (
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
    "f_copydet.npz",  # pooled features, whitening, several scales, ranks
    "f_copydet_ap.json",  # copy detection
    "f_knn.npz",  # the weighted vote
    "f_retrieval.json",  # retrieval
    "g_aug_stats.json",  # distributions of the augmentation, no pixels
)


def write(source: pathlib.Path, target: pathlib.Path) -> int:
    """Write the committed part of the golden folder `source` and return its size in bytes."""
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(source / name, target / name)
    return sum((target / name).stat().st_size for name in FILES)


if __name__ == "__main__":
    size = write(golden.FOLDER, golden.COMMITTED)
    if size > LIMIT:
        raise SystemExit(f"{size} bytes, more than {LIMIT}: choose less")
    print(f"{size} bytes")
