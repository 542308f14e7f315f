"""Write the files of this folder by torch: `python -m tests.interop.pth.data.make`.

`checkpoint*.pth` hold `trees.checkpoint()`, `tensors*.pth` hold `trees.tensors()`: `*_old.pth` in
the format of before torch 1.6, `*_4.pth` in pickle protocol 4. Made with torch 2.14.1, numpy 2.4.
"""

import argparse
import collections
import pathlib
from typing import Any

import numpy as np
import torch

from tests.interop.pth import trees

WAYS: dict[str, dict[str, Any]] = {
    "": {},
    "_old": {"_use_new_zipfile_serialization": False},
    "_4": {"pickle_protocol": 4},
}


def torched(value: Any) -> Any:
    """The tree with tensors for arrays, state dicts as OrderedDicts."""
    if isinstance(value, np.ndarray):
        return tensor(value)
    if isinstance(value, dict):
        made = {key: torched(item) for key, item in value.items()}
        states = value and all(isinstance(item, np.ndarray) for item in value.values())
        return collections.OrderedDict(made) if states else made
    return [torched(item) for item in value] if isinstance(value, list) else value


def tensor(array: np.ndarray) -> torch.Tensor:
    """By its bits, which numpy and torch agree on."""
    dtype = getattr(torch, array.dtype.name)
    flat = torch.frombuffer(bytearray(array.tobytes()), dtype=dtype) if array.size else []
    return torch.as_tensor(flat, dtype=dtype).reshape(array.shape)


def checkpoint() -> dict[str, Any]:
    """As `main_dino.py` of the original saves it."""
    plain = trees.checkpoint()
    made = torched(plain)
    made["student"]._metadata = collections.OrderedDict({"": {"version": 1}})
    made["args"] = argparse.Namespace(**plain["args"])
    for group in made["optimizer"]["param_groups"]:
        group["lr"] = np.float64(group["lr"])
        group["betas"] = plain["optimizer"]["param_groups"][0]["betas"]
    kinds = {"f8": np.float64, "f4": np.float32, "i8": np.int64, "b1": np.bool_}
    for name, kind in kinds.items():
        made["numbers"][name] = kind(plain["numbers"][name])
    made["numbers"]["array"] = np.asfortranarray(plain["numbers"]["array"])
    return made


def tensors() -> dict[str, torch.Tensor]:
    """The views share their storage."""
    made = collections.OrderedDict((key, tensor(value)) for key, value in trees.tensors().items())
    base = made["base"]
    made |= {"transposed": base.T, "columns": base[:, 1:3], "strided": base[::2, ::3]}
    made |= {"tied": base, "tail": base[2:], "parameter": torch.nn.Parameter(made["parameter"])}
    return made


def main() -> None:
    """Write every file in every way."""
    folder = pathlib.Path(__file__).parent
    for name, tree in (("checkpoint", checkpoint()), ("tensors", tensors())):
        for suffix, options in WAYS.items():
            torch.save(tree, folder / f"{name}{suffix}.pth", **options)


if __name__ == "__main__":
    main()
