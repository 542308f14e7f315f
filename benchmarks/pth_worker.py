"""The worker of `benchmarks.pth`: reads a `.pth` file in one way, in a process of its own.

`torch` is `torch.load` and `numpy()` of every tensor, `ours` is `read_pth`.
"""

import pathlib
import time
import zlib
from collections.abc import Callable
from typing import Any

from benchmarks.worker import serve

WIDTH = 768


def reader(name: str) -> Callable[[str], dict[str, Any]]:
    """Import what it needs, and return the contender."""
    if name == "ours":
        from dino_jax.interop.pth import read_pth

        return read_pth
    import torch

    def read(path: str) -> dict[str, Any]:
        return {key: value.numpy() for key, value in torch.load(path).items()}

    return read


def make(path: str) -> dict[str, Any]:
    """Save random weights of a ViT-B/16 backbone by torch.save."""
    import torch

    torch.manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 197, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 16, 16),
        "patch_embed.proj.bias": (WIDTH,),
    }
    for block in range(12):
        for part, (rows, columns) in {
            "attn.qkv": (3 * WIDTH, WIDTH),
            "attn.proj": (WIDTH, WIDTH),
            "mlp.fc1": (4 * WIDTH, WIDTH),
            "mlp.fc2": (WIDTH, 4 * WIDTH),
        }.items():
            shapes[f"blocks.{block}.{part}.weight"] = (rows, columns)
            shapes[f"blocks.{block}.{part}.bias"] = (rows,)
        for norm in ("norm1", "norm2"):
            shapes |= {f"blocks.{block}.{norm}.{part}": (WIDTH,) for part in ("weight", "bias")}
    shapes |= {f"norm.{part}": (WIDTH,) for part in ("weight", "bias")}
    torch.save({key: torch.randn(shape) for key, shape in shapes.items()}, path)
    return {"bytes": pathlib.Path(path).stat().st_size, "torch": torch.__version__}


def read(name: str, path: str, times: int) -> dict[str, Any]:
    """Read so many times: seconds by the clock and of the processor, peak memory after the first.

    `before_mb` and `peak_mb` are the most this process has held at once, without and with it.
    """
    contender = reader(name)
    report: dict[str, Any] = {"before_mb": most_held(), "wall": [], "processor": []}
    found: dict[str, Any] = {}
    for _ in range(times):
        found.clear()
        used, began = time.process_time(), time.perf_counter()
        found = contender(path)
        report["wall"].append(time.perf_counter() - began)
        report["processor"].append(time.process_time() - used)
        report.setdefault("peak_mb", most_held())
    report["crc"] = [zlib.crc32(found[key].tobytes()) for key in sorted(found)]
    return report


def most_held() -> float:
    """VmHWM of this process, MB."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return round(int(next(li for li in lines if li.startswith("VmHWM")).split()[1]) / 1024, 1)


if __name__ == "__main__":
    serve({"make": make, "read": read})
