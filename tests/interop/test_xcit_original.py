"""XCiT beside timm's, which is another writing of the original's: true sizes, any image."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from dino_jax.config import ModelConfig
from dino_jax.models.backbone import Backbone, build_backbone
from dino_jax.models.naming import unflatten
from tests import golden

pytestmark = pytest.mark.interop

SIZES = [(224, 224), (96, 96), (112, 80), (75, 130)]
"""The crops of a run; then not square, and a whole number of no patch."""


def made(arch: str, patch_size: int) -> Backbone:
    config = ModelConfig(arch=arch, patch_size=patch_size, blocks="unrolled")
    return build_backbone(config, image_size=224, dtype=jnp.float32, drop_path=0.0)


def weights(backbone: Backbone) -> dict[str, np.ndarray]:
    """Parameters and statistics as of a trained network: unlike each other, activations near 1."""
    params, stats = jax.eval_shape(backbone.init, jax.random.key(0))
    rng, drawn = np.random.default_rng(0), {}
    for name, leaf in (params | stats).items():
        normal = rng.standard_normal(leaf.shape)
        if name.endswith("num_batches_tracked"):
            drawn[name] = np.asarray(1000)
        elif name.endswith("running_var"):
            drawn[name] = np.exp(0.5 * normal)
        elif name.endswith(("bias", "running_mean", "cls_token")):
            drawn[name] = 0.1 * normal
        elif "gamma" in name:
            drawn[name] = 0.3 * normal
        elif leaf.ndim == 1 or name.endswith("temperature"):
            drawn[name] = 1 + 0.2 * normal
        else:
            drawn[name] = normal * np.prod(leaf.shape[1:]) ** -0.5
    return {
        name: value.astype(np.int32 if name.endswith("tracked") else np.float32)
        for name, value in drawn.items()
    }


def in_timm(leaves: dict[str, np.ndarray]) -> dict[str, Any]:
    """Two renames: the positions, and the class blocks' fused projection in three."""
    import torch

    named = {}
    for name, leaf in leaves.items():
        if found := re.fullmatch(r"(cls_attn_blocks\.\d\.attn\.)qkv(\..+)", name):
            for part, value in zip("qkv", np.split(leaf, 3), strict=True):
                named[f"{found[1]}{part}{found[2]}"] = torch.tensor(value)
        else:
            named[name.replace("pos_embeder", "pos_embed")] = torch.tensor(leaf)
    return named


def theirs(arch: str, patch_size: int, leaves: dict[str, np.ndarray]) -> Any:
    import timm

    model = timm.create_model(f"{arch}_p{patch_size}_224", pretrained=False, num_classes=0)
    model.load_state_dict(in_timm(leaves), strict=True)
    return model.eval()


def parts(leaves: dict[str, np.ndarray]) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    running = ("running_mean", "running_var", "num_batches_tracked")
    stats = {name: jnp.asarray(leaf) for name, leaf in leaves.items() if name.endswith(running)}
    return {n: jnp.asarray(leaf) for n, leaf in leaves.items() if n not in stats}, stats


def images(height: int, width: int, batch: int) -> np.ndarray:
    """NHWC, normalised."""
    random = np.random.default_rng(height + width)
    return random.standard_normal((batch, height, width, 3)).astype(np.float32)


def compare(arch: str, patch_size: int, sizes: list[tuple[int, int]]) -> float:
    """The largest error of class token, patch tokens and the output of every block."""
    errors = []
    import torch

    backbone = made(arch, patch_size)
    leaves = weights(backbone)
    model, (params, stats) = theirs(arch, patch_size, leaves), parts(leaves)
    variables = {"params": unflatten(params), "batch_stats": unflatten(stats)}
    outputs: dict[str, Any] = {}
    for name, module in model.named_modules():
        if re.fullmatch(r"(blocks|cls_attn_blocks)\.\d+", name):
            module.register_forward_hook(
                lambda _, __, result, name=name: outputs.update({name: result.numpy()})
            )

    def block(module: Any, method: str) -> bool:
        return method == "__call__" and type(module).__name__ in ("Block", "ClassBlock")

    @jax.jit
    def run(variables: dict, x: jax.Array) -> tuple:
        return backbone.module.apply(
            variables, x, train=False, capture_intermediates=block, mutable=["intermediates"]
        )

    for height, width in sizes:
        x = images(height, width, 1)
        with torch.no_grad():
            tokens = model.forward_features(torch.tensor(x).permute(0, 3, 1, 2)).numpy()
        found, kept = run(variables, x)
        ours = traverse_util.flatten_dict(kept["intermediates"], sep=".")
        assert {name.removesuffix(".__call__") for name in ours} == set(outputs)
        for name, wanted in outputs.items():
            result = ours[f"{name}.__call__"][0]
            result = result[0] if isinstance(result, tuple) else result
            errors.append(golden.relative_error(result, wanted))
        errors.append(golden.relative_error(found.cls, tokens[:, 0]))
        errors.append(golden.relative_error(found.patches, tokens[:, 1:]))
    return float(np.max(errors))  # not a number where any is


@pytest.mark.parametrize("patch_size", [16, 8])
def test_small(patch_size: int) -> None:
    assert compare("xcit_small_12", patch_size, SIZES) <= 1e-5


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("patch_size", [16, 8])
def test_small_at_the_size_of_attention_maps(patch_size: int) -> None:
    assert compare("xcit_small_12", patch_size, [(480, 480)]) <= 1e-5


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("patch_size", "sizes"), [(16, SIZES), (8, SIZES[1:3])])
def test_medium(patch_size: int, sizes: list[tuple[int, int]]) -> None:
    assert compare("xcit_medium_24", patch_size, sizes) <= 1e-5


def test_a_training_pass_of_small() -> None:
    """Normalised by the batch; the running statistics after it."""
    import torch

    backbone = made("xcit_small_12", 16)
    leaves = weights(backbone)
    model, (params, stats) = theirs("xcit_small_12", 16, leaves).train(), parts(leaves)
    x = images(64, 96, 4)
    with torch.no_grad():
        wanted = model(torch.tensor(x).permute(0, 3, 1, 2)).numpy()
    found, after = jax.jit(lambda x: backbone(params, stats, x, train=True))(x)
    assert golden.relative_error(found.cls, wanted) <= 1e-5
    state = model.state_dict()
    for name, value in after.items():
        theirs_after = state[name.replace("pos_embeder", "pos_embed")].numpy()
        assert golden.relative_error(value, theirs_after) <= 1e-5, name
