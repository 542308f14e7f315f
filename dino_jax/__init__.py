"""DINO, self-supervised training of vision transformers without labels, in JAX."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("dino_jax")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "unknown"
