"""`.pth` files without torch: read by an allow-list, nothing executed; written for torch.load."""

from dino_jax.interop.pth.reader import read_pth
from dino_jax.interop.pth.write import write_pth

__all__ = ["read_pth", "write_pth"]
