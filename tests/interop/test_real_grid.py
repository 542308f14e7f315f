"""Every network at every size in every library that takes it; what is found is committed."""

import datetime as dt
import importlib.metadata
import json
import pathlib
import subprocess
from typing import Any

import pytest

from dino_jax.config import ModelConfig
from tests.interop.libraries import LIBRARIES, errors, ours
from tests.interop.networks import network

pytestmark = pytest.mark.interop

LIMIT = 1e-5
SIZES = ((224, 224), (96, 96), (480, 480), (96, 160))
NETWORKS = {
    **{
        f"{arch}/{patch}": (ModelConfig(arch, patch), ("timm", "transformers"))
        for arch in ("vit_tiny", "vit_small", "vit_base")
        for patch in (16, 8)
    },
    "resnet50": (ModelConfig("resnet50"), ("timm", "torchvision")),
    **{
        f"{arch}/{patch}": (ModelConfig(arch, patch), ("timm",))
        for arch in ("xcit_small_12", "xcit_medium_24")
        for patch in (16, 8)
    },
}
HERE = pathlib.Path(__file__).parent
RESULT = HERE / "results" / "grid.json"
PACKAGES = ("timm", "transformers", "torch", "torchvision", "safetensors", "jax", "numpy")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NETWORKS)
def test_whole_grid(name: str, tmp_path: pathlib.Path) -> None:
    """At its true size, positions interpolated by us from 224², and images of that size."""
    model, libraries = NETWORKS[name]
    one, found = network(model), {}
    for size in SIZES:
        expected = ours(one, size)
        for library in libraries:
            folder = tmp_path / f"{library}_{size[0]}x{size[1]}"
            folder.mkdir()
            each = errors(expected, LIBRARIES[library](one, folder, size))
            assert max(each.values()) < LIMIT, each
            found[f"{library} {size[0]}x{size[1]}"] = {
                "outputs": len(each),
                "largest": float(f"{max(each.values()):.2g}"),
                "of": max(each, key=lambda output: each[output]),
                "cls": float(f"{each['cls']:.2g}"),
                "patches": float(f"{each['patches']:.2g}"),
            }
    leave_result(name, found)


def leave_result(name: str, found: dict[str, Any]) -> None:
    """Put what was found of one network into the result file, beside that of the others."""
    head = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(head, cwd=HERE, capture_output=True, text=True, check=False)
    networks = json.loads(RESULT.read_text())["networks"] if RESULT.exists() else {}
    networks[name] = {
        "commit": commit.stdout.strip() or "unknown",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
        "errors": found,
    }
    result = {
        "command": "python -m pytest -m slow tests/interop/test_real_grid.py",
        "what": "norm of the difference over the norm, float32: class token, patches, every block "
        "through the final norm, last attention; limit 1e-5",
        "networks": {known: networks[known] for known in NETWORKS if known in networks},
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
