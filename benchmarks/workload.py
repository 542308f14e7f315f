"""What the contenders of a benchmark are given to do: sizes, synthetic images, counted FLOPs."""

import dataclasses

import numpy as np

ARCHITECTURES = {
    "S/16": ("vit_small", 384, 12, 6, 16),
    "S/8": ("vit_small", 384, 12, 6, 8),
    "B/16": ("vit_base", 768, 12, 12, 16),
    "B/8": ("vit_base", 768, 12, 12, 8),
    "Ti/16": ("vit_tiny", 192, 12, 3, 16),
}
"""Short name -> (the config's `arch`, width, depth, heads, patch size)."""


@dataclasses.dataclass(frozen=True)
class Workload:
    """One training step's work, the same for every contender."""

    name: str
    arch: str
    width: int
    depth: int
    heads: int
    patch: int
    batch: int
    image: int = 224
    local: int = 96
    locals_: int = 8
    prototypes: int = 65536
    hidden: int = 2048
    bottleneck: int = 256

    def tokens(self, size: int) -> int:
        """Tokens of one crop of `size` pixels, the class token counted."""
        return (size // self.patch) ** 2 + 1

    def train_flops(self) -> float:
        """FLOPs to train on one image: student forward and backward, teacher forward.

        Matrix products only, two operations a multiplication; the backward pass counts double,
        less the gradient to the pixels, which nobody asks for.
        """
        student, teacher = 0.0, 0.0
        for size, count, seen_by_teacher in (
            (self.image, 2, True),
            (self.local, self.locals_, False),
        ):
            n = self.tokens(size)
            blocks = self.depth * (24 * n * self.width**2 + 4 * n * n * self.width)
            patches = 2 * (n - 1) * 3 * self.patch**2 * self.width
            forward = blocks + patches + self._head_flops()
            student += count * (3 * forward - patches)
            teacher += count * forward if seen_by_teacher else 0.0
        return student + teacher

    def _head_flops(self) -> float:
        hidden = self.hidden
        mlp = self.width * hidden + hidden * hidden + hidden * self.bottleneck
        return 2.0 * (mlp + self.bottleneck * self.prototypes)


def workload(name: str, batch: int, *, locals_: int = 8, toy: bool = False) -> Workload:
    """The work named `S/16`, `S/8`, `B/16` or `B/8`; `toy` keeps its form at a size for a CPU."""
    arch, width, depth, heads, patch = ARCHITECTURES[name]
    if not toy:
        return Workload(name, arch, width, depth, heads, patch, batch, locals_=locals_)
    return Workload(
        f"{name} toy",
        arch,
        width=32,
        depth=2,
        heads=2,
        patch=patch,
        batch=min(batch, 2),
        image=4 * patch,
        local=2 * patch,
        locals_=min(locals_, 2),
        prototypes=64,
        hidden=48,
        bottleneck=16,
    )


def synthetic_batch(work: Workload, seed: int = 0) -> dict[str, np.ndarray]:
    """Random uint8 crops: `views` (B, 2, H, W, 3), `locals` (B, L, h, w, 3)."""
    random = np.random.default_rng(seed)
    batch, size, local = work.batch, work.image, work.local
    return {
        "views": random.integers(0, 256, (batch, 2, size, size, 3), dtype=np.uint8),
        "locals": random.integers(0, 256, (batch, work.locals_, local, local, 3), dtype=np.uint8),
        "index": np.arange(batch, dtype=np.int64) + seed * batch,
        "epoch": np.zeros(batch, np.int64),
        "replaced": np.full(batch, -1, np.int64),
    }
