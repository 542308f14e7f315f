"""The worker of `benchmarks.forward`: one network in a process of its own."""

import os
import time
from collections.abc import Callable
from typing import Any

from benchmarks.worker import serve

Forward = Callable[[], object]
"""One batch; returns when its features are there."""


def ours(arch: str, patch: int, batch: int, image: int) -> tuple[Forward, int]:
    """Our backbone, jitted, and how many parameters it has."""
    from dino_jax.memory import keep_freed_memory

    keep_freed_memory()
    import jax
    import jax.numpy as jnp

    from dino_jax.config import HeadConfig, ModelConfig
    from dino_jax.models.build import build

    dtype = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    head = HeadConfig(prototypes=8, hidden=8)
    model = build(ModelConfig(arch=arch, patch_size=patch), head, image_size=image, dtype=dtype)
    params, stats = model.init(jax.random.key(0))
    params = {name: value for name, value in params.items() if name.startswith("backbone.")}
    images = jax.random.normal(jax.random.key(1), (batch, image, image, 3))
    features = jax.jit(lambda weights, images: model.features(weights, images).cls)
    count = sum(value.size for value in params.values())
    return lambda: features(params | stats, images).block_until_ready(), count


def timms(name: str, batch: int, image: int, threads: int) -> tuple[Forward, int]:
    """timm's network without its classifier, in evaluation mode."""
    import timm
    import torch

    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = torch.float32 if device == "cpu" else torch.bfloat16
    network: Any = (
        timm.create_model(name, num_classes=0, img_size=image)
        if name.startswith("vit")
        else timm.create_model(name, num_classes=0)
    )
    network = network.to(device=device, dtype=kind).eval()
    images = torch.randn(batch, 3, image, image, device=device, dtype=kind)

    def forward() -> object:
        with torch.inference_mode():
            found = network(images)
            return found.float().sum().item()

    return forward, sum(value.numel() for value in network.parameters())


class Turns:
    """Answers `build` and then `batch`."""

    forward: Forward

    def build(
        self, *, contender: str, cores: list[int], arch: str, patch: int, timm: str, **sizes: int
    ) -> dict[str, float]:
        """Make the network and run it once."""
        os.sched_setaffinity(0, cores)
        if contender == "ours":
            self.forward, count = ours(arch, patch, **sizes)
        else:
            self.forward, count = timms(timm, threads=len(cores), **sizes)
        self.forward()
        return {"parameters": count}

    def batch(self) -> dict[str, float]:
        """Seconds of one batch, by the clock and of processor time."""
        before, at = time.process_time(), time.perf_counter()
        self.forward()
        return {
            "wall_s": time.perf_counter() - at,
            "processor_s": time.process_time() - before,
        }


if __name__ == "__main__":
    turns = Turns()
    serve({"build": turns.build, "batch": turns.batch})
