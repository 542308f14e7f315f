"""The trained head in files: arrays of ours, and what the original's evaluation loads."""

import pathlib

import numpy as np
from jaxtyping import Float

from dino_jax.files import whole
from dino_jax.interop.pth.write import write_pth


def write_head(
    folder: pathlib.Path,
    weight: Float[np.ndarray, "classes inputs"],
    bias: Float[np.ndarray, " classes"],
    *,
    class_names: tuple[str, ...] = (),
) -> tuple[pathlib.Path, ...]:
    """Write `linear.npz` (weight, bias, class_names) and `linear.pth`; returns their paths.

    The second is as the original's checkpoint of its classifier: a state dict whose names begin
    with `module.linear.`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays, original = folder / "linear.npz", folder / "linear.pth"
    with whole(arrays) as unfinished:
        np.savez(unfinished, weight=weight, bias=bias, class_names=np.array(class_names, np.str_))
    state = {"module.linear.weight": weight, "module.linear.bias": bias}
    write_pth(original, {"state_dict": state})
    return arrays, original
