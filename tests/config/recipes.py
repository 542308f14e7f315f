"""Every recipe under `configs/`, for tests that go through all of them."""

import pathlib

from dino_jax import flags
from dino_jax.config import Config, Resolved, resolve

FOLDER = pathlib.Path(__file__).parents[2] / "configs"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


def load(name: str, *overrides: str) -> Config:
    """The recipe `name` as the command line gives it, `overrides` such as "batch_size=8"."""
    arguments = [f"--config.{override}" for override in overrides]
    return flags.parse(["test", f"--config={FOLDER / name}.py", "--workdir=unused", *arguments])[0]


def resolved(name: str, *overrides: str, examples: int = 50_000) -> Resolved:
    """The same, resolved for one CPU device and images of 300 pixels."""
    return resolve(load(name, *overrides), examples=examples, platform="cpu", short_side=300)
